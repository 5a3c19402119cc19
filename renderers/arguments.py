"""Arguments of tool calls, read: how a call can fail, and what its parameters mean under their schemas."""

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from renderers.messages import tojson
from renderers.patterns import JSON, blank, holds_control

Schemas = Mapping[str, Mapping[str, Any]]
"""The JSON schema of every parameter, by the name of its tool."""
PYTHON = {"True": "true", "False": "false", "None": "null"}
TYPES: dict[type, str] = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object", type(None): "null"
}  # fmt: skip


class CallStatus(StrEnum):
    """Whether a tool call, as the model wrote it, can be made."""

    OK = "ok"
    INVALID_JSON = "invalid_json"
    """Its arguments are no JSON, or not what their schema asks for."""
    UNCLOSED = "unclosed"
    """It never ends: the model was cut off, or stopped too early."""
    MISSING_NAME = "missing_name"
    MALFORMED = "malformed"
    """It stands where calls do, and is none; or its arguments are no object."""
    UNKNOWN_TOOL = "unknown_tool"
    """There are tools, and none of this name."""
    AMBIGUOUS = "ambiguous"
    """It can be read in more than one way: a parameter stands twice, or words that end something stand in a value."""


def status_of(arguments: str) -> CallStatus:
    """What is wrong with arguments in JSON, which must be an object with every key once, and no NaN."""
    if holds_control(arguments):
        return CallStatus.AMBIGUOUS
    twice = list[bool]()

    def seen(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.append(len(pairs) > len(dict(pairs)))
        return dict(pairs)

    try:
        read = json.loads(arguments, object_pairs_hook=seen, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return CallStatus.INVALID_JSON
    if not isinstance(read, dict):
        return CallStatus.MALFORMED
    return CallStatus.AMBIGUOUS if any(twice) else CallStatus.OK


def members(text: str, at: int) -> tuple[list[tuple[str, str]], int]:
    """Keys and values of the JSON object that begins here, values as they are spelled, and where it ends.

    Raises ValueError or RecursionError where there is none.
    """
    at, found = _past("{", text, at), list[tuple[str, str]]()
    while not text.startswith("}", blank(text, at)):
        at = _past(",", text, at) if found else at
        key, at = JSON.raw_decode(text, blank(text, at))
        start = blank(text, _past(":", text, at))
        at = JSON.raw_decode(text, start)[1]
        found.append((str(key), text[start:at]))
    return found, _past("}", text, at)


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _past(sign: str, text: str, at: int) -> int:
    at = blank(text, at)
    if not text.startswith(sign, at):
        raise ValueError(f"{sign!r} is missing at {at}")
    return at + 1


def typed(value: str, schema: object, *, python: bool = True) -> Any:
    """A parameter read back: as its schema types it; where that is open, the JSON that it may be, else its text.

    `python`: True, False and None are constants too.
    """
    types = types_of(schema)
    if types == {"string"}:
        return value
    spelled = PYTHON.get(value, value) if python or types & {"boolean", "null"} else value
    try:
        read = json.loads(spelled, parse_constant=_no_json)
        tojson(read).encode()
    except (ValueError, RecursionError):
        return value
    kind = TYPES[type(read)]
    fits = not types or kind in types or (kind == "integer" and "number" in types)
    return read if fits or "string" not in types else value


def fits(value: Any, schema: object) -> bool:
    """Whether text may be what this schema asks for; all else is for the tool to judge."""
    types = types_of(schema)
    return not (isinstance(value, str) and types and "string" not in types)


def types_of(schema: object) -> frozenset[str]:
    """The JSON types that a schema takes; none where it is open."""
    of = mapping(schema)
    for choices in (of.get("anyOf"), of.get("oneOf")):
        if isinstance(choices, list):
            taken = list(map(types_of, choices))
            return frozenset().union(*taken) if all(taken) else frozenset()
    named = of.get("type")
    if named is None and isinstance(of.get("enum"), list):
        return frozenset(TYPES.get(type(choice), "object") for choice in of["enum"])
    return frozenset(name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str))


def schemas_of(tools: Iterable[Mapping[str, Any]]) -> Schemas:
    """The schema of every parameter of these tools, as far as they tell."""
    functions = (mapping(tool.get("function", tool)) for tool in tools)
    return {str(f.get("name", "")): mapping(mapping(f.get("parameters")).get("properties")) for f in functions}


def mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}
