"""Two renderings of a row beside each other: every difference is found, and nothing else."""

import random

import numpy as np
import pytest

from pipeline.comparing.changes import Side, changes
from pipeline.records import MaskedRow, RenderedRow, RowSpan
from renderers.segments import Kind

KINDS = tuple(Kind)


def side(ids: list[int], kinds: list[Kind], trained: list[bool]) -> Side:
    starts = [n for n in range(len(ids)) if not n or kinds[n] != kinds[n - 1]]
    spans = tuple(RowSpan(n, kinds[n], -1) for n in starts)
    array = np.array(ids, np.int32)
    row = RenderedRow(id="r", conversation_id="r", input_ids=array, spans=spans, proofs=())
    labels = np.where(np.array(trained, bool), array, -100).astype(np.int32)
    masked = MaskedRow(
        id="r",
        conversation_id="r",
        input_ids=array,
        labels=labels,
        attention_mask=np.ones(len(ids), np.int8),
        trained={},
    )
    return Side(row, [masked])


Tokens = list[tuple[int, Kind, bool]]


def made(told: Tokens) -> Side:
    return side([t[0] for t in told], [t[1] for t in told], [t[2] for t in told])


def random_row(chance: random.Random) -> Tokens:
    told: Tokens = []
    for _ in range(chance.randrange(1, 12)):
        kind, learned = chance.choice(KINDS), chance.random() < 0.5
        told += [(chance.randrange(6), kind, learned) for _ in range(chance.randrange(1, 8))]
    return told


def edited(told: Tokens, chance: random.Random) -> Tokens:
    new = list(told)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(new) + 1)
        what = chance.randrange(4)
        if what == 0:
            del new[at : at + chance.randrange(4)]
        elif what == 1:
            new[at:at] = random_row(chance)[: chance.randrange(1, 5)]
        else:
            end = at + chance.randrange(5)
            new[at:end] = [(i, k if what == 2 else Kind.STOP, not t if what == 2 else t) for i, k, t in new[at:end]]
    return new or told


def test_changes_applied_to_the_old_row_give_the_new_one(examples: int):
    chance = random.Random(7)
    for _ in range(examples * 20):
        old = random_row(chance)
        new = edited(old, chance)
        told, at = [], 0
        for change in changes(made(old), made(new)):
            assert change.was[0] >= at, "changes come in order and do not overlap"
            told += [*old[at : change.was[0]], *new[slice(*change.now)]]
            at = change.was[1]
        assert [*told, *old[at:]] == new


def test_a_row_that_is_the_same_has_no_changes(examples: int):
    chance = random.Random(8)
    rows = [random_row(chance) for _ in range(examples)]
    assert not any(changes(made(row), made(row)) for row in rows)


@pytest.mark.parametrize(
    ("trained", "expected"),
    [((False, True), "now trained"), ((True, False), "no longer trained")],
)
def test_a_token_that_is_learned_or_not_is_a_flip_of_its_kind(trained: tuple[bool, bool], expected: str):
    was, now = ([(1, Kind.ANSWER, True), (2, Kind.STOP, learned)] for learned in trained)
    (change,) = changes(made(was), made(now))
    assert (change.op, change.kind, change.was, change.now) == (expected, Kind.STOP, (1, 2), (1, 2))


def test_a_stretch_that_differs_in_the_middle_of_a_long_row_costs_what_it_is():
    long: Tokens = [(n % 997, KINDS[n // 50 % len(KINDS)], False) for n in range(100_000)]
    new = [*long[:50_000], (5, Kind.ANSWER, True), *long[50_001:]]
    (change,) = changes(made(long), made(new))
    assert change.was == (50_000, 50_001)
