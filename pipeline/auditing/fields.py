"""What a conversation holds, field by field, and whether a text holds it too.

A template may trim a value at its ends, escape it as JSON, space its JSON anew, or tell an object key by key; anything
else is a loss.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from renderers.messages import Message


class Field(NamedTuple):
    """A value that must be told."""

    path: str
    """Below its message: `content`, `tool_calls/0/arguments`."""
    value: str
    times: int = 1
    """How often the text must hold it: two calls of one tool are two names."""


def fields(message: Message) -> Iterator[Field]:
    """Every field that may hold something. Roles and call ids are wiring, not content."""
    if isinstance(message.content, str):
        yield Field("content", message.content)
    else:
        yield from (Field(f"content/{k}/text", part.text) for k, part in enumerate(message.content))
    yield Field("reasoning", message.reasoning or "")
    seen = Counter()
    for k, call in enumerate(message.tool_calls):
        seen[call.name] += 1
        yield Field(f"tool_calls/{k}/name", call.name, times=seen[call.name])
        yield Field(f"tool_calls/{k}/arguments", call.arguments)


def function_of(spec: dict[str, Any]) -> dict[str, Any]:
    """What a tool spec says of its function, wrapped or bare."""
    function = spec.get("function")
    return function if isinstance(function, dict) else spec


def missing(message: Message, text: str) -> Iterator[Field]:
    """The fields of this message that the text does not hold."""
    return (field for field in fields(message) if not holds(text, field))


def holds(text: str, field: Field) -> bool:
    """Whether a text holds a field: as it is, escaped, or as equal JSON."""
    bare = field.value.strip()
    if text.count(bare) >= field.times:
        return True
    return field.times == 1 and (says(text, bare) or _holds_json(text, bare))


def says(text: str, value: str) -> bool:
    """Whether a text holds a value as it is, or as it stands inside a JSON string."""
    bare = value.strip()
    return bare in text or any(json.dumps(bare, ensure_ascii=plain)[1:-1] in text for plain in (False, True))


def _holds_json(text: str, value: str) -> bool:
    if not value.startswith(("{", "[")):
        return False
    try:
        data = json.loads(value)
    except (ValueError, RecursionError):
        return False
    dense = _dense(text)
    forms = (value, json.dumps(data, ensure_ascii=False), json.dumps(data))
    return any(_dense(form) in dense for form in forms) or all(_told(text, leaf) for leaf in leaves(data))


def _dense(text: str) -> str:
    return "".join(text.split())


def leaves(data: Any) -> Iterator[Any]:
    """Keys and scalars of JSON data."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield key
            yield from leaves(value)
    elif isinstance(data, list):
        for value in data:
            yield from leaves(value)
    else:
        yield data


def _told(text: str, leaf: Any) -> bool:
    return says(text, leaf) if isinstance(leaf, str) else json.dumps(leaf) in text or str(leaf) in text
