"""Trace formats, a row each, and the stage that reads them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any, TypeVar

import msgspec

from pipeline.converting import (
    atif,
    chat,
    claude_code,
    codex,
    codex_lines,
    hermes,
    messages,
    pi,
    rows,
    sharegpt,
    simple,
    usual,
)
from pipeline.converting.checking import Recording, check
from pipeline.converting.lines import raw_lines
from pipeline.converting.rows import Fields
from pipeline.errors import TraceError
from pipeline.records import REPEATED, Conversation, Flaw, Reject, Trace, TraceFile

F = TypeVar("F", bound=TraceFile)
HEAD = 20
"""Objects that a format is recognised by: some agents begin with lines that say nothing of themselves."""


@dataclass(frozen=True)
class Format:
    """How one format is read."""

    convert: Callable[[Trace], Iterator[Conversation | Reject]]
    """A conversation a context window and branch. Raises TraceError."""
    recognises: Callable[[Fields], bool]
    """Whether a file of this format may begin with this object."""
    parent: Callable[[bytes], str | None] = lambda first_line: None
    """The session that a session goes on from, by its first line: the end of its file's stem. See `parent_of`."""
    helps: Callable[[bytes], bool] = lambda first_line: False
    """Whether a session is that of an agent's helper, by its first line. See `is_of_helper`."""
    tell: rows.Telling | None = None
    """For a format of rows: the conversations of one,"""
    reading: Callable[[], rows.Reading] = lambda: rows.row_of
    """and what reads the lines of a file."""
    home: str = ""
    """An agent's own folder on the machine that it runs on, below the home folder,"""
    variable: str = ""
    """or what this variable of the environment says;"""
    below: tuple[str, ...] = ()
    """the folders in it in which sessions are left,"""
    pattern: str = "**/*.jsonl"
    """and what their files are called."""

    def parent_of(self, file: TraceFile, beside: Iterable[F]) -> F | None:
        """Of these, the one that this session goes on from. Raises TraceError for a file that holds nothing."""
        parent = self.parent(next(raw_lines(file))[2])
        return next((one for one in beside if parent and one.stem.endswith(parent)), None)

    def is_of_helper(self, file: TraceFile) -> bool:
        """Whether another session's agent has begun this one."""
        try:
            return self.helps(next(raw_lines(file))[2])
        except TraceError:
            return False


def _rows(
    telling: rows.Telling,
    recognises: Callable[[Fields], bool],
    reading: Callable[[], rows.Reading] = lambda: rows.row_of,
) -> Format:
    return Format(rows.reader(telling, reading), recognises, tell=telling, reading=reading)


FORMATS = {
    "codex": Format(
        codex.convert,
        codex_lines.recognises,
        codex_lines.parent,
        codex_lines.helps,
        home=".codex",
        variable="CODEX_HOME",
        below=("sessions", "archived_sessions"),
        pattern="**/rollout-*.jsonl*",
    ),
    "claude-code": Format(
        claude_code.convert,
        claude_code.recognises,
        helps=claude_code.helps,
        home=".claude",
        variable="CLAUDE_CONFIG_DIR",
        below=("projects",),
    ),
    "pi": Format(pi.convert, pi.recognises, home=".pi/agent", variable="PI_CODING_AGENT_DIR", below=("sessions",)),
    "simple": Format(simple.convert, simple.recognises),
    "atif": _rows(atif.tell, atif.recognises),
    "hermes": _rows(hermes.tell, hermes.recognises),
    "chat": _rows(chat.tell, chat.recognises),
    "messages": _rows(messages.tell, messages.recognises, usual.Usual),
    "sharegpt": _rows(sharegpt.tell, sharegpt.recognises),
}
"""In the order in which they are recognised: of two that fit, the one that says more."""


def recognise(first: Any) -> str | None:
    """The format of a file, or of rows, by the first object in it."""
    if not isinstance(first, Mapping):
        return None
    return next((name for name, one in FORMATS.items() if one.recognises(first)), None)


def format_of(file: TraceFile) -> str:
    """The format of a file that does not say. Raises TraceError."""
    for _, first in islice(rows.rows_of(file), HEAD):
        if name := recognise(first):
            return name
    known = ", ".join(FORMATS)
    raise TraceError("unknown_format", f"{file.name}: it begins like none of {known}; say which with `format`")


def convert(traces: Iterable[Trace], *, learned: set[bytes] | None = None) -> Iterator[Conversation | Reject]:
    """The conversations of each trace, or the reason why it cannot be told: no session spoils its neighbours.

    What the model said is learned once: where windows, branches and forks tell it again, it is flawed as `REPEATED`.
    learned: what was told before, where traces do not come all at once; it grows.
    """
    learned = set() if learned is None else learned
    for trace in traces:
        recording = Recording(trace.exchanges)
        for session in _sessions(trace):
            try:
                yield from _conversations(session, trace.id, recording, learned)
            except TraceError as error:
                yield Reject(id=session.id, stage="conversations", reason=error.reason, detail=str(error))


def _sessions(trace: Trace) -> Iterator[Trace]:
    """The session, then those of the agent's helpers, each before the files that it may go on from."""
    yield trace
    for number, file in enumerate(trace.files[1:], 1):
        if trace.format in FORMATS and FORMATS[trace.format].is_of_helper(file):
            files = (file, *(one for one in trace.files if one is not file))
            yield msgspec.structs.replace(trace, id=f"{trace.id}.{number}", files=files)


def _conversations(
    trace: Trace, trace_id: str, recording: Recording, learned: set[bytes]
) -> Iterator[Conversation | Reject]:
    if trace.format not in FORMATS:
        known = ", ".join(FORMATS)
        raise TraceError("unknown_format", f"format {trace.format!r} is none of {known}; set the prompt's `format`")
    told = new = 0
    for row in FORMATS[trace.format].convert(trace):
        marked = row
        if isinstance(row, Conversation):
            marked = check(_once(msgspec.structs.replace(row, trace_id=trace_id), learned), recording)
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
