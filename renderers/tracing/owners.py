"""Runs and turns -> segments: whose is each piece of text, what is it, and may a control token be read in it?

Data is what its role and field say. The template's own words inside a turn belong to the data they stand next to: to
the tool call they are near, else to what was written before them, else to what comes after. Those between an answer
and a tool call open the call; those that wrap reasoning are reasoning where there is none to wrap. Outside of turns
they are scaffold, or belong to the tools they are near.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from renderers.hub import REASONING_FIELDS
from renderers.segments import KIND_OF, Kind, Segment
from renderers.tracing.places import Place, is_data, message_of
from renderers.tracing.runs import Run
from renderers.tracing.turns import Turn

FIELD_KINDS = {"content": Kind.ANSWER, "tool_calls": Kind.TOOL_CALL} | dict.fromkeys(REASONING_FIELDS, Kind.REASONING)
"""What the fields of an assistant message are, when the model writes them."""


def segments(
    text: str, runs: Sequence[Run], turns: Sequence[Turn], messages: Sequence[Mapping[str, Any]], *, wrapper: str = ""
) -> tuple[Segment, ...]:
    """The stream in order: cut at every run, turn and stop; neighbours that say the same are one.

    wrapper: the words around reasoning, without blanks.
    """
    pieces = _cut(runs, turns)
    kinds, starts = _told(pieces, messages), [piece.start for piece in pieces]
    for turn in turns:
        low, high = bisect_left(starts, turn.start), bisect_left(starts, turn.end)
        for index, kind in _written(pieces[low:high], turn):
            empty = wrapper and _is_words(text, pieces[low + index], wrapper)
            kinds[low + index] = (Kind.REASONING if empty else kind, turn.message)
    return tuple(_merged(text, pieces, kinds))


def _is_words(text: str, piece: Run, words: str) -> bool:
    """Whether a piece is these words of the template, blanks aside."""
    return not is_data(piece.place) and "".join(text[piece.start : piece.end].split()) == words


def _cut(runs: Sequence[Run], turns: Iterable[Turn]) -> list[Run]:
    """The runs, cut where a turn starts, stops or ends."""
    cuts = sorted({cut for turn in turns for cut in (turn.start, turn.end, *(turn.stop or ()))})
    pieces, at = [], 0
    for start, end, place in runs:
        while at < len(cuts) and cuts[at] < end:
            if cuts[at] > start:
                pieces.append(Run(start, cuts[at], place))
                start = cuts[at]
            at += 1
        pieces.append(Run(start, end, place))
    return pieces


def _told(pieces: Iterable[Run], messages: Sequence[Mapping[str, Any]]) -> list[tuple[Kind, int | None]]:
    """What each piece is where the model does not write it."""
    return [(_told_kind(piece.place, messages), message_of(piece.place)) for piece in pieces]


def _told_kind(place: Place, messages: Sequence[Mapping[str, Any]]) -> Kind:
    if place and place[0] == "tools":
        return Kind.TOOLS
    owner = message_of(place)
    if owner is None or place is None or not is_data(place) or len(place) < 3:
        return Kind.SCAFFOLD
    return KIND_OF.get(messages[owner].get("role", ""), Kind.SCAFFOLD)


def _written(pieces: Sequence[Run], turn: Turn) -> Iterator[tuple[int, Kind]]:
    """What each piece of a turn is."""
    kinds = [_own_kind(piece.place, turn.message) for piece in pieces]
    known = [index for index, kind in enumerate(kinds) if kind is not None]
    for index, piece in enumerate(pieces):
        if turn.stop and turn.stop[0] <= piece.start < turn.stop[1]:
            yield index, Kind.STOP
            continue
        at = bisect_right(known, index)
        before = kinds[known[at - 1]] if at else None
        after = kinds[known[at]] if at < len(known) else None
        opens_call = before is Kind.ANSWER and after is Kind.TOOL_CALL and kinds[index] is None
        yield index, (after if opens_call else before or after) or Kind.ANSWER


def _own_kind(place: Place, message: int) -> Kind | None:
    """What a place of this message is; None for words that only stand near it."""
    if place is None or len(place) < 3 or message_of(place) != message:
        return None
    return FIELD_KINDS.get(str(place[2]))


def _merged(text: str, pieces: Iterable[Run], kinds: Iterable[tuple[Kind, int | None]]) -> Iterator[Segment]:
    start, held = 0, None
    for piece, (kind, message) in zip(pieces, kinds, strict=True):
        data = is_data(piece.place)
        said = kind, message, not data, piece.place or None if data else None
        if said != held:
            if held:
                yield Segment(text[start : piece.start], *held)
            start, held = piece.start, said
    if held:
        yield Segment(text[start:], *held)
