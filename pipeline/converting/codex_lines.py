"""The lines of Codex rollouts: whose they are, how the last turn ended, what it cost."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from pipeline.converting.codex_items import TOLD
from pipeline.converting.codex_shapes import HISTORY, KNOWN, LOGIN, Event, Git, Info, Line, Meta, Spent
from pipeline.converting.lines import NO_JSON, decode, raw_lines, refused, whole_lines
from pipeline.errors import TraceError
from pipeline.records import Origin, Place, Status, TraceFile, Usage

Lines = Iterator[tuple[Place, Line]]


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


def helps(first_line: bytes) -> bool:
    """Whether another thread has begun this one. Raises TraceError."""
    return _meta(first_line).parent_thread_id is not None


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
