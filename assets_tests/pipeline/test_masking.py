"""What is learned of a stored row, and what becomes of one that is too long."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.fitting import FITS
from pipeline.masking import mask
from pipeline.records import MaskedRow, Reject, RenderedRow, RowProof, RowSpan
from pipeline.targets import Target
from renderers.segments import SAMPLED, Kind

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


def long_row(*sizes: tuple[str, int, int]) -> RenderedRow:
    """A row of these (kind, message, tokens)."""
    starts = np.cumsum([0, *(size for *_, size in sizes)]).tolist()
    written = sorted({m for kind, m, _ in sizes if Kind(kind) in SAMPLED})
    return msgspec.structs.replace(
        row(trainable=written),
        input_ids=np.arange(1000, 1000 + starts[-1], dtype=np.int32),
        spans=tuple(RowSpan(start, Kind(kind), m) for (kind, m, _), start in zip(sizes, starts, strict=False)),
    )


HEAD = (("scaffold", -1, 1), ("system", 0, 5), ("tools", -1, 4))


def turn(message: int, *, answer: int = 100) -> tuple[tuple[str, int, int], ...]:
    """A user message and what answers it: a header, a thought, words, a call and a stop."""
    asked = ("scaffold", message, 2), ("user", message, 8)
    said = ("reasoning", message + 1, 40), ("answer", message + 1, answer), ("tool_call", message + 1, 20)
    return (*asked, ("scaffold", message + 1, 2), *said, ("stop", message + 1, 1), ("scaffold", message + 1, 1))


TURN = 174
TALK = long_row(*HEAD, *turn(1), *turn(3), *turn(5))


def fitted(limit: int, over_length: str, one: RenderedRow = TALK) -> list[MaskedRow | Reject]:
    return list(mask([one], Target(model="example", max_length=limit, over_length=over_length)))


def places(found: MaskedRow | Reject) -> list[tuple[int, int]]:
    """The stretches that are kept, as the ids tell."""
    assert isinstance(found, MaskedRow)
    assert [k for part in found.parts for k in range(part.start, part.end)] == (found.input_ids - 1000).tolist()
    assert found.cut == 10 + 3 * TURN - len(found.input_ids)
    return [(part.start, part.end) for part in found.parts]


@pytest.mark.parametrize("over_length", FITS)
def test_whatever_is_kept_fits_teaches_and_ends_where_it_may(over_length: str):
    for limit in range(1, 10 + 3 * TURN + 2):
        keeps_to_its_word(over_length, limit)


def keeps_to_its_word(over_length: str, limit: int) -> None:
    kinds = np.repeat([s.kind for s in TALK.spans], np.diff([*(s.start for s in TALK.spans), len(TALK.input_ids)]))
    starts = {span.start for span in TALK.spans} | {len(TALK.input_ids)}
    found = fitted(limit, over_length)
    assert found
    whole = masked(TALK)
    assert isinstance(whole, MaskedRow)
    for one in found:
        if isinstance(one, Reject):
            assert one.reason in ("too_long", "turns_too_long")
            continue
        assert len(one.input_ids) == len(one.labels) == len(one.attention_mask) <= limit
        assert learned(one)
        kept = one.input_ids - 1000
        assert np.array_equal(one.labels, whole.labels[kept]), "the labels are those of the whole row"
        for part in one.parts:
            assert {part.start, part.end} <= starts or kinds[part.end] in (Kind.REASONING, Kind.ANSWER)


@pytest.mark.parametrize("starts", [(0, 9, 4), (0, 4, 99), (5, 6, 7), (99, 99, 99), (3, 0, 0), ()])
def test_broken_spans_break_no_other_row(starts: tuple[int, ...]):
    kinds = (Kind.SCAFFOLD, Kind.ANSWER, Kind.STOP)
    spans = tuple(RowSpan(start, kind, 1) for start, kind in zip(starts, kinds, strict=False))
    found = list(mask([row(), msgspec.structs.replace(row(), spans=spans), row()], Target(model="example")))
    assert len(found) == 3
    assert learned(found[0]) == learned(found[2]) == learned(masked(row()))


def test_a_row_is_trimmed_to_the_turns_that_fit():
    assert places(*fitted(400, "trim_followups")) == [(0, 10 + 2 * TURN)]
    assert places(*fitted(300, "trim_followups")) == [(0, 10 + TURN)]
    (gone,) = fitted(150, "trim_followups")
    assert isinstance(gone, Reject)
    assert gone.reason == "too_long"


def test_trimmed_the_last_turn_is_the_last_that_is_left():
    target = Target(model="example", max_length=400, over_length="trim_followups", policy="last_turn")
    (found,) = mask([msgspec.structs.replace(TALK, asked=5)], target)
    assert isinstance(found, MaskedRow)
    assert learned(found)[0] == 10 + TURN + 12


def test_cut_on_the_left_a_row_keeps_its_head_and_loses_whole_turns():
    assert places(*fitted(400, "truncate_left")) == [(0, 10), (10 + TURN, 10 + 3 * TURN)]
    assert places(*fitted(200, "truncate_left")) == [(0, 10), (10 + 2 * TURN, 10 + 3 * TURN)]
    told_late = long_row(*HEAD, *turn(1), ("system", 3, 5), *turn(4), *turn(6))
    assert isinstance(fitted(400, "truncate_left", told_late)[0], Reject), "an instruction would be lost"


def test_cut_on_the_right_a_row_ends_with_a_word_of_the_model():
    assert places(*fitted(100, "truncate_right")) == [(0, 100)]
    assert places(*fitted(160, "truncate_right")) == [(0, 146)], "16 tokens of an answer's end may be the template's"
    assert places(*fitted(172, "truncate_right")) == [(0, 162)], "no call is cut"
    assert places(*fitted(200, "truncate_right")) == [(0, 183)], "what is told after the stop teaches nothing"
    (gone,) = fitted(37, "truncate_right")
    assert isinstance(gone, Reject)


def test_split_a_row_is_as_few_as_hold_its_turns():
    pieces = fitted(400, "split_turns")
    assert [one.id for one in pieces] == ["r", "r#2"]
    assert [places(one) for one in pieces] == [[(0, 10 + 2 * TURN)], [(0, 10), (10 + 2 * TURN, 10 + 3 * TURN)]]
    assert {one.source for one in pieces} == {"r"}
    whole = masked(TALK)
    assert isinstance(whole, MaskedRow)
    assert sum(len(learned(one)) for one in pieces) == len(learned(whole)), "each turn is learned once"


def test_a_turn_that_fits_nowhere_is_a_reject_beside_what_does():
    long = long_row(*HEAD, *turn(1), *turn(3, answer=400), *turn(5))
    *pieces, gone = fitted(300, "split_turns", long)
    assert [one.id for one in pieces] == ["r", "r#2"]
    assert isinstance(gone, Reject)
    assert (gone.id, gone.reason) == ("r", "turns_too_long")
    assert "461 learned tokens" in gone.detail


def test_rows_in_are_rows_kept_and_rejected_in_order():
    rows = [row(name=str(n), trainable=[3] if n % 3 else []) for n in range(20)]
    found = list(mask(rows, Target(model="example")))
    assert [one.id for one in found] == [one.id for one in rows]
    assert Counter(type(one) for one in found) == {MaskedRow: 13, Reject: 7}
