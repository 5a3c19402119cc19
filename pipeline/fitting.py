"""What of a row that is too long is kept: stretches of its tokens, each way of fitting a row of `FITS`.

A row is its head (what is told before the first user message: system, tools) and turns (from a user message to the
next that answers come between). Turns go whole; where a row must end inside one, it ends between tokens of an answer or
a thought, or between the things that a turn is made of: never inside a tool call, a result, or the template's own
words.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from pipeline.records import RenderedRow, RowSpan, Stretch
from renderers.segments import SAMPLED, Kind

TEXT = frozenset({Kind.ANSWER, Kind.REASONING})
"""What can end anywhere."""
EDGE = 16
"""Tokens at either end of such a run that may be the template's own words: it is cut farther in, or not at all."""
STANDING = frozenset({Kind.SYSTEM, Kind.DEVELOPER, Kind.TOOLS})
"""What is told for the whole conversation: turns leave only without it."""


class Part(NamedTuple):
    """What is kept as one row."""

    stretches: tuple[Stretch, ...]
    asked: int
    """The last user message of the conversation, as far as it is kept."""


Fit = Callable[[RenderedRow, int], list[Part]]
"""(row, limit) -> the rows that are kept of it; none where nothing can be."""


class Piece(NamedTuple):
    """What is kept of a row, as a row; split, the id of each goes on with its number."""

    row: RenderedRow
    stretches: tuple[Stretch, ...] = ()
    """None: all of it."""
    cut: int = 0
    """Tokens that are in none of them."""


def pieces(row: RenderedRow, limit: int, how: str) -> list[Piece]:
    """What fits of a row that is too long. `how`: a row of `FITS`; any other word keeps nothing."""
    parts = FITS[how](row, limit) if how in FITS else []
    made = [(_cut(row, part, number), part.stretches) for number, part in enumerate(parts)]
    return [Piece(one, stretches, len(row.input_ids) - len(one.input_ids)) for one, stretches in made]


def left(row: RenderedRow, kept: Sequence[Piece]) -> np.ndarray:
    """Which tokens are in none of the pieces: bool, (tokens,)."""
    gone = np.ones(len(row.input_ids), bool)
    for piece in kept:
        for stretch in piece.stretches:
            gone[stretch.start : stretch.end] = False
    return gone


def _cut(row: RenderedRow, part: Part, number: int) -> RenderedRow:
    ids = [row.input_ids[stretch.start : stretch.end] for stretch in part.stretches]
    name = f"{row.id}#{number + 1}" if number else row.id
    return replace(row, id=name, input_ids=np.concatenate(ids), spans=tuple(_spans(row, part)), asked=part.asked)


def _spans(row: RenderedRow, part: Part) -> Iterator[RowSpan]:
    """What the tokens are that are kept."""
    ends, before = [*(span.start for span in row.spans[1:]), len(row.input_ids)], 0
    for stretch in part.stretches:
        for span, end in zip(row.spans, ends, strict=True):
            if end > stretch.start and span.start < stretch.end:
                yield RowSpan(max(span.start, stretch.start) - stretch.start + before, span.kind, span.message)
        before += stretch.end - stretch.start


def turns(row: RenderedRow) -> list[int]:
    """Where each turn begins, and where the last one ends."""
    first: dict[int, int] = {}
    asking, answered, begins = set[int](), False, list[int]()
    for span in row.spans:
        first.setdefault(span.message, span.start)
        if span.kind in SAMPLED:
            answered = True
        elif span.kind is Kind.USER and span.message not in asking:
            asking.add(span.message)
            if answered or not begins:
                begins.append(first[span.message])
            answered = False
    return [*(begins or [0]), len(row.input_ids)]


def trim_followups(row: RenderedRow, limit: int) -> list[Part]:
    """The turns from the beginning that fit: the conversation as it was before the user went on."""
    ends = [end for end in turns(row)[1:] if end <= limit]
    if not ends:
        return []
    asked = max((s.message for s in row.spans if s.kind is Kind.USER and s.start < ends[-1]), default=row.asked)
    return [Part((Stretch(0, ends[-1]),), asked)]


def truncate_right(row: RenderedRow, limit: int) -> list[Part]:
    """The row up to the limit, and of that up to the model's last word.

    Ids are all that is known here: where a character is several tokens, the last one may not be whole.
    """
    ends = [*(span.start for span in row.spans[1:]), len(row.input_ids)]
    written = [_end(span.start, end, span.kind, limit) for span, end in zip(row.spans, ends, strict=True)]
    last = max(written, default=0)
    return [Part((Stretch(0, last),), row.asked)] if last else []


def _end(start: int, end: int, kind: Kind, limit: int) -> int:
    """Where a run that the model wrote may end below the limit; 0 where it may not."""
    if kind not in SAMPLED or start >= limit:
        return 0
    if end <= limit:
        return end
    cut = min(limit, end - EDGE)
    return cut if kind in TEXT and cut >= start + EDGE else 0


def truncate_left(row: RenderedRow, limit: int) -> list[Part]:
    """The head and the turns at the end that fit, as a server keeps them whose context is full."""
    head, *begins = turns(row)
    last = begins.pop()
    for begin in begins:
        if head + last - begin <= limit and not _standing(row, head, begin):
            return [_behind(row, head, begin, last)]
    return []


def split_turns(row: RenderedRow, limit: int) -> list[Part]:
    """As few rows as hold every turn that fits behind the head, each turn in one of them."""
    head, found = turns(row)[0], list[tuple[int, int]]()
    for begin, end in pairwise(turns(row)):
        before, reached = found[-1] if found else (begin, -1)
        if reached == begin and head + end - before <= limit:
            found[-1] = before, end
        elif head + end - begin <= limit and not _standing(row, head, begin):
            found.append((begin, end))
    return [_behind(row, head, begin, end) for begin, end in found]


def _behind(row: RenderedRow, head: int, begin: int, end: int) -> Part:
    """The head, and what stands from `begin`."""
    whole = begin <= head
    return Part((Stretch(0, end),) if whole else (Stretch(0, head), Stretch(begin, end)), row.asked)


def _standing(row: RenderedRow, start: int, end: int) -> bool:
    """Whether anything is told here that holds for the whole conversation."""
    return any(span.kind in STANDING and start <= span.start < end for span in row.spans)


FITS: Mapping[str, Fit] = {
    "trim_followups": trim_followups,
    "truncate_left": truncate_left,
    "truncate_right": truncate_right,
    "split_turns": split_turns,
}
