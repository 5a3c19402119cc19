"""A render seen from its text: runs of one place, the tokens in it, and how far two renders agree."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import compress, count
from operator import ne
from typing import NamedTuple

from renderers.tracing.places import Place
from renderers.tracing.strings import Text

STRETCH = 16
"""Characters that are compared one by one."""


class Run(NamedTuple):
    """A stretch of text of one place."""

    start: int
    end: int
    place: Place


class Tokens:
    """The added tokens of a vocabulary, found in text."""

    def __init__(self, added: Mapping[str, bool]):
        self.longest = max(map(len, added), default=0)
        self.any = _any_of(added)
        self.control = _any_of(token for token, special in added.items() if special)

    def whole(self, text: str, at: int) -> int:
        """`at`, moved back to the start of the token that it would cut."""
        around = self.any.finditer(text, max(at - self.longest, 0), at + self.longest)
        return next((found.start() for found in around if found.start() < at < found.end()), at)

    def controls(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The control tokens that begin from `start` through `end`."""
        found = (mark.span() for mark in self.control.finditer(text, start, end + self.longest))
        return (mark for mark in found if mark[0] <= end)


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def common(one: str, other: str) -> int:
    """The length of the common prefix. Comparing stretches is fast, comparing characters is not."""
    if len(one) > len(other):
        one, other = other, one
    if other.startswith(one):
        return len(one)
    low, step = 0, STRETCH
    while one[low : low + step] == other[low : low + step]:
        low, step = low + step, 2 * step
    while step > STRETCH:
        step //= 2
        low += step if one[low : low + step] == other[low : low + step] else 0
    return next(compress(count(low), map(ne, one[low : low + step], other[low : low + step])))


def runs_of(text: Text) -> list[Run]:
    """The runs of a render, neighbours of one place in one."""
    runs: list[Run] = []
    start = before = 0
    held: Place = None
    for end, place in text._runs:
        if before and place is not held and not (type(place) is type(held) and place == held):
            runs.append(Run(start, before, held))
            start = before
        before, held = end, place
    return [*runs, Run(start, before, held)] if before else runs
