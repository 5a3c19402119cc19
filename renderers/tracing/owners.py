"""Runs and turns -> segments: whose is each piece of text, what is it, and may a control token be read in it?

Data is what its role and field say. The template's own words inside a turn belong to the data they stand next to: to
the tool call they are near, else to what was written before them, else to what comes after. Those between an answer
and a tool call open the call; those that wrap reasoning are reasoning where there is none to wrap. Outside of turns
they are scaffold, or belong to the tools they are near.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from renderers.hub import REASONING_FIELDS
from renderers.segments import KIND_OF, Kind, Segment
from renderers.tracing.places import Place
from renderers.tracing.runs import Run
from renderers.tracing.turns import Turn

FIELD_KINDS = {"content": Kind.ANSWER, "tool_calls": Kind.TOOL_CALL} | dict.fromkeys(REASONING_FIELDS, Kind.REASONING)
"""What the fields of an assistant message are, when the model writes them."""
OUTSIDE = Kind.SCAFFOLD, None
"""The template's own words, near no message."""


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
        for index, kind in enumerate(_written(pieces[low:high], turn), low):
            empty = wrapper and _is_words(text, pieces[index], wrapper)
            kinds[index] = (Kind.REASONING if empty else kind, turn.message)
    return tuple(_merged(text, pieces, kinds))


def _is_words(text: str, piece: Run, words: str) -> bool:
    """Whether a piece is these words of the template, blanks aside."""
    return type(piece.place) is not tuple and "".join(text[piece.start : piece.end].split()) == words


def _cut(runs: Sequence[Run], turns: Iterable[Turn]) -> list[Run]:
    """The runs, cut where a turn starts, stops or ends."""
    cuts = sorted({cut for turn in turns for cut in (turn.start, turn.end, *(turn.stop or ()))})
    pieces, at = list[Run](), 0
    for run in runs:
        start, end, place = run
        while at < len(cuts) and cuts[at] < end:
            if cuts[at] > start:
                pieces.append(Run(start, cuts[at], place))
                start = cuts[at]
            at += 1
        pieces.append(run if start == run.start else Run(start, end, place))
    return pieces


def _told(pieces: Iterable[Run], messages: Sequence[Mapping[str, Any]]) -> list[tuple[Kind, int | None]]:
    """What each piece is where the model does not write it."""
    kinds = [KIND_OF.get(message.get("role", ""), Kind.SCAFFOLD) for message in messages]
    told = list[tuple[Kind, int | None]]()
    for piece in pieces:
        place: Any = piece.place
        if not place:
            told.append(OUTSIDE)
        elif place[0] == "messages" and len(place) > 1:
            owner = place[1]
            told.append((kinds[owner] if len(place) > 2 and type(place) is tuple else Kind.SCAFFOLD, owner))
        else:
            told.append((Kind.TOOLS, None) if place[0] == "tools" else OUTSIDE)
    return told


def _written(pieces: Sequence[Run], turn: Turn) -> list[Kind]:
    """What each piece of a turn is."""
    message, (stop, end) = turn.message, turn.stop or (0, 0)
    kinds = [_own_kind(place, message) for _, _, place in pieces]
    if not all(kinds):
        after, before = [*accumulate(reversed(kinds), _later)][::-1], None
        for at, kind in enumerate(kinds):
            if kind is None:
                opens_call = before is Kind.ANSWER and after[at] is Kind.TOOL_CALL
                kinds[at] = (after[at] if opens_call else before or after[at]) or Kind.ANSWER
            else:
                before = kind
    return [
        Kind.STOP if stop <= piece[0] < end else kind or Kind.ANSWER for piece, kind in zip(pieces, kinds, strict=True)
    ]


def _later(later: Kind | None, kind: Kind | None) -> Kind | None:
    return kind or later


def _own_kind(place: Place, message: int) -> Kind | None:
    """What a place of this message is; None for words that only stand near it."""
    if place is None or len(place) < 3 or place[1] != message or place[0] != "messages":
        return None
    return FIELD_KINDS.get(str(place[2]))


def _merged(text: str, pieces: Iterable[Run], kinds: Iterable[tuple[Kind, int | None]]) -> Iterator[Segment]:
    start, held, where, was = 0, None, None, False
    for (begin, _, place), known in zip(pieces, kinds, strict=True):
        data = type(place) is tuple
        place = place if data else None
        if known != held or data is not was or (data and place != where):
            if held:
                yield Segment(text[start:begin], *held, not was, where or None)
            start, held, where, was = begin, known, place, data
    if held:
        yield Segment(text[start:], *held, not was, where or None)
