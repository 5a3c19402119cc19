"""What is put into a template: JSON values that know their place, and how each of them becomes text."""

import json
from collections.abc import Callable, Iterable, Iterator
from json.encoder import encode_basestring, encode_basestring_ascii  # type: ignore[attr-defined]
from operator import itemgetter
from typing import Any

from renderers.tracing.places import UNKNOWN, WALK, Near, Path, Place
from renderers.tracing.strings import Runs, Text, cat, first_of, of_runs, placed


class Dict(dict):
    """Its values know their places; its keys from when somebody asks for them."""

    _at: Path
    _near: Near
    """What is near to it, where it is a message."""
    _all_placed = False
    """The keys do too."""

    def __repr__(self) -> str:
        return cat(_repr(self))

    def _place_all(self) -> None:
        items = [(placed(key, self._at), self[key]) for key in dict.__iter__(self)]
        self._all_placed = True
        self.clear()
        self.update(items)


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


class Lazy(Dict):
    """Its values know theirs from when they are looked at: most templates look at little of tools and arguments."""

    def __getitem__(self, key: Any) -> Any:
        value = dict.__getitem__(self, key)
        if type(value) in KNOWING:
            return value
        made = wrap(value, (*self._at, key))
        dict.__setitem__(self, key, made)
        return made

    def get(self, key: Any, default: Any = None, /) -> Any:
        return self[key] if key in self else default  # noqa: SIM401


class List(list):
    _at: Path

    def __repr__(self) -> str:
        return cat(_repr(self))


class Int(int):
    _at: Path

    def __repr__(self) -> str:
        return placed(int.__repr__(self), self._at)


class Float(float):
    _at: Path

    def __repr__(self) -> str:
        return placed(float.__repr__(self), self._at)


PLACED = (Dict, Lazy, List, Int, Float)
KNOWING = frozenset({*PLACED, Text, bool, type(None)})
"""Types of values that know their place, as far as they can."""
for _class in PLACED:  # as in strings.py: templates print and ask for the names of types
    _class.__name__ = _class.__qualname__ = _class.__mro__[-2].__name__
    _class.__module__ = "builtins"


def wrap(value: Any, at: Path) -> Any:
    """The same JSON value, knowing its place. A key's place is that of its object; true, false and null cannot know.

    A message's role is a word of the format, not something anybody said: it counts as the template's own.
    """
    kind = type(value)
    if kind is str:
        text = Text(value)
        text._of = _said_at(at)
        return text
    if kind is bool or value is None:
        return value
    made: Dict | List | Int | Float
    if isinstance(value, dict):
        made = Lazy(value)
    elif isinstance(value, (list, tuple)):
        made = List([wrap(item, (*at, index)) for index, item in enumerate(value)])
    elif isinstance(value, int):
        made = Int(value)
    elif isinstance(value, float):
        made = Float(value)
    elif isinstance(value, str):
        return placed(value, _said_at(at))
    else:
        raise TypeError(f"{'.'.join(map(str, at))}: {kind.__name__} is no JSON value")
    made._at = at
    return made


def _said_at(at: Path) -> Place:
    return Near(at) if at[-1] == "role" and len(at) == 3 and at[0] == "messages" else at


def said(value: Any) -> str:
    """What `str(value)` gives where a template writes a value, its places kept."""
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list, tuple)):
        return cat(_repr(value))
    text = str(value)
    if isinstance(text, Text) or not text or value is None or isinstance(value, (int, float)):
        return text
    return placed(text, UNKNOWN)  # a view, bytes, a namespace: something in it may be data


def place_of(value: Any) -> Place:
    """Where a value lies; for text, its first run."""
    if isinstance(value, Text):
        return value._runs[0][1] if value else None
    return _at(value, None)


def _leaf_place(value: Any, at: Place) -> Place:
    """The place of a value in a container that lies `at`: text keeps its own, if it has any character to hold it."""
    if isinstance(value, Text) and value:
        return value._of if not isinstance(value._of, list) else first_of((value,))
    return _at(value, at) if value is None or isinstance(value, (str, int, float)) else UNKNOWN


def _at(value: Any, at: Place) -> Place:
    return value._at if isinstance(value, PLACED) else at


