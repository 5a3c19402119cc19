"""Rendered rows -> masked rows: labels under the target's policy, then its length policy.

A row that is too long leaves (`drop`), fails the run (`error`), or is made to fit, a row of `fitting.FITS`. A row with
nothing left to learn is a reject.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np

from pipeline.errors import PipelineError
from pipeline.fitting import Piece, left, pieces
from pipeline.records import MaskedRow, Reject, RenderedRow, Spans
from pipeline.targets import Target
from renderers.masking import LossPolicy, RunColumns, learned_runs, masked, run_mask
from renderers.pieces import KINDS, between, sums
from renderers.rendered import Runs

AT_ONCE, TOKENS_AT_ONCE = 256, 1 << 18
"""Rows whose labels are made in one go, and the tokens after which fewer are enough."""
BY_NAME = sorted(range(len(KINDS)), key=KINDS.__getitem__)
NAMES = [str(KINDS[code]) for code in BY_NAME]


def mask(rows: Iterable[RenderedRow], target: Target) -> Iterator[MaskedRow | Reject]:
    """Each row as a trainer reads it, or as a reject: `no_target`, `too_long`. Split, it is several, which follow."""
    policy = target.loss_policy
    for batch in _batches(rows):
        fitted = [_fit(row, target) for row in batch]
        made = _label(list(chain.from_iterable(fitted)), policy)
        for row, kept in zip(batch, fitted, strict=True):
            found = list(filter(None, islice(made, len(kept))))
            yield from found
            if not found or kept[0].cut:
                yield from _gone(row, kept, target, found)


def _batches(rows: Iterable[RenderedRow]) -> Iterator[list[RenderedRow]]:
    batch, tokens = list[RenderedRow](), 0
    for row in rows:
        batch.append(row)
        tokens += len(row.input_ids)
        if len(batch) >= AT_ONCE or tokens >= TOKENS_AT_ONCE:
            yield batch
            batch, tokens = [], 0
    if batch:
        yield batch


def _fit(row: RenderedRow, target: Target) -> list[Piece]:
    """What is kept of a row: all of it, or what fits."""
    most = target.max_length
    return [Piece(row)] if most is None or len(row.input_ids) <= most else pieces(row, most, target.over_length)


def _label(kept: Sequence[Piece], policy: LossPolicy) -> Iterator[MaskedRow | None]:
    """Each with its labels; None where nothing is learned."""
    rows = [piece.row for piece in kept]
    told = [row.input_ids for row in rows]
    ids, at = np.concatenate([np.empty(0, np.int32), *told]), sums(map(len, told))
    runs = _end_to_end(rows, at)
    learned = learned_runs(rows, runs, policy)
    edges = np.column_stack((runs.starts, runs.starts + runs.lengths))[learned].ravel()
    within = np.repeat(np.arange(len(edges) + 1) % 2 > 0, np.diff(edges, prepend=0, append=len(ids)))
    labels, ones = between(masked(ids, within), at), between(np.ones(len(ids), np.int8), at)
    trained = _trained(runs, learned, len(rows))
    for (row, stretches, cut), label, one, counts in zip(kept, labels, ones, trained, strict=True):
        made = MaskedRow(
            id=row.id,
            conversation_id=row.conversation_id,
            input_ids=row.input_ids,
            labels=label,
            attention_mask=one,
            trained=counts,
            parts=stretches,
            cut=cut,
        )
        yield made if counts else None


def _trained(runs: Runs, learned: np.ndarray, rows: int) -> Iterator[dict[str, int]]:
    """The tokens of each row that are learned, by kind."""
    width = len(KINDS)
    cells = runs.rows[learned] * width + runs.kinds[learned]
    counts = np.bincount(cells, runs.lengths[learned], rows * width).astype(np.int64).reshape(-1, width)[:, BY_NAME]
    names = map(NAMES.__getitem__, np.nonzero(counts)[1].tolist())
    pairs = list(zip(names, counts[counts > 0].tolist(), strict=True))
    return map(dict, between(pairs, sums(np.count_nonzero(counts, axis=1))))


def _end_to_end(rows: Sequence[RenderedRow], opens: np.ndarray) -> Runs:
    """The runs of all rows, end to end. `opens`: where the tokens of each begin, and the end."""
    spans = [Spans.of(row.spans) for row in rows]
    owners = np.repeat(np.arange(len(rows)), list(map(len, spans)))
    begins, over = np.concatenate([one.starts for one in spans]) + opens[owners], opens[owners + 1]
    starts = np.maximum.accumulate(np.minimum(begins, over))  # broken spans break no other row
    ends = np.minimum(np.append(starts[1:], opens[-1]), over)
    kinds, messages = np.concatenate([one.kinds for one in spans]), np.concatenate([one.messages for one in spans])
    return Runs(starts, ends - starts, owners, kinds, messages)


def _gone(row: RenderedRow, kept: Sequence[Piece], target: Target, found: Sequence[MaskedRow]) -> Iterator[Reject]:
    """What is said of a row of which nothing is learned, or not all is kept."""
    policy = target.loss_policy
    if kept and not kept[0].cut:
        yield _reject(row, "no_target", _why_nothing(row, policy))
    elif not found:
        yield _too_long(row, target)
    elif target.over_length == "split_turns":
        yield from turns_too_long(row, kept, policy)


def turns_too_long(row: RenderedRow, kept: Sequence[Piece], policy: LossPolicy) -> Iterator[Reject]:
    """A reject for what would be learned of a row, and is in none of the pieces that its turns were split into."""
    if gone := int((run_mask(runs_of(row), policy) & left(row, kept)).sum()):
        yield _reject(row, "turns_too_long", f"{gone} learned tokens are of turns that max_length has no room for")


def runs_of(row: RenderedRow) -> RunColumns:
    """A stored row as the columns that the mask is made of."""
    spans = Spans.of(row.spans)
    return RunColumns(
        starts=spans.starts.tolist(),
        kinds=list(map(KINDS.__getitem__, spans.kinds.tolist())),
        messages=spans.messages.tolist(),
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
