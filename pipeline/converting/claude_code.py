"""Claude Code sessions, 2.0 and later: a tree of lines, linked by `parentUuid`.

An answer is told in several lines, a block each, under one message id; with parallel calls their results hang on
different ones of these lines. So an answer with its results is one knot of the tree, and a branch is a path of knots. A
compaction begins a new root: a context window is a branch like any other. Sub-agents have files of their own (in older
versions, roots of their own). Neither system prompt nor tools are recorded, nor what the harness adds to a prompt
(`attachment` lines, counted): only a recorder's requests tell these.
Source of the format: public session files of 2.0.14 to 2.1.220.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.converting.claude_entries import (
    BESIDE,
    COMMANDS,
    HOSTED,
    INTERRUPTED,
    TREE,
    Block,
    Entry,
    answer,
    blocks_of,
    heard,
    results,
    unreadable,
)
from pipeline.converting.lines import Kept, Seekable, at, day_of, decode, refused, seekable, whole_lines
from pipeline.converting.rows import Fields
from pipeline.records import CUT, Conversation, Flaw, Origin, Place, Status, Trace, Usage
from renderers.messages import Message

STATUS: dict[str | None, Status] = {"end_turn": "complete", "stop_sequence": "complete", "max_tokens": "length"}
RESTS = "rests on what a hosted tool found, which no message holds"


@dataclass
class Knot:
    """What is one place of the tree: an answer with the results of its calls, or a line of another kind."""

    above: "Knot | None"
    answer: list[Kept] = field(default_factory=list)
    told: list[Kept] = field(default_factory=list)
    below: bool = False
    """Whether anything comes after it."""


@dataclass
class Session:
    lines: Seekable
    knots: list[Knot] = field(default_factory=list)
    uncounted: Counter[str] = field(default_factory=Counter)
    head: Entry | None = None
    ended: str = ""


@dataclass
class Telling:
    """A conversation being told."""

    messages: list[Message] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    status: Status = "killed"

    def add(self, message: Message, place: Place) -> None:
        self.messages.append(message)
        self.places.append(place)


def recognises(row: Fields) -> bool:
    return ("sessionId" in row and ("uuid" in row or row.get("type") in BESIDE)) or (
        row.get("type") in ("summary", "file-history-snapshot") and ("leafUuid" in row or "messageId" in row)
    )


def helps(first_line: bytes) -> bool:
    """Whether a sub-agent speaks: it has a file of its own, below its session's. Raises TraceError."""
    return decode(first_line, Entry, Place("", 1)).is_sidechain


def convert(trace: Trace) -> Iterator[Conversation]:
    """A conversation for each leaf below which the model said something that no earlier branch holds."""
    with seekable(trace.files[0]) as lines:
        session = _session(trace, lines)
        seen: set[int] = set()
        number = 0
        for leaf in session.knots:
            path = _path(leaf) if not leaf.below else []
            new = {id(knot) for knot in path if knot.answer} - seen
            if not new:
                continue
            seen |= new
            told = _told(session, path, new)
            if not any(message.role == "assistant" for message in told.messages):
                continue
            yield _conversation(trace, session, told, number)
            number += 1


def _conversation(trace: Trace, session: Session, told: Telling, number: int) -> Conversation:
    head = session.head
    assert head is not None, "there is an answer"
    return Conversation(
        id=f"{trace.id}-{number}",
        trace_id=trace.id,
        prompt_id=trace.prompt_id,
        window=number,
        messages=tuple(told.messages),
        places=tuple(told.places),
        format=trace.format,
        agent_version=head.version,
        model=told.model,
        date=day_of(head.timestamp),
        status=told.status,
        flaws=tuple(told.flaws),
        unreadable=tuple(told.unreadable),
        origin=Origin(
            session=head.agent_id if head.is_sidechain and head.agent_id else head.session_id,
            parent=head.session_id if head.is_sidechain else None,
            branch=head.git_branch or None,
            began=head.timestamp or None,
            ended=session.ended or None,
            usage=told.usage,
        ),
        uncounted=dict(session.uncounted),
        metadata=trace.metadata,
    )


