"""Text that remembers where each of its characters came from.

A `Text` is a `str` that holds its place, or its runs, [(end, place), ...], where it is of several. Every method behaves
as that of `str`. Where characters are only cut and put together the places go with them; where text is built anew, all
of it belongs to its first source, data before the template's own words: data may gain a few words, it never becomes the
template's.
"""

import operator
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from itertools import pairwise
from typing import Any, SupportsIndex

from renderers.tracing.places import UNKNOWN, WALK, Place, Walk, is_data

Runs = list[tuple[int, Place]]


class Text(str):
    """A str that knows where it came from. Made by `placed`, `of_runs` and what builds on them."""

    __slots__ = ("_of",)  # underscored: a template's `x.of` must not find it
    _of: Place | Runs
    """Of a text without characters it says nothing."""

    @property
    def _runs(self) -> Runs:
        return [] if not self else self._of if isinstance(self._of, list) else [(len(self), self._of)]

    def __str__(self) -> str:
        return self

    def __repr__(self) -> str:
        return whole(str.__repr__(self), self)

    def __add__(self, other: Any) -> "Text":
        if isinstance(other, str):
            return cat((self, other))
        reflected = getattr(type(other), "__radd__", None)
        made = reflected(other, self) if reflected else NotImplemented  # an Undefined raises its own words here
        return str.__add__(self, other) if made is NotImplemented else made  # raises what a plain text raises

    def __radd__(self, other: str) -> "Text":
        return cat((other, self)) if isinstance(other, str) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> "Text":
        str.__mul__(self, times)  # raises what a plain text raises
        return cat((self,) * times)

    __rmul__ = __mul__  # type: ignore[assignment]

    def __mod__(self, args: Any) -> "Text":
        return whole(str.__mod__(self, args), self, *(args if isinstance(args, tuple) else (args,)))

    def __rmod__(self, template: Any) -> "Text":
        return whole(str.__mod__(template, self), self) if isinstance(template, str) else NotImplemented

    def __iter__(self) -> Iterator[str]:
        return (cut(self, at, at + 1) for at in range(len(self)))

    def __getitem__(self, key: SupportsIndex | slice) -> "Text":
        found = str.__getitem__(self, key)
        if not isinstance(key, slice):
            at = range(len(self))[key]
            return cut(self, at, at + 1)
        start, stop, step = key.indices(len(self))
        if step == 1:
            return cut(self, start, start + len(found))
        return cat([cut(self, at, at + 1) for at in range(start, stop, step)])

    def lstrip(self, chars: str | None = None, /) -> "Text":
        made = str.lstrip(self, chars)
        return _part(self, made, len(self) - len(made))

    def rstrip(self, chars: str | None = None, /) -> "Text":
        return _part(self, str.rstrip(self, chars), 0)

    def strip(self, chars: str | None = None, /) -> "Text":
        made = str.strip(self, chars)
        if len(made) == len(self):
            return self
        return _part(self, made, len(self) - len(str.lstrip(self, chars)) if isinstance(self._of, list) else 0)

    def removeprefix(self, prefix: str, /) -> "Text":
        return cut(self, len(self) - len(str.removeprefix(self, prefix)), len(self))

    def removesuffix(self, suffix: str, /) -> "Text":
        return cut(self, 0, len(str.removesuffix(self, suffix)))

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return pieces(self, str.split(self, sep, maxsplit), gap=None if sep is None else len(sep))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        parts = str.rsplit(self, sep, maxsplit)
        if sep is not None:
            return pieces(self, parts, gap=len(sep))
        # The first piece may hold spaces inside: found from the left it would be right, its left neighbours may not.
        out, end = [], len(self)
        for part in reversed(parts):
            at = str.rindex(self, part, 0, end)
            out.append(cut(self, at, at + len(part)))
            end = at
        return out[::-1]

    def splitlines(self, keepends: bool = False) -> list[str]:
        ends = [0]
        for line in str.splitlines(self, True):
            ends.append(ends[-1] + len(line))
        lines = str.splitlines(self, keepends)
        return [cut(self, start, start + len(line)) for (start, _), line in zip(pairwise(ends), lines, strict=True)]

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        return tuple(pieces(self, str.partition(self, sep), gap=0))  # type: ignore[return-value]

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        return tuple(pieces(self, str.rpartition(self, sep), gap=0))  # type: ignore[return-value]

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> "Text":
        if not old:
            return whole(str.replace(self, old, new, count), self, new)
        return join(new, self.split(old, count))

    def join(self, parts: Iterable[str], /) -> "Text":
        return join(self, parts)


