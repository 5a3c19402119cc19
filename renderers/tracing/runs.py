"""A render seen from its text: runs of one place, the tokens in it, and how far two renders agree."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import compress, count, groupby
from operator import itemgetter, ne
from typing import Any

from renderers.tracing.places import Place
from renderers.tracing.strings import Text

STRETCH = 16
"""Characters that are compared one by one."""
DEEP = 50
"""Branches of a tree of tokens, one in another."""


class Runs:
    """The stretches of a render that are of one place, in columns, and whose they are."""

    __slots__ = ("data", "ends", "near", "owners", "places", "starts")

    def __init__(self, text: Text):
        starts, places, owners = list[int](), list[Place](), list[int | None]()
        near, data = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
        held: Any = Text  # no place
        place: Any
        end, same = 0, tuple.__eq__
        for stop, place in text._runs:
            if place is not held and not (type(place) is type(held) and same(place, held)):
                owner = None
                if place and place[0] == "messages" and len(place) > 1:
                    owner = place[1]
                    near[owner].append(len(starts))
                    if type(place) is tuple:
                        data[owner].append(len(starts))
                starts.append(end)
                places.append(place)
                owners.append(owner)
            end, held = stop, place
        self.starts, self.ends, self.places = starts, [*starts[1:], len(text)], places
        self.owners = owners
        """The message of each."""
        self.near: Mapping[int, list[int]] = near
        """Every run of a message, by message."""
        self.data: Mapping[int, list[int]] = data
        """Those among them that are its own fields."""

    def at(self, character: int) -> int:
        """The run that holds it."""
        return bisect_right(self.starts, character) - 1

    def is_data(self, start: int, end: int) -> bool:
        """Whether the first or the last of these characters is."""
        places = self.places
        return type(places[self.at(start)]) is tuple or type(places[self.at(end - 1)]) is tuple


class Tokens:
    """The added tokens of a vocabulary, found in text."""

    def __init__(self, added: Mapping[str, bool]):
        self.longest = max(map(len, added), default=0)
        self.any = _any_of(added)
        self.inner = {token[at : at + 2] for token in added for at in range(len(token) - 1)}
        """Any two characters of a token, side by side."""
        self.control = _any_of(token for token, special in added.items() if special)

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