def _session(trace: Trace, lines: Seekable) -> Session:
    """The file as a tree. A line whose parent is not in the file is a root: what came before is not recorded."""
    session = Session(lines)
    by_line: dict[str, Knot] = {}
    by_answer: dict[str, Knot] = {}
    known = False
    for place, start, line in whole_lines(trace.files[0], session.uncounted):
        entry = decode(line, Entry, place)
        _known(session, entry, place)
        known = known or entry.type in TREE | BESIDE
        if entry.type not in TREE or entry.uuid is None:
            continue
        session.head = session.head or (entry if entry.message else None)
        session.ended = entry.timestamp or session.ended
        above = by_line.get(entry.parent_uuid or "")
        knot = _knot(session, entry, above, by_answer)
        by_line[entry.uuid] = knot
        kept = Kept(at(place, "", entry.timestamp), start, len(line))
        (knot.answer if entry.type == "assistant" else knot.told).append(kept)
    if not known:
        raise refused(
            "wrong_format", Place(trace.files[0].name, 1), "no Claude Code session; set the prompt's `format`"
        )
    return session


def _known(session: Session, entry: Entry, place: Place) -> None:
    """Counts what is told to the model but not recorded, or new."""
    if entry.type in ("user", "assistant") and (entry.uuid is None or entry.message is None):
        raise refused("invalid_field", place, "`uuid` or `message` is missing; restore the file")
    if entry.type == "attachment":
        session.uncounted[f"attachment {(entry.attachment or {}).get('type', '')}".strip()] += 1
    elif entry.type not in TREE | BESIDE:
        session.uncounted[entry.type] += 1


def _knot(session: Session, entry: Entry, above: Knot | None, by_answer: dict[str, Knot]) -> Knot:
    """An answer's lines are one knot, and the results of its calls belong to it."""
    said = entry.message
    if entry.type == "assistant" and said and said.id and said.id in by_answer:
        return by_answer[said.id]
    if entry.type == "user" and said and above and above.answer and results(said):
        return above
    knot = Knot(above)
    if above:
        above.below = True
    if entry.type == "assistant" and said and said.id:
        by_answer[said.id] = knot
    session.knots.append(knot)
    return knot


def _path(leaf: Knot) -> list[Knot]:
    path = [leaf]
    while above := path[-1].above:
        path.append(above)
    return path[::-1]


def _told(session: Session, path: list[Knot], new: set[int]) -> Telling:
    told = Telling()
    for knot in path:
        if knot.answer:
            _answer(session, knot, told, counts=id(knot) in new)
        for kept in knot.told:
            _heard(session.lines.read(kept, Entry), kept.place, told)
    return told


def _answer(session: Session, knot: Knot, told: Telling, *, counts: bool) -> None:
    """An answer of all its lines; what the harness says in the model's place is none."""
    entries = [session.lines.read(kept, Entry) for kept in knot.answer]
    said = [entry.message for entry in entries if entry.message and not entry.is_api_error_message]
    if not said:
        told.status = "error"
        return
    place, last = at(knot.answer[0].place, "/message"), said[-1]
    blocks: list[Block] = [block for one in said for block in blocks_of(one.content)]
    message, index = answer(blocks, place), len(told.messages)
    told.usage += last.usage.usage if last.usage and counts else Usage()
    told.model = last.model or told.model
    stop = next((one.stop_reason for one in reversed(said) if one.stop_reason), None)
    told.status = STATUS.get(stop, "killed") if stop or message.tool_calls else "unknown"
    if not (message.content or message.reasoning or message.tool_calls):
        return
    told.add(message, place)
    told.flaws += [Flaw(index, CUT)] if stop == "max_tokens" else []
    told.flaws += [Flaw(index, RESTS)] if any(block.type in HOSTED for block in blocks) else []
    told.unreadable += [index] if unreadable(blocks) else []


def _heard(entry: Entry, place: Place, told: Telling) -> None:
    """What the model is told by a line: results of its calls, then what the user says."""
    said = entry.message
    if entry.type != "user" or said is None or entry.is_visible_in_transcript_only:
        return
    for message, where in heard(said, at(place, "/message")):
        told.add(message, where)
    rest = [block for block in blocks_of(said.content) if block.type != "tool_result"]
    if not rest or not rest[0].text.startswith(COMMANDS):
        told.status = "aborted" if any(block.text.startswith(INTERRUPTED) for block in rest) else "killed"
