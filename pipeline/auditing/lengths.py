"""The columns of a row fit each other, the vocabulary and the limit."""

from collections.abc import Iterator

import numpy as np

from pipeline.auditing.case import KINDS, Case, Remark, error
from pipeline.records import MaskedRow
from renderers.masking import IGNORED


def lengths(case: Case) -> Iterator[Remark]:
    """Spans cover the ids; ids, labels and mask are equally long, within the limit, and say the same."""
    yield from _spans(case)
    yield from _vocabulary(case)
    if case.masked is not None:
        yield from _columns(case, case.masked)
        yield from _counts(case, case.masked)


def _spans(case: Case) -> Iterator[Remark]:
    starts = [span.start for span in case.rendered.spans]
    tokens, messages = len(case.rendered.input_ids), len(case.told)
    if not starts or starts[0] != 0 or starts[-1] >= tokens or any(np.diff(starts) <= 0):
        yield error(f"{len(starts)} spans do not cover {tokens:,} tokens in order")
    stray = next((span for span in case.rendered.spans if not -1 <= span.message < messages), None)
    if stray is not None:
        yield error(f"token {stray.start:,} belongs to message {stray.message}, but there are {messages}")


def _vocabulary(case: Case) -> Iterator[Remark]:
    """An id that no token has decodes to nothing."""
    ids = case.rendered.input_ids
    if len(ids) and (ids.min() < 0 or not case.tokenizer.token_text(int(ids.max()))):
        yield error(f"ids from {ids.min()} to {ids.max()}: the vocabulary does not reach so far")


def _columns(case: Case, row: MaskedRow) -> Iterator[Remark]:
    ids, labels, whole = row.input_ids, row.labels, case.rendered.input_ids
    if not len(ids) == len(labels) == len(row.attention_mask):
        yield error(f"{len(ids):,} ids, {len(labels):,} labels, {len(row.attention_mask):,} of attention mask")
        return
    limit = case.target.max_length
    if limit is not None and len(ids) > limit:
        yield error(f"{len(ids):,} tokens, over the limit of {limit:,}")
    if not np.array_equal(ids, whole[case.places]) or len(ids) + row.cut != len(whole):
        yield error("the masked ids are not the rendered ids but for the cut")
    wrong = np.flatnonzero((labels != IGNORED) & (labels != ids))
    if len(wrong):
        yield error(f"token {wrong[0]:,} is {ids[wrong[0]]}, and its label {labels[wrong[0]]}")
    if not (row.attention_mask == 1).all():
        yield error("the attention mask hides tokens of a row without padding")


def _counts(case: Case, row: MaskedRow) -> Iterator[Remark]:
    found = np.bincount(case.kinds[case.trained], minlength=len(KINDS))
    counted = {str(kind): n for kind, n in zip(KINDS, found.tolist(), strict=True) if n}
    said = {str(kind): n for kind, n in row.trained.items() if n}
    if counted != said:
        yield error(f"the row says it trains {said or 'nothing'}, its labels say {counted or 'nothing'}")
