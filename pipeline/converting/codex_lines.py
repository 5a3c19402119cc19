"""The lines of Codex rollouts: whose they are, which context window they belong to, how a turn ended.

The history is what `response_item` lines hold. `event_msg` lines mirror them for the screen: they say how a turn ended,
what was taken back, in old files where a response ended, and nothing else. The oldest files (before September 2025)
have no envelopes: their first line is the bare meta data, the others are bare items.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

import msgspec

from pipeline.converting.codex_items import TOLD, HostedCall, Item, Kinds, Said, read_item
from pipeline.converting.lines import NO_JSON, at, decode, raw_lines, refused, whole_lines
from pipeline.errors import TraceError
from pipeline.records import Origin, Place, Status, TraceFile, Usage

HISTORY = frozenset({"session_meta", "response_item", "event_msg", "turn_context", "token_usage_record", "compacted"})
BESIDE = frozenset(
    {"world_state", "retained_context", "security_risk_score", "realtime_item", "dynamic_tools_updated", "state"}
)
AGENTS = frozenset({"inter_agent_communication", "inter_agent_communication_metadata"})
KNOWN = HISTORY | BESIDE | AGENTS
"""Every type of line there is; others are counted."""
REPLACED = "/payload/replacement_history"
"""Where a compaction says what it left."""
LOGIN = re.compile(r"//[^/@]*@")
"""A name and a key in a URL."""
INJECTED = ("<environment_context>", "<user_instructions>", "# AGENTS.md instructions", "<permissions instructions>")
INJECTED += ("<turn_aborted>", "<subagent_notification>", "<user_shell_command>", "<skill>")
"""How texts begin that Codex says through the user's role, in files that do not say who wrote them."""


class Bookkeeping(msgspec.Struct, frozen=True):
    compaction_output: bool | None = None
    """The summary that a compaction asked for: recorded as if it were an answer."""


class Line(msgspec.Struct, frozen=True):
    type: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"")
    timestamp: str | None = None
    ordinal: int | None = None
    metadata: Bookkeeping | None = None
    id: str | None = None
    record_type: str | None = None


class Text(msgspec.Struct, frozen=True):
    text: str = ""


class Position(msgspec.Struct, frozen=True):
    thread_id: str
    end_ordinal_exclusive: int


class Git(msgspec.Struct, frozen=True):
    commit_hash: str | None = None
    branch: str | None = None
    repository_url: str | None = None


class Meta(msgspec.Struct, frozen=True):
    """The first line: who wrote this file."""

    id: str
    timestamp: str = ""
    cli_version: str | None = None
    base_instructions: Text | None = None
    instructions: str | None = None
    """Before there were base instructions: what the user's files say."""
    history_base: Position | None = None
    forked_from_id: str | None = None
    parent_thread_id: str | None = None
    git: Git | None = None


class TurnContext(msgspec.Struct, frozen=True):
    model: str | None = None


class Compacted(msgspec.Struct, frozen=True):
    replacement_history: list[msgspec.Raw] | None = None


class Tokens(msgspec.Struct, frozen=True):
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_output_tokens: int = 0

    @property
    def usage(self) -> Usage:
        return Usage(
            input=self.input_tokens,
            cached=self.cached_input_tokens,
            cache_written=self.cache_write_input_tokens,
            output=self.output_tokens,
            reasoning=self.reasoning_output_tokens,
        )


class Spent(msgspec.Struct, frozen=True):
    usage: Tokens = Tokens()


class Info(msgspec.Struct, frozen=True):
    total_token_usage: Tokens | None = None


class Event(msgspec.Struct, frozen=True):
    type: str
    error: msgspec.Raw = msgspec.Raw(b"null")
    info: msgspec.Raw = msgspec.Raw(b"null")
    num_turns: int = 0


class Mark(Enum):
    """What stands between items."""

    END = "a response ends"
    CUT = "the token limit ended it"


Placed = tuple[Place, Item | Mark]
Lines = Iterator[tuple[Place, Line]]


class Window(msgspec.Struct):
    """One context window, or one branch of it."""

    model: str | None = None
    items: list[Placed] = []
    last: bool = False


