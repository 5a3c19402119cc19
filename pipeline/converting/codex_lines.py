"""The lines of Codex rollouts: whose they are, which context window they belong to, how a turn ended.

The history is what `response_item` lines hold. `event_msg` lines mirror them for the screen: they say how a turn ended,
in old files where a response ended, and nothing else.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from pipeline.converting.codex_items import Item, read_item
from pipeline.converting.lines import NO_JSON, decode, read_lines, refused
from pipeline.records import Place, Status, TraceFile

HISTORY = frozenset({"session_meta", "response_item", "event_msg", "turn_context", "token_usage_record", "compacted"})
BESIDE = frozenset({"world_state", "retained_context", "security_risk_score", "realtime_item", "dynamic_tools_updated"})
AGENTS = frozenset({"inter_agent_communication", "inter_agent_communication_metadata"})
KNOWN = HISTORY | BESIDE | AGENTS
"""Every type of line there is; others are counted."""


class Bookkeeping(msgspec.Struct, frozen=True):
    compaction_output: bool | None = None
    """The summary that a compaction asked for: recorded as if it were an answer."""


class Line(msgspec.Struct, frozen=True):
    type: str
    payload: msgspec.Raw = msgspec.Raw(b"null")
    ordinal: int | None = None
    metadata: Bookkeeping | None = None


class Text(msgspec.Struct, frozen=True):
    text: str = ""


class Position(msgspec.Struct, frozen=True):
    thread_id: str
    end_ordinal_exclusive: int


class Meta(msgspec.Struct, frozen=True):
    """The first line: who wrote this file."""

    id: str
    timestamp: str = ""
    cli_version: str | None = None
    base_instructions: Text | None = None
    history_base: Position | None = None


class TurnContext(msgspec.Struct, frozen=True):
    model: str | None = None


class Compacted(msgspec.Struct, frozen=True):
    replacement_history: list[msgspec.Raw] | None = None


class Event(msgspec.Struct, frozen=True):
    type: str
    error: msgspec.Raw = msgspec.Raw(b"null")
    info: msgspec.Raw = msgspec.Raw(b"null")


Lines = list[tuple[Place, Line]]


class Window(msgspec.Struct, frozen=True):
    """One context window."""

    model: str | None
    items: list[tuple[Place, Item | None]]
    """In their order; None ends a response."""


def parent(first_line: bytes) -> str | None:
    """The thread that this session goes on from."""
    try:
        base = msgspec.json.decode(msgspec.json.decode(first_line, type=Line).payload, type=Meta).history_base
    except NO_JSON:
        return None
    return base.thread_id if base else None


def read_meta(lines: Lines) -> Meta:
    place, line = lines[0]
    if line.type != "session_meta":
        raise refused("wrong_format", place, "no Codex session begins so; set the prompt's `format`")
    return decode(line.payload, Meta, place)


def lineage(file: TraceFile, others: Iterable[TraceFile], uncounted: Counter[str]) -> Lines:
    """The lines that this thread's history is made of: its parent's up to the fork, then its own."""
    lines, torn = read_lines(file, Line)
    uncounted["torn line"] += torn
    base = read_meta(lines).history_base
    if base is None:
        return lines
    others = tuple(others)
    before = next((other for other in others if _thread(other) == base.thread_id), None)
    if before is None:
        raise refused("missing_parent", lines[0][0], f"goes on from {base.thread_id}; put its rollout file beside this")
    inherited = lineage(before, (other for other in others if other is not before), uncounted)
    return [(place, line) for place, line in inherited if (line.ordinal or 0) < base.end_ordinal_exclusive] + lines


def _thread(file: TraceFile) -> str | None:
    try:
        line = msgspec.json.decode(file.data.partition(b"\n")[0], type=Line)
        return msgspec.json.decode(line.payload, type=Meta).id
    except NO_JSON:
        return None


def windows(lines: Lines, uncounted: Counter[str]) -> Iterator[Window]:
    """What each context window tells: a compaction replaces the history so far."""
    window = Window(None, [])
    counted = any(line.type == "token_usage_record" for _, line in lines)
    for place, line in lines:
        if line.type == "response_item" and not (line.metadata and line.metadata.compaction_output):
            _add(line.payload, place, window, uncounted)
        elif line.type == "compacted":
            yield window
            window = Window(window.model, [])
            for item in _replacement(line, place):
                _add(item, place, window, uncounted)
        elif line.type == "turn_context":
            window = Window(decode(line.payload, TurnContext, place).model or window.model, window.items)
        elif _ends_response(line, place, counted=counted):
            window.items.append((place, None))
        elif line.type not in KNOWN:
            uncounted[line.type] += 1
    yield window


def _add(payload: msgspec.Raw, place: Place, window: Window, uncounted: Counter[str]) -> None:
    item = read_item(payload, place)
    if isinstance(item, str):
        uncounted[item] += 1
    else:
        window.items.append((place, item))


def _replacement(line: Line, place: Place) -> list[msgspec.Raw]:
    history = decode(line.payload, Compacted, place).replacement_history
    if history is None:
        raise refused("lost_history", place, "what this compaction left is not recorded; drop this session")
    return history


def _ends_response(line: Line, place: Place, *, counted: bool) -> bool:
    """A usage record does; in files that have none, the token count of a response."""
    if line.type != "event_msg":
        return line.type == "token_usage_record"
    event = decode(line.payload, Event, place)
    if event.type == "thread_rolled_back":
        raise refused("rolled_back", place, "turns were taken back here; drop this session")
    return not counted and event.type == "token_count" and bytes(event.info) != b"null"


def last_status(lines: Lines) -> Status:
    """How the last turn ended. Exit codes say nothing: Codex leaves with 0 when every command failed."""
    status: Status = "unknown"
    for place, line in lines:
        if line.type != "event_msg":
            continue
        event = decode(line.payload, Event, place)
        if event.type in ("task_started", "turn_started"):
            status = "killed"
        elif event.type == "turn_aborted":
            status = "aborted"
        elif event.type in ("task_complete", "turn_complete"):
            status = _outcome(bytes(event.error))
    return status


def _outcome(error: bytes) -> Status:
    if error == b"null":
        return "complete"
    return "length" if b"max_output_tokens" in error else "error"
