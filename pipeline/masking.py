"""Rendered rows -> masked rows: labels under the target's policy, then its length policy.

A row that is too long leaves (`drop`), fails the run (`error`), or is made to fit, a row of `fitting.FITS`. A row with
nothing left to learn is a reject.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from msgspec.structs import replace

from pipeline.errors import PipelineError
from pipeline.fitting import Piece, left, pieces
from pipeline.records import MaskedRow, Reject, RenderedRow
from pipeline.targets import Target
from renderers.masking import IGNORED, LossPolicy, RunColumns, run_mask, trained_runs
from renderers.segments import Kind


def mask(rows: Iterable[RenderedRow], target: Target) -> Iterator[MaskedRow | Reject]:
    """Each row as a trainer reads it, or as a reject: `no_target`, `too_long`. Split, it is several, which follow."""
    policy = target.loss_policy
    return (made for row in rows for made in _mask(row, policy, target))


def _mask(row: RenderedRow, policy: LossPolicy, target: Target) -> Iterator[MaskedRow | Reject]:
    tokens = len(row.input_ids)
    if target.max_length is None or tokens <= target.max_length:
        yield _row(row, policy) or _reject(row, "no_target", _why_nothing(row, policy))
        return
    kept = pieces(row, target.max_length, target.over_length)
    made = [_of_piece(one, piece, tokens) for piece in kept if (one := _row(piece.row, policy))]
    yield from made
    if not made:
        yield _too_long(row, target)
    elif target.over_length == "split_turns":
        yield from turns_too_long(row, kept, policy)


def _row(row: RenderedRow, policy: LossPolicy) -> MaskedRow | None:
    """A row with its labels; None where nothing is learned."""
    labels, trained = np.full(len(row.input_ids), IGNORED, np.int32), Counter[Kind]()
    runs = runs_of(row)
    ends = [*runs.starts[1:], runs.length]
    for learned, start, end, kind in zip(trained_runs(runs, policy), runs.starts, ends, runs.kinds, strict=True):
        if learned:
            labels[start:end] = row.input_ids[start:end]
            trained[kind] += end - start
    if not trained.total():
        return None
    return MaskedRow(
        id=row.id,
        conversation_id=row.conversation_id,
        input_ids=row.input_ids,
        labels=labels,
        attention_mask=np.ones(len(labels), np.int8),
        trained={str(kind): trained[kind] for kind in sorted(trained)},
    )


def _of_piece(made: MaskedRow, piece: Piece, tokens: int) -> MaskedRow:
    return replace(made, parts=piece.stretches, cut=tokens - len(made.input_ids))


def turns_too_long(row: RenderedRow, kept: Sequence[Piece], policy: LossPolicy) -> Iterator[Reject]:
    """A reject for what would be learned of a row, and is in none of the pieces that its turns were split into."""
    if gone := int((run_mask(runs_of(row), policy) & left(row, kept)).sum()):
        yield _reject(row, "turns_too_long", f"{gone} learned tokens are of turns that max_length has no room for")


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


def _too_long(row: RenderedRow, target: Target) -> Reject:
    detail = f"{len(row.input_ids)} tokens, max_length is {target.max_length}; raise it, or set over_length"
    if target.over_length == "error":
        raise PipelineError(f"row {row.id}: {detail}")
    return _reject(row, "too_long", detail)


def _why_nothing(row: RenderedRow, policy: LossPolicy) -> str:
    """What stands in the way of each assistant message."""
    verdicts = Counter(proof.verdict for proof in row.proofs)
    told = ", ".join(f"{n} {verdict}" for verdict, n in sorted(verdicts.items())) or "no assistant message"
    lost = f"; not told: {', '.join(row.lost)}" if row.lost else ""
    return f"policy {policy.name}: nothing to learn in {len(row.input_ids)} tokens; turns: {told}{lost}"


def _reject(row: RenderedRow, reason: str, detail: str) -> Reject:
    return Reject(id=row.id, stage="masked", reason=reason, detail=detail)
