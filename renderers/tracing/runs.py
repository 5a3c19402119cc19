"""A render seen from its text: runs of one place, the tokens in it, and how far two renders agree."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, cast

from renderers.tracing.strings import Text

SHORT, MANY = 64, 1 << 10
"""Texts of so many characters, and so many of them, are looked through for tokens once: most turns end alike."""
STRETCH = 16
"""Characters that are compared at first."""
DEEP = 50
"""Branches of a tree of tokens, one in another."""


class Runs:
    """The stretches of a render that are of one place, in columns, and whose they are."""

    def __init__(self, text: Text):
        starts, places, owners, first = list[int](), list[Any](), list[int | None](), dict[int | None, int]()
        data = defaultdict[int | None, list[int]](list)
        held, end, before = cast(Any, Text), 0, -1  # no place yet, and no message
        for stop, place in cast(list[tuple[int, Any]], text._runs):
            if place is not held and not (type(place) is type(held) and len(place) == len(held) and place == held):
                owner = place[1] if place and place[0] == "messages" and len(place) > 1 else None
                if owner != before:
                    before = owner
                    first.setdefault(owner, len(starts))
                if type(place) is tuple and owner is not None:
                    data[owner].append(len(starts))
                starts.append(end)
                places.append(place)
                owners.append(owner)
            held, end = place, stop
        self.starts, self.ends, self.places = starts, [*starts, len(text)][1:], places
        self.owners = owners
        """The message of each."""
        self.first = first
        """The first run of a message."""
        self.data = data
        """Its runs that are its own fields."""

    def at(self, character: int) -> int:
        """The run that holds it."""
        return bisect_right(self.starts, character) - 1

    @cached_property
    def last(self) -> dict[int | None, int]:
        """The last run of a message."""
        return dict(zip(self.owners, range(len(self.owners)), strict=True))

    def is_data(self, start: int, end: int) -> bool:
        """Whether the first or the last of these characters is."""
        run = self.at(start)
        last = run if end <= self.ends[run] else self.at(end - 1)
        return type(self.places[run]) is tuple or type(self.places[last]) is tuple


class Tokens:
    """The added tokens of a vocabulary, found in text."""

    def __init__(self, added: Mapping[str, bool]):
        self.longest = max(map(len, added), default=0)
        self.any = _any_of(added)
        self.inner = {token[at : at + 2] for token in added for at in range(len(token) - 1)}
        """Any two characters of a token, side by side."""
        self._known = lru_cache(maxsize=MANY)(self._controls)
        self.control = _any_of(token for token, special in added.items() if special)

    def controls(self, text: str) -> tuple[tuple[int, int], ...]:
        """The control tokens in a text."""
        return self._known(text) if len(text) <= SHORT else self._controls(text)

    def _controls(self, text: str) -> tuple[tuple[int, int], ...]:
        return tuple([found.span() for found in self.control.finditer(text)])

    def whole(self, text: str, at: int) -> int:
        """`at`, moved back to the start of the token that it would cut."""
        if text[at - 1 : at + 1] not in self.inner:
            return at
        for found in self.any.finditer(text, max(at - self.longest, 0), at + self.longest):
            if found.end() > at:
                return min(found.start(), at)
        return at


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    return re.compile(_tree(sorted(tokens)) or r"(?!)")


def _tree(tokens: list[str], depth: int = 0) -> str:
    """A pattern of sorted tokens that takes the longest, branch by branch: to try hundreds in turn is slow."""
    branches = [re.escape(token) for token in reversed(tokens)] if depth == DEEP else []
    for _, group in groupby([] if branches else filter(None, tokens), itemgetter(0)):
        alike = [*group]
        size = common(alike[0], alike[-1])
        rest = _tree([token[size:] for token in alike], depth + 1) if alike[1:] else ""
        branches.append(re.escape(alike[0][:size]) + rest)
    return f"(?:{'|'.join(branches)}){'?' if '' in tokens else ''}" if branches else ""


def common(one: str, other: str, guess: int = 0) -> int:
    """The length of the common prefix. Comparing stretches is fast, comparing characters is not.

    guess: what it may be, as it was of others that look alike.
    """
    if guess and one[guess : guess + 1] != other[guess : guess + 1] and one[:guess] == other[:guess]:
        return guess
    if len(one) > len(other):
        one, other = other, one
    if other.startswith(one):
        return len(one)
    low, step = 0, STRETCH
    while one[low : low + step] == other[low : low + step]:
        low, step = low + step, 2 * step
    while step > 1:
        step //= 2
        low += step if one[low : low + step] == other[low : low + step] else 0
    return low
