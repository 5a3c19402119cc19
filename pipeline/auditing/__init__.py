"""Audits: what must be true of rows before anyone trains on them, read again from what is stored."""

from collections.abc import Iterable, Iterator, Mapping

from pipeline.auditing.case import Audit, Case
from pipeline.auditing.empty_target import empty_target
from pipeline.auditing.lengths import lengths
from pipeline.auditing.lost import lost
from pipeline.auditing.prefix import prefix
from pipeline.auditing.secrets import secrets
from pipeline.auditing.stops import stops
from pipeline.auditing.summary import Summary
from pipeline.auditing.told_trained import told_trained
from pipeline.auditing.tools import tools
from pipeline.errors import StoreError
from pipeline.records import Conversation, Finding, MaskedRow, RenderedRow
from pipeline.targets import Target
from renderers.tokenizer import Tokenizer

AUDITS: Mapping[str, Audit] = {
    "lengths": lengths,
    "empty_target": empty_target,
    "told_trained": told_trained,
    "stops": stops,
    "prefix": prefix,
    "lost": lost,
    "tools": tools,
    "secrets": secrets,
}


def audit(
    conversations: Iterable[Conversation],
    rendered: Iterable[RenderedRow],
    masked: Iterable[MaskedRow],
    *,
    tokenizer: Tokenizer,
    target: Target,
    summary: Summary | None = None,
) -> Iterator[Finding]:
    """What every audit finds in every row, counted in `summary` on the way."""
    for case in join(conversations, rendered, masked, tokenizer=tokenizer, target=target):
        findings = tuple(inspect(case))
        if summary is not None:
            summary.add(case, findings)
        yield from findings


def inspect(case: Case) -> Iterator[Finding]:
    """What every audit finds in one row."""
    row = case.rendered.id
    piece = case.masked.id if case.masked else row
    for name, find in AUDITS.items():
        for k, remark in enumerate(find(case)):
            yield Finding(id=f"{piece}/{name}/{k}", audit=name, row=row, **remark._asdict())


def join(
    conversations: Iterable[Conversation],
    rendered: Iterable[RenderedRow],
    masked: Iterable[MaskedRow],
    *,
    tokenizer: Tokenizer,
    target: Target,
) -> Iterator[Case]:
    """The three streams of a partition, row by row: same order, and each may lack rows of the one before it.

    Raises StoreError where a row does not have the row that it was made from: the partitions are not of one run.
    """
    said, trained = iter(conversations), iter(masked)
    conversation, taught, row = None, frozenset[int](), next(trained, None)
    for told in rendered:
        if conversation is None or conversation.id != told.conversation_id:
            conversation, taught = next((one for one in said if one.id == told.conversation_id), None), frozenset[int]()
        if conversation is None:
            raise StoreError(f"rendered row {told.id}: conversation {told.conversation_id} is gone; render again")
        kept = [row] if row is not None and row.source == told.id else []
        while kept and (row := next(trained, None)) is not None and row.source == told.id:
            kept.append(row)
        for number, piece in enumerate(kept or [None]):
            yield (case := Case(conversation, told, piece, tokenizer, target, taught, number))
            taught |= frozenset(case.trained_messages)
    if row is not None:
        raise StoreError(f"masked row {row.id}: it has no rendered row; mask again")
