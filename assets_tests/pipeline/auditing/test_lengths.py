"""Columns that do not fit each other are found."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.auditing import inspect
from pipeline.auditing.case import Case
from pipeline.auditing.lengths import lengths
from pipeline.records import RowSpan
from pipeline.targets import Target

Make = Callable[..., Case]


def only(case: Case) -> str:
    """What the audit says; every remark of it is an error."""
    remarks = list(lengths(case))
    assert all(remark.severity == "error" for remark in remarks)
    return "; ".join(remark.detail for remark in remarks)


@pytest.mark.parametrize("column", ["labels", "attention_mask", "input_ids"])
def test_columns_of_unequal_length_are_found(case: Make, column: str):
    short = getattr(case().masked, column)[:-1]
    assert "ids" in only(case(masked_row={column: short}))


def test_a_label_that_is_not_its_id_is_found(case: Make):
    masked = case().masked
    assert masked is not None
    labels = masked.labels.copy()
    at = int(np.flatnonzero(labels != -100)[0])
    labels[at] += 1
    assert f"token {at:,} is" in only(case(masked_row={"labels": labels}))


def test_a_row_over_the_limit_is_found(case: Make):
    assert "over the limit of 16" in only(case(target=Target(model="example", max_length=16)))


def test_ids_outside_the_vocabulary_are_found_by_this_audit_and_break_no_other(case: Make):
    ids = case().rendered.input_ids.copy()
    for wrong in (-5, 2**31 - 1):
        ids[40] = wrong
        spoiled = case(rendered={"input_ids": ids})
        assert "the vocabulary does not reach so far" in only(spoiled)
        assert list(inspect(spoiled))


def test_masked_ids_that_are_not_the_rendered_ones_are_found(case: Make):
    masked = case().masked
    assert masked is not None
    other = masked.input_ids.copy()
    other[0] += 1
    assert "not the rendered ids" in only(case(masked_row={"input_ids": other}))


def test_a_hidden_token_is_found(case: Make):
    masked = case().masked
    assert masked is not None
    hidden = masked.attention_mask.copy()
    hidden[3] = 0
    assert "hides tokens" in only(case(masked_row={"attention_mask": hidden}))


def test_counts_that_labels_do_not_bear_out_are_found(case: Make):
    assert "the row says it trains {'answer': 3}" in only(case(masked_row={"trained": {"answer": 3}}))


SPANS = {
    "none": (),
    "late": (RowSpan(2, "user", 1),),
    "backwards": (RowSpan(0, "user", 1), RowSpan(9, "answer", 2), RowSpan(4, "stop", 2)),
    "beyond the end": (RowSpan(0, "user", 1), RowSpan(10_000_000, "answer", 2)),
    "of no message": (RowSpan(0, "user", 99),),
}


@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS)
def test_spans_that_do_not_fit_are_found_and_break_no_other_audit(case: Make, spans: Any):
    spoiled = case(rendered={"spans": spans})
    assert "spans do not cover" in only(spoiled) or "belongs to message 99" in only(spoiled)
    assert list(inspect(spoiled))
