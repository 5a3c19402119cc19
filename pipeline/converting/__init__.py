"""Trace formats, a row each, and the stage that reads them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from pipeline.converting import codex, codex_lines, pi
from pipeline.errors import TraceError
from pipeline.records import REPEATED, Conversation, Flaw, Reject, Trace


@dataclass(frozen=True)
class Format:
    """How one agent's session files are read."""

    convert: Callable[[Trace], Iterator[Conversation | Reject]]
    """A conversation a context window and branch. Raises TraceError."""
    parent: Callable[[bytes], str | None] = lambda first_line: None
    """The session that a session goes on from, by its first line: the end of its file's stem."""


FORMATS = {
    "codex": Format(codex.convert, codex_lines.parent),
    "pi": Format(pi.convert),
}


def convert(traces: Iterable[Trace]) -> Iterator[Conversation | Reject]:
    """The conversations of each trace, or the reason why it cannot be told: no session spoils its neighbours.

    What the model said is learned once: where windows, branches and forks tell it again, it is flawed as `REPEATED`.
    """
    learned: set[bytes] = set()
    for trace in traces:
        try:
            yield from _conversations(trace, learned)
        except TraceError as error:
            yield Reject(id=trace.id, stage="conversations", reason=error.reason, detail=str(error))


def _conversations(trace: Trace, learned: set[bytes]) -> Iterator[Conversation | Reject]:
    if trace.format not in FORMATS:
        known = ", ".join(FORMATS)
        raise TraceError("unknown_format", f"format {trace.format!r} is none of {known}; set the prompt's `format`")
    told = new = 0
    for row in FORMATS[trace.format].convert(trace):
        marked = _once(row, learned) if isinstance(row, Conversation) else row
        told += 1
        if isinstance(marked, Reject) or _teaches(marked):
            new += 1
            yield marked
    if not told:
        name = trace.files[0].name
        raise TraceError("no_completion", f"{name}: the model says nothing in it; run it again, or drop its prompt")
    if not new:
        name = trace.files[0].name
        raise TraceError("repeated", f"{name}: other sessions of the batch tell all of it; drop its prompt")


def _once(row: Conversation, learned: set[bytes]) -> Conversation:
    """Marks the answers that an earlier conversation told."""
    flawed = {flaw.message for flaw in row.flaws}
    repeated = []
    for index, message in enumerate(row.messages):
        if message.role != "assistant":
            continue
        key = _key(row, index)
        if key in learned and index not in flawed:
            repeated.append(Flaw(index, REPEATED))
        learned.add(key)
    flaws = sorted((*row.flaws, *repeated), key=lambda flaw: flaw.message)
    return msgspec.structs.replace(row, flaws=tuple(flaws)) if repeated else row


def _key(row: Conversation, index: int) -> bytes:
    """What a message is known by: copies of a session keep its time, which no other message has."""
    place = row.places[index] if index < len(row.places) else None
    where: Any = place.time if place and place.time else (row.trace_id, place or (row.id, index))
    return blake2b(msgspec.msgpack.encode((where, row.messages[index])), digest_size=12).digest()


def _teaches(row: Conversation) -> bool:
    """Whether it tells anything that no other did."""
    repeated = {flaw.message for flaw in row.flaws if flaw.reason == REPEATED}
    return any(index not in repeated for index, m in enumerate(row.messages) if m.role == "assistant")