def _rebuilt(name: str) -> Callable[..., Text]:
    """A method that writes new text. Where no character moved (case), the runs stay; case never shortens a text."""
    plain = getattr(str, name)

    def method(self: Text, *args: Any, **kwargs: Any) -> Text:
        made = plain(self, *args, **kwargs)
        if name in CASES and len(made) == len(self):
            return _of(made, self._of)
        return whole(made, self, *args, *kwargs.values())

    method.__name__ = name
    return method


CASES = ("capitalize", "casefold", "lower", "swapcase", "title", "upper")
for _name in (*CASES, "center", "expandtabs", "format", "format_map", "ljust", "rjust", "translate", "zfill"):
    setattr(Text, _name, _rebuilt(_name))


def placed(text: str, place: Place) -> Text:
    """Text of one place; None: the template's own words, not yet written anywhere."""
    made = Text(text)
    made._of = place
    return made


def of_runs(text: str, runs: Runs) -> Text:
    return _of(text, runs[0][1] if len(runs) == 1 else runs)


def _of(text: str, of: Place | Runs) -> Text:
    made = Text(text)
    made._of = of
    return made


def cut(text: Text, start: int, end: int) -> Text:
    """text[start:end] with its places; 0 <= start <= end <= len(text)."""
    return _part(text, str.__getitem__(text, slice(start, end)), start)


def _part(text: Text, part: str, start: int) -> Text:
    """The part of the text that begins there."""
    of, size = text._of, len(part)
    if size == len(text):
        return text
    made = Text(part)
    made._of = of if not isinstance(of, list) else _cut(of, start, start + size)
    return made


def _cut(runs: Runs, start: int, end: int) -> Place | Runs:
    out: list[tuple[int, Place]] = []
    before = 0
    for stop, place in runs:
        low, high = max(before, start), min(stop, end)
        if high > low:
            out.append((high - start, place))
        if stop >= end:
            break
        before = stop
    return out[0][1] if len(out) == 1 else out


def pieces(text: Text, parts: list[str] | tuple[str, ...], *, gap: int | None) -> list[str]:
    """These parts of the text, in order, with their places; `gap` characters lie between two, None for any number."""
    of = text._of
    if not isinstance(of, list):
        return [placed(part, of) for part in parts]
    out, at = [], 0
    for part in parts:
        if gap is None:
            at = str.index(text, part, at)
        out.append(_part(text, part, at))
        at += len(part) + (gap or 0)
    return out


def cat(parts: Iterable[Any]) -> Text:
    """Everything in one. The template's own words get their place here, the moment they are written.

    A tuple of texts among them is texts to write one after the other.
    """
    texts: list[str] = []
    runs: Runs = []
    walk, end = WALK.get() or Walk(), 0
    for part in parts:
        for text in part if type(part) is tuple else (part,):
            size = len(text)
            of = text._of if type(text) is Text else None
            if isinstance(of, list):
                runs += [(end + stop, walk.here if place is None else place) for stop, place in of]
            elif size:
                runs.append((end + size, walk.here if of is None else of))
            end += size
            texts.append(text)
    return of_runs("".join(texts), runs)


def add(parts: tuple[Any, ...]) -> Any:
    """`parts[0] + parts[1] + ...`; where there is a Text among texts, in one piece."""
    traced = False
    for part in parts:
        if type(part) is Text:
            traced = True
        elif not isinstance(part, str):
            return reduce(operator.add, parts)
    return cat(parts) if traced else reduce(operator.add, parts)


def join(separator: str, parts: Iterable[str]) -> Text:
    """`separator.join(parts)`, with runs."""
    if not isinstance(parts, (list, tuple)):
        parts = list(parts) if isinstance(parts, Iterable) else parts
    str.join(separator, parts)  # raises what a plain join raises
    between = [separator] * (2 * len(parts) - 1) if parts else []
    between[::2] = parts
    return cat(between)


def own(text: str) -> Text:
    """The template's own words, not yet written anywhere."""
    return placed(text, None)


def whole(text: str, *sources: Any) -> Text:
    """New text made of these sources; a container among them is data that no one field can claim."""
    return placed(text, first_of(sources))


def first_of(sources: Iterable[Any]) -> Place:
    """The place of the first data among these sources, else of the first of the template's own words."""
    places = [place for source in sources if isinstance(source, Text) for _, place in source._runs]
    if any(isinstance(source, (bytes, dict, list, tuple)) and source for source in sources):
        places.append(UNKNOWN)
    data = next((place for place in places if is_data(place)), None)
    return data if data is not None else next((place for place in places if place is not None), None)


# A template prints the names of types in its errors, and asks for them: this one is called as what it stands for.
Text.__name__ = Text.__qualname__ = "str"
Text.__module__ = "builtins"
