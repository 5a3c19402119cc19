"""What is put into a template: JSON values that know their place, and how each of them becomes text."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from json.encoder import encode_basestring, encode_basestring_ascii  # type: ignore[attr-defined]
from operator import itemgetter
from typing import Any

from renderers.tracing.places import UNKNOWN, WALK, Near, Path, Place
from renderers.tracing.strings import Text, cat, whole


class Dict(dict):
    """Its values know their places from when they are looked at: most templates look at little of their tools."""

    _at: Path
    _all_placed = False
    """All of them do."""

    def __getitem__(self, key: Any) -> Any:
        value = dict.__getitem__(self, key)
        if type(value) in KNOWING:
            return value
        made = wrap(value, (*self._at, key))
        dict.__setitem__(self, key, made)
        return made

    def get(self, key: Any, default: Any = None, /) -> Any:
        return self[key] if key in self else default  # noqa: SIM401

    def __repr__(self) -> str:
        return cat(_repr(self))

    def _place_all(self) -> None:
        placed = [(_placed(key, self._at), self[key]) for key in dict.__iter__(self)]
        self._all_placed = True
        self.clear()
        self.update(placed)


def _of_all(name: str) -> Callable[..., Any]:
    plain = getattr(dict, name)

    def method(self: Dict) -> Any:
        if not self._all_placed:
            self._place_all()
        return plain(self)

    method.__name__ = name
    return method


for _name in ("__iter__", "__reversed__", "copy", "items", "keys", "values"):
    setattr(Dict, _name, _of_all(_name))


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
KNOWING = frozenset({*PLACED, Text, bool, type(None)})
"""Types of values that know their place, as far as they can."""
for _class in PLACED:  # as in strings.py: templates print and ask for the names of types
    _class.__name__ = _class.__qualname__ = _class.__mro__[1].__name__
    _class.__module__ = "builtins"


def wrap(value: Any, at: Path) -> Any:
    """The same JSON value, knowing its place. A key's place is that of its object; true, false and null cannot know.

    A message's role is a word of the format, not something anybody said: it counts as the template's own.
    """
    if isinstance(value, str):
        return Text(value, ((len(value), _said_at(at)),) if value else ())
    if isinstance(value, bool) or value is None:
        return value
    made: Dict | List | Int | Float
    if isinstance(value, dict):
        made = Dict(value)
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


def _said_at(at: Path) -> Place:
    return Near(at) if len(at) == 3 and at[2] == "role" and at[0] == "messages" else at


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


def _leaf_place(value: Any, at: Place) -> Place:
    """The place of a value in a container that lies `at`: text keeps its own, if it has any character to hold it."""
    if isinstance(value, Text) and value:
        return place_of(value) if len(value._runs) == 1 else place_of(whole(value, value))
    return _at(value, at) if value is None or isinstance(value, (str, int, float)) else UNKNOWN


def _at(value: Any, at: Place) -> Place:
    return value._at if isinstance(value, PLACED) else at


def _repr(value: Any, at: Place = None) -> Iterator[str]:
    if not isinstance(value, (dict, list, tuple)):
        yield _placed(str.__str__(repr(value)), _leaf_place(value, at))
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

    def write(self, out: "_Written", value: Any, depth: int, at: Place, path: Path | None) -> None:
        """at: the place of what holds the value; path: where it lies, if it is of the input and was not looked at."""
        path = value._at if type(value) in PLACED else path
        if not isinstance(value, (dict, list, tuple)):
            if path and not isinstance(value, bool) and value not in (None, ""):
                at = _said_at(path)
            out.add(self.scalar(value), _leaf_place(value, at))
            return
        at = at if path is None else path
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        step = "" if self.line is None or not value else "\n" + self.line * (depth + 1)
        out.add(opening + step, at)
        for index, (key, item) in enumerate(self.items(value)):
            if index:
                out.add(self.comma + step, at)
            if isinstance(value, dict):
                out.add(self.key(key), _leaf_place(key, at))
                out.add(self.colon, at)
            self.write(out, item, depth + 1, at, None if path is None else (*path, key))
        out.add(("\n" + self.line * depth if step and self.line is not None else "") + closing, at)

    def items(self, value: Any) -> Iterable[tuple[Any, Any]]:
        """The items, and nothing of them is looked at."""
        if not isinstance(value, dict):
            return enumerate(value)
        items = dict.items(value)
        return sorted(items, key=itemgetter(0)) if self.sort_keys else items


class _Written:
    """Text that is put together of many small pieces."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.runs: list[tuple[int, Place]] = []
        self.end = 0

    def add(self, text: str, place: Place) -> None:
        self.texts.append(text)
        self.end += len(text)
        if self.runs and self.runs[-1][1] is place:
            self.runs.pop()
        self.runs.append((self.end, place))


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> Text:
    """`json.dumps` whose leaves keep their own places; punctuation belongs to the container that holds it."""
    walk, look = WALK.get(), (ensure_ascii, indent, separators, sort_keys)
    if not walk or type(value) not in (Dict, List) or value._at[:1] != ("tools",) or isinstance(separators, list):
        return _spelled(value, *look)
    if (value._at, look) not in walk.spelled:
        walk.spelled[value._at, look] = _spelled(value, *look)
    return walk.spelled[value._at, look]


def _spelled(
    value: Any, ensure_ascii: bool, indent: int | str | None, separators: tuple[str, str] | None, sort_keys: bool
) -> Text:
    comma, colon = separators or ("," if indent is not None else ", ", ": ")
    line = " " * indent if isinstance(indent, int) else indent
    out = _Written()
    _Spelling(ensure_ascii, line, comma, colon, sort_keys).write(out, value, 0, None, None)
    return cat((Text("".join(out.texts), tuple(out.runs)),))
