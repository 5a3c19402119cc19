"""What is learned of a stored row, and what becomes of one that is too long."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.masking import mask
from pipeline.records import MaskedRow, Reject, RenderedRow, RowProof, RowSpan
from pipeline.targets import Target
from renderers.segments import Kind

SPANS = (
    ("scaffold", -1, 2),
    ("user", 0, 3),
    ("reasoning", 1, 2),
    ("answer", 1, 4),
    ("stop", 1, 1),
    ("user", 2, 2),
    ("tool_call", 3, 3),
    ("stop", 3, 1),
    ("scaffold", 3, 1),
)
"""(kind, message, tokens)"""


def row(*, trainable: Sequence[int] = (1, 3), name: str = "r") -> RenderedRow:
    starts = np.cumsum([0, *(size for *_, size in SPANS)]).tolist()
    return RenderedRow(
        id=name,
        conversation_id=name,
        input_ids=np.arange(100, 100 + starts[-1], dtype=np.int32),
        spans=tuple(RowSpan(start, Kind(kind), m) for (kind, m, _), start in zip(SPANS, starts, strict=False)),
        proofs=(RowProof(1, "proved"), RowProof(3, "history rewritten")),
        trainable=tuple(trainable),
        asked=2,
    )


def masked(one: RenderedRow, **settings) -> MaskedRow | Reject:
    (found,) = mask([one], Target(model="example", **settings))
    return found


def learned(found: MaskedRow | Reject) -> list[int]:
    assert isinstance(found, MaskedRow)
    assert np.array_equal(found.labels[found.labels != -100], found.input_ids[found.labels != -100])
    assert sum(found.trained.values()) == (found.labels != -100).sum()
    return np.flatnonzero(found.labels != -100).tolist()


@pytest.mark.parametrize(
    ("settings", "places"),
    [
        ({}, [5, 6, 7, 8, 9, 10, 11, 14, 15, 16, 17]),
        ({"policy": "no_reasoning"}, [7, 8, 9, 10, 11, 14, 15, 16, 17]),
        ({"policy": "last_turn"}, [14, 15, 16, 17]),
        ({"last_turn_only": True}, [14, 15, 16, 17]),
        ({"train_on": ["answer"]}, [7, 8, 9, 10]),
        ({"train_on": ["answer", "stop"], "policy": "last_turn"}, [17]),
        ({"train_on": ["assistant"], "policy": "answers"}, [5, 6, 7, 8, 9, 10, 11, 14, 15, 16, 17]),
        ({"train_on": ["user", "stop"]}, [2, 3, 4, 11, 12, 13, 17]),
        ({"policy": "last_turn", "last_turn_only": False}, [5, 6, 7, 8, 9, 10, 11, 14, 15, 16, 17]),
    ],
)
def test_labels_are_what_the_target_wants_to_learn(settings: dict, places: list[int]):
    assert learned(masked(row(), **settings)) == places


def test_only_trainable_messages_are_learned_whatever_the_policy():
    assert learned(masked(row(trainable=[3]))) == [14, 15, 16, 17]


def test_a_message_that_weighs_nothing_is_not_learned():
    assert learned(masked(msgspec.structs.replace(row(), weights={1: 0.0, 3: 1.0}))) == [14, 15, 16, 17]


def test_a_row_that_is_not_the_last_turns_has_nothing_of_it_to_learn():
    earlier = msgspec.structs.replace(row(), asked=4)
    assert isinstance(masked(earlier), MaskedRow)
    assert isinstance(masked(earlier, policy="last_turn"), Reject)


def test_trained_tokens_are_counted_by_kind():
    found = masked(row())
    assert isinstance(found, MaskedRow)
    assert found.trained == {"answer": 4, "reasoning": 2, "stop": 2, "tool_call": 3}
    assert found.measures() == {
        "tokens": 19,
        "trained": 11,
        "trained answer": 4,
        "trained reasoning": 2,
        "trained stop": 2,
        "trained tool_call": 3,
    }


def test_a_row_has_the_types_that_trainers_read():
    found = masked(row())
    assert isinstance(found, MaskedRow)
    assert [a.dtype for a in (found.input_ids, found.labels, found.attention_mask)] == ["int32", "int32", "int8"]
    assert found.attention_mask.tolist() == [1] * 19


def test_a_row_without_a_target_is_a_reject_that_says_why():
    gone = masked(row(trainable=[]))
    assert isinstance(gone, Reject)
    assert (gone.reason, gone.stage) == ("no_target", "masked")
    assert "1 history rewritten, 1 proved" in gone.detail


def test_a_long_row_is_dropped_unless_the_target_says_otherwise():
    gone = masked(row(), max_length=18)
    assert isinstance(gone, Reject)
    assert (gone.reason, gone.detail.split(";")[0]) == ("too_long", "19 tokens, max_length is 18")
    assert isinstance(masked(row(), max_length=19), MaskedRow)


def test_a_long_row_can_fail_the_run():
    with pytest.raises(PipelineError, match="row r: 19 tokens"):
        masked(row(), max_length=18, over_length="error")


@pytest.mark.parametrize("length", range(6, 20))
def test_a_cut_row_keeps_the_targets_that_remain(length: int):
    found, whole = masked(row(), max_length=length, over_length="truncate"), masked(row())
    assert isinstance(found, MaskedRow)
    assert learned(found) == [place for place in learned(whole) if place < length]
    assert (len(found.input_ids), len(found.attention_mask), found.cut) == (length, length, 19 - length)


@pytest.mark.parametrize("length", range(1, 6))
def test_a_row_cut_before_its_first_target_is_a_reject(length: int):
    gone = masked(row(), max_length=length, over_length="truncate")
    assert isinstance(gone, Reject)
    assert gone.reason == "no_target"
    assert f"nothing to learn in {length} tokens, {19 - length} cut" in gone.detail


def test_rows_in_are_rows_kept_and_rejected_in_order():
    rows = [row(name=str(n), trainable=[3] if n % 3 else []) for n in range(20)]
    found = list(mask(rows, Target(model="example")))
    assert [one.id for one in found] == [one.id for one in rows]
    assert Counter(type(one) for one in found) == {MaskedRow: 13, Reject: 7}
