"""The strings of JSON-like data: collected, and written back changed."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
"""A string of JSON text, escapes and all."""
JSON_TEXT = frozenset({"arguments"})
"""Fields that hold JSON as text."""


def leaves(value: Any, field: str = "") -> Iterator[str]:
    """Every string of data, decoded; of JSON text every string in it, and itself where it is broken."""
    if isinstance(value, str):
        if field in JSON_TEXT and _is_json(value):
            yield from (json.loads(literal) for literal in LITERAL.findall(value))
        else:
            yield value
    elif isinstance(value, Mapping):
        for key, held in value.items():
            yield from leaves(held, key)
    elif isinstance(value, list | tuple):
        for held in value:
            yield from leaves(held, field)


def rewritten(value: Any, change: Callable[[str], str], field: str = "") -> Any:
    """The same data with every leaf changed. What does not change stays as it is spelled."""
    if isinstance(value, str):
        if field in JSON_TEXT and _is_json(value):
            return LITERAL.sub(lambda literal: _respelled(literal[0], change), value)
        return change(value)
    if isinstance(value, Mapping):
        return {key: rewritten(held, change, key) for key, held in value.items()}
    return [rewritten(held, change, field) for held in value] if isinstance(value, list | tuple) else value


def _respelled(literal: str, change: Callable[[str], str]) -> str:
    told = json.loads(literal)
    changed = change(told)
    return literal if changed == told else json.dumps(changed, ensure_ascii=False)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
