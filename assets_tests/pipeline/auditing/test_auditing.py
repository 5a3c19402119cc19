"""Rows are joined in a stream, every audit is asked, and findings are named and counted."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import msgspec
import pytest

from pipeline.auditing import AUDITS, Summary, audit, inspect, join
from pipeline.auditing.case import Case
from pipeline.errors import StoreError
from pipeline.records import Conversation, MaskedRow, RenderedRow

Make = Callable[..., Case]
T = TypeVar("T")


def named(case: Case, name: str) -> tuple[Conversation, RenderedRow, MaskedRow | None]:
    """This case's rows under another id."""
    said = msgspec.structs.replace(case.conversation, id=name)
    rendered = msgspec.structs.replace(case.rendered, id=name, conversation_id=name)
    masked = case.masked and msgspec.structs.replace(case.masked, id=name, conversation_id=name)
    return said, rendered, masked


def test_an_honest_row_has_no_findings(case: Make):
    assert list(inspect(case())) == []


def test_rows_that_left_on_the_way_are_passed_over(case: Make):
    rows = [named(case(), f"row-{k}") for k in range(5)]
    said = [row[0] for row in rows]
    rendered = [rows[k][1] for k in (0, 2, 3)]
    masked = [row for k in (0, 3) if (row := rows[k][2])]
    cases = list(join(said, rendered, masked, tokenizer=case().tokenizer, target=case().target))
    assert [(c.conversation.id, c.masked is not None) for c in cases] == [
        ("row-0", True),
        ("row-2", False),
        ("row-3", True),
    ]


def test_rows_of_one_conversation_are_joined_with_it_and_know_what_came_before(case: Make):
    said, whole, masked = named(case(trainable=(4,)), "c")
    _, part, also = named(case(trainable=(2,)), "c")
    assert masked
    assert also
    part, also = (msgspec.structs.replace(row, id="c/2") for row in (part, also))
    part = msgspec.structs.replace(part, proofs=part.proofs[:1])
    told = [whole, part, msgspec.structs.replace(part, id="c/1")]
    cases = list(join([said], told, [masked, also], tokenizer=case().tokenizer, target=case().target))
    assert [(c.rendered.id, c.masked and c.masked.id) for c in cases] == [("c", "c"), ("c/2", "c/2"), ("c/1", None)]
    assert [c.taught for c in cases] == [frozenset(), {4}, {2, 4}]
    assert [len(c.told) for c in cases] == [5, 3, 3]


def test_a_conversation_of_several_rows_is_summed_up_once(case: Make):
    summary, whole = Summary(), case(verdicts={2: "split"})
    part = msgspec.structs.replace(whole.rendered, id="row-1/2", proofs=whole.rendered.proofs[:1])
    for one in (whole, replace(whole, rendered=part, masked=None)):
        summary.add(one, [])
    assert (summary.rows, summary.turns, summary.verdicts) == (2, 2, {"split": 1, "proved": 1})


def test_the_join_holds_one_row_at_a_time(case: Make):
    pulled: list[int] = []

    def counted(rows: Iterable[T]) -> Iterator[T]:
        for row in rows:
            pulled.append(1)
            yield row

    rows = [named(case(), f"row-{k}") for k in range(50)]
    masked = [row for *_, row in rows if row]
    cases = join(
        counted(r[0] for r in rows), [r[1] for r in rows], masked, tokenizer=case().tokenizer, target=case().target
    )
    next(cases)
    next(cases)
    assert len(pulled) == 2


def test_a_rendered_row_without_its_conversation_is_refused(case: Make):
    _, rendered, _ = named(case(), "row-9")
    with pytest.raises(StoreError, match="row-9"):
        list(join([case().conversation], [rendered], [], tokenizer=case().tokenizer, target=case().target))


def test_a_masked_row_without_its_rendered_row_is_refused(case: Make):
    _, _, masked = named(case(), "row-9")
    one = case()
    assert masked is not None
    with pytest.raises(StoreError, match="row-9"):
        list(join([one.conversation], [one.rendered], [masked], tokenizer=one.tokenizer, target=one.target))


def test_findings_carry_audit_row_and_a_stable_id(case: Make):
    found = list(inspect(case(verdicts={2: "history rewritten"})))
    assert [(f.id, f.audit, f.severity, f.row, f.message) for f in found] == [
        ("row-1/prefix/0", "prefix", "warning", "row-1", 2)
    ]


def test_the_partition_is_summed_up_in_a_line(case: Make):
    summary, one = Summary(), case()
    assert one.masked is not None
    rows = ([one.conversation], [one.rendered], [one.masked])
    assert list(audit(*rows, tokenizer=one.tokenizer, target=one.target, summary=summary)) == []
    assert summary.passed
    assert summary.verdict == "2 of 2 trained turns: inference sees this exact prefix"
    assert (summary.rows, summary.turns, summary.verdicts) == (1, 2, {"proved": 2})
    assert sum(summary.tokens.values()) == len(one.rendered.input_ids)
    assert summary.trained == one.masked.trained


def test_an_error_is_in_the_verdict(case: Make):
    summary, spoiled = Summary(), case(verdicts={2: "history rewritten"}, trainable=(2, 4))
    summary.add(spoiled, inspect(spoiled))
    assert not summary.passed
    assert summary.verdict == "1 of 2 trained turns: inference sees this exact prefix; 1 error in 1 row"


def test_every_audit_is_named_as_its_file():
    assert [(name, find.__module__) for name, find in AUDITS.items()] == [
        (name, f"pipeline.auditing.{name}") for name in AUDITS
    ]