class Survey(msgspec.Struct):
    """What has to be known of a whole file before its first window is told."""

    meta: Meta
    status: Status = "unknown"
    counted: bool = False
    """Whether usage records say where a response ends."""
    ended: str | None = None
    usage: Usage = Usage()
    total: Usage = Usage()
    """What old files say at last, who have no usage records."""
    uncounted: Counter[str] = Counter()

    @property
    def origin(self) -> Origin:
        git = self.meta.git or Git()
        return Origin(
            session=self.meta.id,
            parent=self.meta.parent_thread_id or self.meta.forked_from_id or _base(self.meta),
            repository=LOGIN.sub("//", git.repository_url) if git.repository_url else None,
            branch=git.branch,
            commit=git.commit_hash,
            began=self.meta.timestamp or None,
            ended=self.ended,
            usage=self.usage if self.counted else self.total,
        )


def _base(meta: Meta) -> str | None:
    return meta.history_base.thread_id if meta.history_base else None


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether a rollout may begin so; the oldest have no envelopes."""
    return row.get("type") == "session_meta" or {"id", "timestamp", "instructions"} <= row.keys()


def parent(first_line: bytes) -> str | None:
    """The thread that this session goes on from."""
    try:
        return _base(_meta(first_line))
    except (*NO_JSON, TraceError):
        return None


def _meta(first_line: bytes) -> Meta:
    place = Place("", 1)
    return decode(_line(first_line, place).payload, Meta, place)


def _line(line: bytes, place: Place) -> Line:
    """A line in its envelope, whether it came in one or not."""
    told = decode(line, Line, place)
    enveloped = bool(bytes(told.payload))
    if enveloped and told.type is not None:
        return told
    if told.type is None and told.record_type is None and (told.id is None or enveloped):
        raise refused("invalid_field", place, "Object missing required field `type`; restore the file")
    kind = "response_item" if told.type in TOLD else told.type or ("state" if told.record_type else "session_meta")
    return msgspec.structs.replace(told, type=kind, payload=msgspec.Raw(line.strip()))


def lineage(file: TraceFile, others: Iterable[TraceFile], torn: Counter[str]) -> Lines:
    """The lines that this thread's history is made of: its parent's up to the fork, then its own."""
    others = tuple(others)
    for number, (place, _, line) in enumerate(whole_lines(file, torn)):
        told = _line(line, place)
        if number == 0 and (base := _read_meta(told, place).history_base):
            before = next((other for other in others if _thread(other) == base.thread_id), None)
            if before is None:
                why = f"goes on from {base.thread_id}; put its rollout file beside this"
                raise refused("missing_parent", place, why)
            inherited = lineage(before, (other for other in others if other is not before), torn)
            yield from ((where, one) for where, one in inherited if (one.ordinal or 0) < base.end_ordinal_exclusive)
        pointer = "/payload" if told.type in HISTORY and bytes(told.payload) != line.strip() else ""
        yield Place(place.file, place.line, pointer, told.timestamp or ""), told


def _read_meta(line: Line, place: Place) -> Meta:
    if line.type != "session_meta":
        raise refused("wrong_format", place, "no Codex session begins so; set the prompt's `format`")
    return decode(line.payload, Meta, place)


def _thread(file: TraceFile) -> str | None:
    try:
        _, _, line = next(raw_lines(file))
        return _meta(line).id
    except (*NO_JSON, TraceError, StopIteration):
        return None


def survey(file: TraceFile, others: Iterable[TraceFile]) -> Survey:
    """How it ended and what it cost. Exit codes say nothing: Codex leaves with 0 when every command failed."""
    found: Survey | None = None
    torn: Counter[str] = Counter()
    counted = False
    for place, line in lineage(file, others, torn):
        counted = counted or line.type == "token_usage_record"
        if place.file != file.name:
            continue
        found = found or Survey(meta=_read_meta(line, place), uncounted=torn)
        found.ended = line.timestamp or found.ended
        _look(found, line, place)
    assert found is not None, "an empty file is refused before"
    found.counted = counted
    return found


def _look(found: Survey, line: Line, place: Place) -> None:
    payload = line.payload
    if line.type == "token_usage_record":
        found.usage += decode(payload, Spent, place).usage.usage
    elif line.type == "event_msg":
        event = decode(payload, Event, place)
        found.status = outcome(event) or found.status
        if event.type == "token_count" and (info := decode(event.info, Info | None, place)):
            found.total = info.total_token_usage.usage if info.total_token_usage else found.total
    elif line.type not in KNOWN:
        found.uncounted[str(line.type)] += 1


def outcome(event: Event) -> Status | None:
    """How a turn ended with this, if it began or ended one."""
    if event.type in ("task_started", "turn_started"):
        return "killed"
    if event.type == "turn_aborted":
        return "aborted"
    if event.type not in ("task_complete", "turn_complete"):
        return None
    if bytes(event.error) == b"null":
        return "complete"
    return "length" if b"max_output_tokens" in bytes(event.error) else "error"


def windows(lines: Lines, found: Survey) -> Iterator[Window]:
    """What each context window tells: a compaction replaces the history so far, a rollback leaves a branch."""
    window = Window(items=[])
    for place, line in lines:
        payload = line.payload
        if line.type == "response_item" and not (line.metadata and line.metadata.compaction_output):
            _add(payload, place, window, found)
        elif line.type == "compacted":
            yield window
            window = Window(model=window.model, items=[])
            for number, item in enumerate(_replacement(payload, place)):
                _add(item, at(place, f"{REPLACED}/{number}"), window, found)
            window.items.append((place, Mark.END))
        elif line.type == "turn_context":
            window.model = decode(payload, TurnContext, place).model or window.model
        elif line.type == "token_usage_record":
            window.items.append((place, Mark.END))
        elif line.type == "event_msg":
            event = decode(payload, Event, place)
            if event.type == "thread_rolled_back":
                yield window
                window = Window(model=window.model, items=_before(window.items, event.num_turns))
            window.items += [(place, mark) for mark in _marks(event, counted=found.counted)]
    window.last = True
    yield window


def _marks(event: Event, *, counted: bool) -> Iterator[Mark]:
    """In files without usage records the token count of a response ends it."""
    if not counted and event.type == "token_count" and bytes(event.info) != b"null":
        yield Mark.END
    if outcome(event) == "length":
        yield Mark.CUT


def _add(payload: msgspec.Raw, place: Place, window: Window, found: Survey) -> None:
    item = read_item(payload, place)
    if isinstance(item, str):
        found.uncounted[item] += 1
        return
    if isinstance(item, HostedCall):
        found.uncounted[item.kind] += 1
    window.items.append((place, item))


def _replacement(payload: msgspec.Raw, place: Place) -> list[msgspec.Raw]:
    history = decode(payload, Compacted, place).replacement_history
    if history is None:
        raise refused("lost_history", place, "what this compaction left is not recorded; what came before is told")
    return history


def _before(items: list[Placed], turns: int) -> list[Placed]:
    """The history without its last turns, nor the context that was injected right before the first of them."""
    asked = [index for index, (_, item) in enumerate(items) if isinstance(item, Said) and _asks(item)]
    if turns <= 0 or not asked:
        return list(items)
    cut = asked[max(len(asked) - turns, 0)]
    while cut > asked[0] and _injected(items[cut - 1][1]):
        cut -= 1
    return items[:cut]


def _injected(item: Item | Mark) -> bool:
    return isinstance(item, Said) and item.role in ("developer", "user") and not _asks(item)


def _asks(item: Said) -> bool:
    """Whether the user wrote it, and not Codex in the user's role."""
    if item.role != "user":
        return False
    kinds = (item.internal_chat_message_metadata_passthrough or Kinds()).content_item_kinds
    if kinds:
        return any(b'"user' in bytes(kind) for kind in kinds)
    text = item.content if isinstance(item.content, str) else "".join(piece.text for piece in item.content[:1])
    return not text.lstrip().startswith(INJECTED)
