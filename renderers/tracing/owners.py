"""Runs and turns -> segments: whose is each piece of text, what is it, and may a control token be read in it?

Data is what its role and field say. The template's own words inside a turn belong to the data they stand next to: to
the tool call they are near, else to what was written before them, else to what comes after. Those between an answer
and a tool call open the call; those that wrap reasoning are reasoning where there is none to wrap. Outside of turns
they are scaffold, or belong to the tools they are near.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from renderers.hub import REASONING_FIELDS
from renderers.segments import KIND_OF, Kind, Segment
from renderers.tracing.places import Place
from renderers.tracing.runs import Runs
from renderers.tracing.turns import Turn

SCAFFOLD, REASONING, ANSWER, TOOL_CALL, STOP = map(Kind, ("scaffold", "reasoning", "answer", "tool_call", "stop"))
"""To ask an Enum for its members is slow."""
FIELD_KINDS = {"content": Kind.ANSWER, "tool_calls": Kind.TOOL_CALL} | dict.fromkeys(REASONING_FIELDS, Kind.REASONING)
"""What the fields of an assistant message are, when the model writes them."""
Owned = tuple[Kind, int | None]
"""What a piece is, and of which message."""
OUTSIDE: Owned = Kind.SCAFFOLD, None
"""The template's own words, near no message."""
OFFERED: Owned = Kind.TOOLS, None
MANY = 1 << 12
"""Turns of which it is remembered what they consist of."""


def segments(
    text: str, runs: Runs, turns: Sequence[Turn], messages: Sequence[Mapping[str, Any]], *, wrapper: str = ""
) -> tuple[Segment, ...]:
    """The stream in order: cut at every run, turn and stop; neighbours that say the same are one.

    wrapper: the words around reasoning, without blanks.
    """
    starts, places, owners = _cut(runs, turns)
    owned = _told(places, owners, messages)
    for message, begin, end, stop, _, _ in turns:
        low, high = bisect_left(starts, begin), bisect_left(starts, end)
        own: list[Kind | None] = []  # `list[…]()` takes as long as all of this
        wrapping: list[int] = []
        for index in range(low, high):
            place = places[index]
            own.append(FIELD_KINDS.get(place[2]) if owners[index] == message and len(place) > 2 else None)
            if wrapper and type(place) is not tuple:
                until = starts[index + 1] if index + 1 < high else end
                long = until - starts[index] >= len(wrapper)
                if long and "".join(text[starts[index] : until].split()) == wrapper:
                    wrapping.append(index)
        at, ended = low, stop[0] if stop else end
        for kind in _written(tuple(own)):  # a comprehension is slower
            owned[at] = (kind if starts[at] < ended else STOP), message
            at += 1
        for index in wrapping:
            owned[index] = REASONING, message
    return _merged(text, starts, places, owned)


def _cut(runs: Runs, turns: Sequence[Turn]) -> tuple[list[int], list[Any], list[int | None]]:
    """The runs, cut where a turn starts, stops or ends: where each piece begins, its place, and its message."""
    starts, places, owners = runs.starts.copy(), runs.places.copy(), runs.owners.copy()
    cuts = {*map(itemgetter(1), turns), *map(itemgetter(2), turns), *[stop[0] for _, _, _, stop, _, _ in turns if stop]}
    for cut in sorted(cuts.difference(starts, runs.ends[-1:] or (0,)), reverse=True):
        at = runs.at(cut) + 1
        starts.insert(at, cut)
        places.insert(at, places[at - 1])
        owners.insert(at, owners[at - 1])
    return starts, places, owners


def _told(places: Sequence[Any], owners: Sequence[int | None], messages: Sequence[Mapping[str, Any]]) -> list[Owned]:
    """What each piece is where the model does not write it."""
    near = [(SCAFFOLD, owner) for owner in range(len(messages))]
    said = [(KIND_OF.get(message.get("role", ""), SCAFFOLD), owner) for owner, message in enumerate(messages)]
    return [
        (said if type(place) is tuple and len(place) > 2 else near)[owner]
        if owner is not None
        else OFFERED
        if place and place[0] == "tools"
        else OUTSIDE
        for place, owner in zip(places, owners, strict=True)
    ]


@lru_cache(maxsize=MANY)
def _written(own: tuple[Kind | None, ...]) -> tuple[Kind, ...]:
    """What each piece of a turn is, but for its stop. own: what it is as a field of the message, if it is one."""
    kinds, before = list[Kind](), None
    for at, kind in enumerate(own):
        known = kind or before
        if kind is None and (before is None or before is ANSWER):
            after = next(filter(None, own[at:]), None)
            known = after if before is None or after is TOOL_CALL else before
        kinds.append(known or ANSWER)
        before = kind or before
    return tuple(kinds)


def _merged(text: str, starts: Iterable[int], places: Iterable[Place], owned: Iterable[Owned]) -> tuple[Segment, ...]:
    told = list[Segment]()
    start, held, where, was = 0, None, None, False
    for begin, place, known in zip(starts, places, owned, strict=True):
        data = type(place) is tuple
        if data is was and known == held and (not data or place == where):
            continue
        if held:
            told.append(Segment(text[start:begin], held[0], held[1], not was, where or None))
        start, held, where, was = begin, known, place if data else None, data
    if held:
        told.append(Segment(text[start:], held[0], held[1], not was, where or None))
    return tuple(told)
