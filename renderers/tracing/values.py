"""What is put into a template: JSON values that know their place, and how each of them becomes text."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from json.encoder import encode_basestring, encode_basestring_ascii  # type: ignore[attr-defined]
from typing import Any

from renderers.tracing.places import UNKNOWN, Near, Path, Place
from renderers.tracing.strings import Text, cat, whole


class Dict(dict):
    _at: Path

    def __repr__(self) -> str:
        return cat(_repr(self))


class List(list):
    _at: Path

    def __repr__(self) -> str:
        return cat(_repr(self))


class Int(int):
    _at: Path

    def __repr__(self) -> str:
        return _placed(int.__repr__(self), self._at)


class Float(float):
    _at: Path

    def __repr__(self) -> str:
        return _placed(float.__repr__(self), self._at)


PLACED = (Dict, List, Int, Float)
for _class in PLACED:  # as in strings.py: templates print and ask for the names of types
    _class.__name__ = _class.__qualname__ = _class.__mro__[1].__name__
    _class.__module__ = "builtins"


def wrap(value: Any, at: Path) -> Any:
    """The same JSON value, knowing its place. A key's place is that of its object; true, false and null cannot know.

    A message's role is a word of the format, not something anybody said: it counts as the template's own.
    """
    if isinstance(value, str):
        place = Near(at) if len(at) == 3 and at[0] == "messages" and at[2] == "role" else at
        return Text(value, ((len(value), place),) if value else ())
    if isinstance(value, bool) or value is None:
        return value
    made: Dict | List | Int | Float
    if isinstance(value, dict):
        made = Dict((_placed(key, at), wrap(item, (*at, key))) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        made = List(wrap(item, (*at, index)) for index, item in enumerate(value))
    elif isinstance(value, int):
        made = Int(value)
    elif isinstance(value, float):
        made = Float(value)
    else:
        raise TypeError(f"{'.'.join(map(str, at))}: {type(value).__name__} is no JSON value")
    made._at = at
    return made


def said(value: Any) -> str:
    """What `str(value)` gives where a template writes a value, its places kept."""
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list, tuple)):
        return cat(_repr(value))
    text = str(value)
    if isinstance(text, Text) or not text or value is None or isinstance(value, (int, float)):
        return text
    return _placed(text, UNKNOWN)  # a view, bytes, a namespace: something in it may be data


def place_of(value: Any) -> Place:
    """Where a value lies; for text, its first run."""
    if isinstance(value, Text):
        return value._runs[0][1] if value._runs else None
    return _at(value, None)


def _placed(text: str, at: Place) -> Text:
    return Text(text, ((len(text), at),) if text else ())


def _leaf(spelled: str, value: Any, at: Place) -> Text:
    """A value inside a container that lies `at`: text keeps its own place, if it has any character to hold it."""
    if isinstance(value, Text) and value:
        return whole(spelled, value)
    known = value is None or isinstance(value, (str, int, float))
    return _placed(str.__str__(spelled), _at(value, at) if known else UNKNOWN)


def _at(value: Any, at: Place) -> Place:
    return value._at if isinstance(value, PLACED) else at


def _repr(value: Any, at: Place = None) -> Iterator[str]:
    if not isinstance(value, (dict, list, tuple)):
        yield _leaf(repr(value), value, at)
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]" if isinstance(value, list) else "()"
    at = _at(value, at)
    yield _placed(opening, at)
    for index, item in enumerate(value):
        if index:
            yield _placed(", ", at)
        yield from _repr(item, at)
        if isinstance(value, dict):
            yield _placed(": ", at)
            yield from _repr(value[item], at)
    yield _placed("," + closing if isinstance(value, tuple) and len(value) == 1 else closing, at)


@dataclass(frozen=True, slots=True)
class _Spelling:
    """How JSON is to look."""

    ensure_ascii: bool
    line: str | None
    """One step of indentation; None for all on one line."""
    comma: str
    colon: str
    sort_keys: bool

    def scalar(self, value: Any) -> str:
        if isinstance(value, str):
            return encode_basestring_ascii(value) if self.ensure_ascii else encode_basestring(value)
        return json.dumps(value)

    def key(self, key: Any) -> str:
        return self.scalar(key) if isinstance(key, str) else json.dumps({key: 0})[1 : -len(": 0}")]

    def write(self, value: Any, depth: int, at: Place) -> Iterator[Text]:
        at = _at(value, at)
        if not isinstance(value, (dict, list, tuple)):
            yield _leaf(self.scalar(value), value, at)
            return
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        step = "" if self.line is None or not value else "\n" + self.line * (depth + 1)
        yield _placed(opening + step, at)
        keys = (sorted(value) if self.sort_keys else value) if isinstance(value, dict) else range(len(value))
        for index, key in enumerate(keys):
            if index:
                yield _placed(self.comma + step, at)
            if isinstance(value, dict):
                yield _leaf(self.key(key), key, at)
                yield _placed(self.colon, at)
            yield from self.write(value[key], depth + 1, at)
        yield _placed(("\n" + self.line * depth if step and self.line is not None else "") + closing, at)


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> Text:
    """`json.dumps` whose leaves keep their own places; punctuation belongs to the container that holds it."""
    comma, colon = separators or ("," if indent is not None else ", ", ": ")
    line = " " * indent if isinstance(indent, int) else indent
    return cat(_Spelling(ensure_ascii, line, comma, colon, sort_keys).write(value, 0, None))