def _repr(value: Any, at: Place = None) -> Iterator[str]:
    if not isinstance(value, (dict, list, tuple)):
        yield placed(str.__str__(repr(value)), _leaf_place(value, at))
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]" if isinstance(value, list) else "()"
    at = _at(value, at)
    yield placed(opening, at)
    for index, item in enumerate(value):
        if index:
            yield placed(", ", at)
        yield from _repr(item, at)
        if isinstance(value, dict):
            yield placed(": ", at)
            yield from _repr(value[item], at)
    yield placed("," + closing if isinstance(value, tuple) and len(value) == 1 else closing, at)


class _Writer:
    """Text of JSON that is put together of many small pieces."""

    def __init__(self, ensure_ascii: bool, line: str | None, comma: str, colon: str, sort_keys: bool):
        self.quoted = encode_basestring_ascii if ensure_ascii else encode_basestring
        self.line, self.comma, self.colon, self.sort_keys = line, comma, colon, sort_keys
        """`line`: one step of indentation; None for all on one line."""
        self.texts: list[str] = []
        self.runs: Runs = []
        self.end = 0

    def add(self, text: str, place: Place) -> None:
        self.texts.append(text)
        self.end += len(text)
        if self.runs and self.runs[-1][1] is place:
            self.runs.pop()
        self.runs.append((self.end, place))

    def scalar(self, value: Any) -> str:
        if isinstance(value, str):
            return self.quoted(value)
        return int.__repr__(value) if type(value) in (int, Int) else json.dumps(value)

    def key(self, key: Any) -> str:
        return self.quoted(key) if isinstance(key, str) else json.dumps({key: 0})[1 : -len(": 0}")]

    def write(self, value: Any, depth: int, at: Place, path: Path | None, key: Any = None) -> None:
        """at: the place of what holds the value; path and key: where it lies, if it is of the input."""
        if isinstance(value, (dict, list, tuple)):
            self.container(value, depth, at, value._at if isinstance(value, PLACED) else path and (*path, key))
        elif type(value) is Text:
            self.add(self.quoted(value), _leaf_place(value, at))
        elif path and type(value) is not bool and value not in (None, ""):
            self.add(self.scalar(value), _leaf_place(value, _said_at((*path, key))))
        else:
            self.add(self.scalar(value), _leaf_place(value, at))

    def container(self, value: Any, depth: int, at: Place, path: Path | None) -> None:
        at = at if path is None else path
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        step = "" if self.line is None or not value else "\n" + self.line * (depth + 1)
        before = opening + step
        for key, item in self.items(value):
            if not isinstance(value, dict):
                self.add(before, at)
            elif type(key) is Text:
                self.add(before, at)
                self.add(self.quoted(key), _leaf_place(key, at))
                self.add(self.colon, at)
            else:
                self.add(before + self.key(key) + self.colon, at)
            self.write(item, depth + 1, at, path, key)
            before = self.comma + step
        last = "\n" + self.line * depth if step and self.line is not None else ""
        self.add(last + closing if value else before + closing, at)

    def items(self, value: Any) -> Iterable[tuple[Any, Any]]:
        """The items, and nothing of them is looked at."""
        if not isinstance(value, dict):
            return enumerate(value)
        items = dict.items(value)
        return sorted(items, key=itemgetter(0)) if self.sort_keys else items


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> Text:
    """`json.dumps` whose leaves keep their own places; punctuation belongs to the container that holds it."""
    walk, look = WALK.get(), (ensure_ascii, indent, separators, sort_keys)
    if not walk or type(value) not in (Lazy, List) or value._at[:1] != ("tools",) or isinstance(separators, list):
        return _spelled(value, *look)
    if (value._at, look) not in walk.spelled:
        walk.spelled[value._at, look] = _spelled(value, *look)
    return walk.spelled[value._at, look]


def _spelled(
    value: Any, ensure_ascii: bool, indent: int | str | None, separators: tuple[str, str] | None, sort_keys: bool
) -> Text:
    comma, colon = separators or ("," if indent is not None else ", ", ": ")
    line = " " * indent if isinstance(indent, int) else indent
    out = _Writer(ensure_ascii, line, comma, colon, sort_keys)
    out.write(value, 0, None, None)
    made = of_runs("".join(out.texts), out.runs)
    return cat((made,)) if any(place is None for _, place in out.runs) else made
