"""Rendered rows -> masked rows: labels under the target's policy, then its length policy.

A row that is too long leaves (`drop`), fails the run (`error`), or is cut at its end (`truncate`): the cut may fall
inside a turn, whose stop token is then not learned. A row with nothing left to learn is a reject.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.errors import PipelineError
from pipeline.records import MaskedRow, Reject, RenderedRow
from pipeline.targets import Target
from renderers.masking import LossPolicy, RunColumns, masked, run_mask, trained_runs


def mask(rows: Iterable[RenderedRow], target: Target) -> Iterator[MaskedRow | Reject]:
    """Each row as a trainer reads it, or as a reject: `no_target`, `too_long`."""
    policy = target.loss_policy
    return (_mask(row, policy, target) for row in rows)


def _mask(row: RenderedRow, policy: LossPolicy, target: Target) -> MaskedRow | Reject:
    tokens = len(row.input_ids)
    limit = min(tokens, target.max_length or tokens)
    if limit < tokens and target.over_length != "truncate":
        return _too_long(row, target)
    ids = row.input_ids[:limit]
    labels = masked(ids, run_mask(runs_of(row), policy)[:limit])
    trained = trained_kinds(row, policy, limit)
    if not trained:
        return _reject(row, "no_target", _why_nothing(row, policy, cut=tokens - limit))
    return MaskedRow(
        id=row.id,
        conversation_id=row.conversation_id,
        input_ids=ids,
        labels=labels,
        attention_mask=np.ones(limit, np.int8),
        trained=trained,
        cut=tokens - limit,
    )


def runs_of(row: RenderedRow) -> RunColumns:
    """A stored row as the columns that the mask is made of."""
    return RunColumns(
        starts=[span.start for span in row.spans],
        kinds=[span.kind for span in row.spans],
        messages=[span.message for span in row.spans],
        trainable=row.trainable,
        length=len(row.input_ids),
        asked=row.asked,
        weights=row.weights,
    )


def trained_kinds(row: RenderedRow, policy: LossPolicy, limit: int) -> dict[str, int]:
    """Trained tokens by kind, of the first `limit` tokens."""
    runs = runs_of(row)
    ends = np.minimum([*runs.starts[1:], runs.length], limit)
    sizes = np.maximum(ends - np.asarray(runs.starts), 0).tolist()
    count: Counter[str] = Counter()
    for kind, size, learned in zip(runs.kinds, sizes, trained_runs(runs, policy), strict=True):
        count[str(kind)] += size * learned
    return {kind: n for kind, n in sorted(count.items()) if n}


def _too_long(row: RenderedRow, target: Target) -> Reject:
    detail = f"{len(row.input_ids)} tokens, max_length is {target.max_length}; raise it, or set over_length: truncate"
    if target.over_length == "error":
        raise PipelineError(f"row {row.id}: {detail}")
    return _reject(row, "too_long", detail)


def _why_nothing(row: RenderedRow, policy: LossPolicy, *, cut: int) -> str:
    """What stands in the way of each assistant message."""
    verdicts = Counter(proof.verdict for proof in row.proofs)
    told = ", ".join(f"{n} {verdict}" for verdict, n in sorted(verdicts.items())) or "no assistant message"
    lost = f"; not told: {', '.join(row.lost)}" if row.lost else ""
    return (
        f"policy {policy.name}: nothing to learn in {len(row.input_ids) - cut} tokens, {cut} cut; turns: {told}{lost}"
    )


def _reject(row: RenderedRow, reason: str, detail: str) -> Reject:
    return Reject(id=row.id, stage="masked", reason=reason, detail=detail)
