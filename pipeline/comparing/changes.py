"""Two renderings of one row, and where they differ: tokens that came or went, tokens that are learned now or no longer.

Rows are laid beside each other by their spans, and by tokens within the spans that differ, so that a long row costs
what its changes do.
"""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

import numpy as np

from pipeline.records import MaskedRow, RenderedRow
from renderers.masking import IGNORED
from renderers.segments import Kind

Op = Literal["added", "removed", "replaced", "now trained", "no longer trained", "called otherwise"]
MOST_CELLS = 1 << 22
"""Tokens times tokens that are worth laying beside each other; a larger stretch is replaced as a whole."""
KINDS = tuple(Kind)


class Side:
    """One rendering of a row."""

    def __init__(self, row: RenderedRow, masked: Sequence[MaskedRow] = ()):
        self.row, self.masked = row, masked

    @property
    def ids(self) -> np.ndarray:
        return self.row.input_ids

    @cached_property
    def trained(self) -> np.ndarray:
        """bool, (tokens,): learned in any of the rows that masking made of this one, if it made any."""
        return learned(self.row, self.masked)

    @cached_property
    def bounds(self) -> list[int]:
        return [*(span.start for span in self.row.spans), len(self.ids)]

    @cached_property
    def kinds(self) -> np.ndarray:
        """int8, (tokens,): indexes into KINDS."""
        named = [KINDS.index(span.kind) for span in self.row.spans]
        return np.repeat(np.asarray(named, np.int8), np.diff(np.asarray(self.bounds)))

    def keys(self) -> list[tuple[str, bytes]]:
        """What makes two spans the same."""
        cuts = zip(self.bounds, self.bounds[1:], strict=False)
        return [(s.kind, self.ids[a:b].tobytes()) for s, (a, b) in zip(self.row.spans, cuts, strict=True)]


def learned(row: RenderedRow, masked: Sequence[MaskedRow]) -> np.ndarray:
    """bool, (tokens,): which tokens of a row are learned in what masking made of it, whole or in parts."""
    found = np.zeros(len(row.input_ids), bool)
    for one in masked:
        kept = np.r_[tuple(slice(part.start, part.end) for part in one.parts)] if one.parts else slice(None)
        found[kept] |= one.labels != IGNORED
    return found


class Change(NamedTuple):
    """One difference: tokens `was[0]:was[1]` of the old row, `now[0]:now[1]` of the new one."""

    op: Op
    kind: Kind
    """What the tokens are; what they were, where they are gone."""
    was_kind: Kind
    was: tuple[int, int]
    now: tuple[int, int]


Block = tuple[bool, int, int, int, int]
"""Equal ids or not, and the stretch on each side."""


def changes(old: Side, new: Side) -> list[Change]:
    """Every difference of two renderings of a row, in order; none where they are the same."""
    found: list[Change] = []
    for equal, a, b, c, d in _blocks(old, new):
        found += _retold(old, new, a, c, b - a) if equal else [_moved(old, new, a, b, c, d)]
    return found


def _moved(old: Side, new: Side, a: int, b: int, c: int, d: int) -> Change:
    op: Op = "replaced" if a < b and c < d else "removed" if a < b else "added"
    was = KINDS[old.kinds[a]] if a < b else KINDS[new.kinds[c]]
    return Change(op, KINDS[new.kinds[c]] if c < d else was, was, (a, b), (c, d))


def _retold(old: Side, new: Side, a: int, c: int, size: int) -> Iterator[Change]:
    """Tokens that stayed, and are another thing, or another fate, now."""
    was = np.stack([old.trained[a : a + size].astype(np.int8), old.kinds[a : a + size]])
    now = np.stack([new.trained[c : c + size].astype(np.int8), new.kinds[c : c + size]])
    states = np.concatenate([was, now])
    states[:, (was == now).all(axis=0)] = -1
    cuts = [0, *(np.flatnonzero((np.diff(states) != 0).any(axis=0)) + 1).tolist(), size]
    for start, end in pairwise(cuts):
        learned, kind, learns, named = states[:, start].tolist() if size else (-1, -1, -1, -1)
        if learned >= 0:
            op: Op = "called otherwise" if learned == learns else "now trained" if learns else "no longer trained"
            yield Change(op, KINDS[named], KINDS[kind], (a + start, a + end), (c + start, c + end))


def _blocks(old: Side, new: Side) -> Iterator[Block]:
    """Both rows from end to end, in stretches that are equal and stretches that are not; never two alike in a row."""
    for equal, run in groupby(_pieces(old, new), lambda block: block[0]):
        parts = list(run)
        yield equal, parts[0][1], parts[-1][2], parts[0][3], parts[-1][4]


def _pieces(old: Side, new: Side) -> Iterator[Block]:
    if np.array_equal(old.ids, new.ids):
        yield True, 0, len(old.ids), 0, len(new.ids)
        return
    for tag, a, b, c, d in _opcodes(old.keys(), new.keys()):
        where = old.bounds[a], old.bounds[b], new.bounds[c], new.bounds[d]
        yield from [(True, *where)] if tag == "equal" else _within(old.ids, new.ids, *where)


def _within(old: np.ndarray, new: np.ndarray, a: int, b: int, c: int, d: int) -> Iterator[Block]:
    """The same, token by token, of a stretch whose spans differ."""
    if (b - a) * (d - c) > MOST_CELLS:
        yield False, a, b, c, d
        return
    for tag, i, j, k, m in _opcodes(old[a:b].tolist(), new[c:d].tolist()):
        yield tag == "equal", a + i, a + j, c + k, c + m


def _opcodes(old: Sequence[object], new: Sequence[object]) -> Iterator[tuple[str, int, int, int, int]]:
    """Difflib's, which knows nothing of what is alike at both ends."""
    most = min(len(old), len(new))
    head = next((n for n in range(most) if old[n] != new[n]), most)
    tail = next((n for n in range(most - head) if old[-1 - n] != new[-1 - n]), most - head)
    if head:
        yield "equal", 0, head, 0, head
    middle = SequenceMatcher(None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False)
    for tag, a, b, c, d in middle.get_opcodes():
        yield tag, a + head, b + head, c + head, d + head
    if tail:
        yield "equal", len(old) - tail, len(old), len(new) - tail, len(new)
