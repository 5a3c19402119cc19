"""Packing: nothing is cut or lost, and sequences are as few as can be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SettingsError
from pipeline.mixing.packing import pack, plan

LENGTHS = st.lists(st.integers(1, 50), max_size=60)


def naive(lengths: list[int], room: int) -> list[list[int]]:
    """Best fit decreasing as its definition says, all open sequences looked at for each row."""
    sequences: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda k: (-lengths[k], k)):
        left = [room - sum(lengths[k] for k in one) for one in sequences]
        fitting = [k for k, free in enumerate(left) if free >= lengths[row]]
        if fitting:
            sequences[min(fitting, key=left.__getitem__)].append(row)
        else:
            sequences.append([row])
    return sequences


@given(LENGTHS, st.integers(50, 80))
def test_a_plan_is_best_fit_decreasing(lengths, room):
    packed, slow = plan(lengths, room), naive(lengths, room)
    assert sorted(packed.order.tolist()) == list(range(len(lengths)))
    sizes = [sum(lengths[k] for k in packed.rows(number)) for number in range(len(packed))]
    assert max(sizes, default=0) <= room
    assert sorted(sizes) == sorted(sum(lengths[k] for k in one) for one in slow), "but for ties"


@given(LENGTHS)
def test_sequences_hold_their_rows_token_by_token(lengths):
    rng = np.random.default_rng(len(lengths))
    ids = [rng.integers(0, 1000, size).astype(np.int32) for size in lengths]
    labels = [
        np.where(rng.random(size) < 0.5, one, -100).astype(np.int32) for size, one in zip(lengths, ids, strict=True)
    ]
    before = [one.copy() for one in labels]
    packed = plan(lengths, 60)
    sequences = list(pack(packed, ids, labels))
    assert len(sequences) == len(packed)
    for number, one in enumerate(sequences):
        rows = packed.rows(number)
        assert one.seq_lengths.tolist() == [lengths[k] for k in rows]
        cuts = np.cumsum(one.seq_lengths)[:-1]
        assert all(np.array_equal(a, ids[k]) for a, k in zip(np.split(one.input_ids, cuts), rows, strict=True))
        for learned, k in zip(np.split(one.labels, cuts), rows, strict=True):
            assert learned[0] == -100, "nothing of its own row stands before a row's first token"
            assert np.array_equal(learned[1:], labels[k][1:])
        assert one.position_ids.tolist() == [place for k in rows for place in range(lengths[k])]
    assert all(np.array_equal(a, b) for a, b in zip(before, labels, strict=True)), (
        "the rows themselves stay as they are"
    )


def test_a_row_that_is_longer_than_a_sequence_is_refused_by_name():
    with pytest.raises(SettingsError, match="row 1 has 11 tokens"):
        plan([3, 11], 10)


@pytest.mark.parametrize("room", [4096, 32768])
def test_of_a_hundred_thousand_rows_hardly_a_gap_is_left(room):
    lengths = np.minimum(np.exp(np.random.default_rng(5).normal(6.3, 1.2, 100_000)).astype(int) + 20, room)
    packed = plan(lengths, room)
    assert packed.fill(lengths) > 0.999
    assert len(packed) - -(-int(lengths.sum()) // room) < 5, "as few as the tokens need"
