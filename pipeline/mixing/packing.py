"""Rows laid end to end, several to a sequence: best fit decreasing, nothing cut.

The longest row first, each into the sequence that it leaves the least room in (Johnson 1974; Ding et al. 2024, "Fewer
truncations improve language modeling"). Sequences keep where their rows begin (`position_ids`, `seq_lengths`), so that
attention stays within a row; a row's first token is never a target, as nothing of its own row stands before it.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.errors import SettingsError
from renderers.masking import IGNORED


@dataclass(frozen=True, slots=True)
class Plan:
    """Which rows go into which sequence."""

    order: np.ndarray
    """int64, (rows,): rows in the order in which they are laid down, sequence by sequence."""
    starts: np.ndarray
    """int64, (sequences + 1,): where in `order` each sequence begins; last, its end."""
    room: int
    """Tokens that a sequence has room for."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]], room: int) -> "Plan":
        """These rows in these sequences."""
        starts = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
        return cls(np.fromiter((row for one in sequences for row in one), np.int64, int(starts[-1])), starts, room)

    def rows(self, sequence: int) -> list[int]:
        """The rows of a sequence, in order."""
        return self.order[self.starts[sequence] : self.starts[sequence + 1]].tolist()

    def fill(self, lengths: Sequence[int] | np.ndarray) -> float:
        """How much of all sequences is tokens: 0 to 1."""
        return float(np.sum(lengths)) / (len(self) * self.room) if len(self) else 1.0


def plan(lengths: Sequence[int] | np.ndarray, room: int) -> Plan:
    """Best fit decreasing. `lengths`: tokens of each row. Raises SettingsError for one that is longer than `room`.

    Open sequences are kept by the room that they have left, and the rooms that there are sorted: the tightest that fits
    is a binary search away.
    """
    sizes = np.asarray(lengths, np.int64)
    if len(sizes) and sizes.max() > room:
        raise SettingsError(f"pack: {room}: row {sizes.argmax()} has {sizes.max()} tokens; packing cuts no row")
    sequences: list[list[int]] = []
    open_by_room: dict[int, list[list[int]]] = {}
    rooms: list[int] = []
    order = np.argsort(-sizes, kind="stable")
    for row, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        at = bisect_left(rooms, size)
        if at < len(rooms):
            tightest = rooms[at]
            (sequence := open_by_room[tightest].pop()).append(row)
            if not open_by_room[tightest]:
                del rooms[at]
            left = tightest - size
        else:
            sequences.append(sequence := [row])
            left = room - size
        if left:
            same = open_by_room.setdefault(left, [])
            if not same:
                insort(rooms, left)
            same.append(sequence)
    return Plan.of(sequences, room)


@dataclass(frozen=True, slots=True)
class Packed:
    """One sequence as a trainer reads it."""

    input_ids: np.ndarray
    """int32, (tokens,)"""
    labels: np.ndarray
    """int32, (tokens,): -100 where nothing is learned."""
    position_ids: np.ndarray
    """int32, (tokens,): from 0 in each row."""
    seq_lengths: np.ndarray
    """int32, (rows,): tokens of each row."""


AT_ONCE = 1024
"""Sequences that are laid out together."""


def pack(planned: Plan, ids: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> Iterator[Packed]:
    """The sequences of a plan, one after the other, of the rows that it was made for."""
    for first in range(0, len(planned), AT_ONCE):
        begins = planned.starts[first : first + AT_ONCE + 1]
        rows = planned.order[begins[0] : begins[-1]].tolist()
        lengths = np.fromiter((len(ids[row]) for row in rows), np.int32, len(rows))
        ends = np.cumsum(lengths)
        learned = np.concatenate([labels[row] for row in rows])
        learned[ends - lengths] = IGNORED
        places = np.arange(ends[-1], dtype=np.int32) - np.repeat((ends - lengths).astype(np.int32), lengths)
        told = np.concatenate([ids[row] for row in rows])
        borders = [0, *ends[begins[1:] - begins[0] - 1].tolist()]
        cuts = (begins - begins[0]).tolist()
        for number, (start, end) in enumerate(pairwise(borders)):
            held = slice(start, end)
            yield Packed(told[held], learned[held], places[held], lengths[cuts[number] : cuts[number + 1]])
