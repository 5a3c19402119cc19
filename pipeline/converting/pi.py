"""Pi sessions: a tree of entries, a line each, linked by `parentId`.

Each branch is read from its last entry to the root, then cut into context windows: a compaction ends one and opens the
next. A window is told if the model said something in it that no earlier window told. What was edited out, failed or was
aborted is not sent again, and not told. Pi 1.x records prompt and tools in system messages; they are replayed in order.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from pipeline.converting.lines import (
    Kept,
    Seekable,
    at,
    day_of,
    decode,
    refused,
    seekable,
    unknown,
    whole_lines,
)
from pipeline.converting.pi_entries import (
    ATTACHED,
    BRANCH,
    COMPACTED,
    NOT_TOLD,
    TOLD,
    Entry,
    Said,
    answer,
    blocks_of,
    content_of,
    flaw,
    result,
    shell,
    unreadable,
)
from pipeline.records import Conversation, Flaw, Origin, Place, Status, Trace, Usage
from renderers.messages import Message

Placed = list[tuple[Message, Place]]
STATUS: dict[str | None, Status] = {"stop": "complete", "length": "length", "error": "error", "aborted": "aborted"}
"""By the last answer's `stopReason`; an answer that wants a tool, and no more, was killed."""
SPOKEN = ("user", "assistant", "toolResult")


class Node(NamedTuple):
    """What is kept of an entry in memory: the rest is read again when it is told."""

    kept: Kept
    type: str
    id: str | None
    parent_id: str | None
    role: str | None
    stop: str | None


class Told(NamedTuple):
    """A message that Pi would send, and where it stands."""

    place: Place
    said: Said


class Window(NamedTuple):
    """What one context window holds."""

    system: list[Told]
    rest: list[Told]


class Session(NamedTuple):
    """A file: its first line, its entries, and what was counted."""

    lines: Seekable
    head: Entry
    nodes: list[Node]
    uncounted: dict[str, int]

    def entry(self, node: Node) -> Entry:
        return self.lines.read(node.kept, Entry)


def recognises(row: Mapping[str, Any]) -> bool:
    return row.get("type") == "session" and bool({"cwd", "version"} & row.keys())


def convert(trace: Trace) -> Iterator[Conversation]:
    """A conversation a context window, branch by branch."""
    with seekable(trace.files[0]) as lines:
        session = _session(trace, lines)
        number, told_before = 0, set[Place]()
        for branch in _branches(session.nodes):
            for end in [*_compactions(branch), len(branch)]:
                shown = _window(session, branch[:end])
                answers = [told for told in shown.rest if told.said.role == "assistant"]
                if all(told.place in told_before for told in answers):
                    continue
                new = [told for told in answers if told.place not in told_before]
                told_before.update(told.place for told in answers)
                yield _conversation(trace, session, branch, shown, answers, new, number)
                number += 1


def _conversation(
    trace: Trace,
    session: Session,
    branch: list[Node],
    shown: Window,
    answers: list[Told],
    new: list[Told],
    number: int,
) -> Conversation:
    messages, tools = _messages(shown, answers[-1].said), _tools(shown.system)
    usage = sum((told.said.usage.usage for told in new if told.said.usage), Usage())
    hidden = {told.place for told in answers if unreadable(told.said)}
    return Conversation(
        id=f"{trace.id}-{number}",
        trace_id=trace.id,
        prompt_id=trace.prompt_id,
        window=number,
        messages=tuple(message for message, _ in messages),
        places=tuple(place for _, place in messages),
        tools=tools,
        tools_recorded=any(told.said.tools_added is not None for told in shown.system),
        format=trace.format,
        model=answers[-1].said.response_model or answers[-1].said.model,
        date=day_of(session.head.timestamp),
        status=_status(branch),
        flaws=tuple(_flaws(messages, answers)),
        unreadable=tuple(i for i, (m, place) in enumerate(messages) if m.role == "assistant" and place in hidden),
        origin=_origin(session, branch, usage),
        uncounted=session.uncounted,
        metadata=trace.metadata,
    )


def _origin(session: Session, branch: list[Node], usage: Usage) -> Origin:
    """Pi names a parent by its file, in a folder of the machine: only the end of its name is kept."""
    parent = session.head.parent_session
    return Origin(
        session=session.head.id,
        parent=parent.replace("\\", "/").rpartition("/")[2].removesuffix(".jsonl").rpartition("_")[2]
        if parent
        else None,
        began=session.head.timestamp or None,
        ended=branch[-1].kept.place.time or None,
        usage=usage,
    )


def _session(trace: Trace, lines: Seekable) -> Session:
    head, nodes, uncounted = None, [], Counter[str]()
    for place, start, line in whole_lines(trace.files[0], uncounted):
        entry = decode(line, Entry, place)
        if head is None:
            if entry.type != "session":
                raise refused("wrong_format", place, "no Pi session: a `session` line comes first; set `format`")
            head = entry
            continue
        said = entry.message
        kept = Kept(at(place, "", entry.timestamp), start, len(line))
        role, stop = (said.role, said.stop_reason) if said else (None, None)
        nodes.append(Node(kept, entry.type, entry.id, entry.parent_id, role, stop))
        uncounted.update({entry.type: 1} if entry.type not in NOT_TOLD | TOLD else {})
    assert head is not None, "an empty file is refused before"
    return Session(lines, head, nodes, dict(uncounted))


def _branches(nodes: list[Node]) -> Iterator[list[Node]]:
    """From the root to each leaf, in the order of the leaves. The oldest files have no ids: they are one branch."""
    if all(node.id is None for node in nodes):
        yield nodes
        return
    by_id = _by_id(nodes)
    parents = {node.parent_id for node in nodes}
    for leaf in nodes:
        if leaf.id not in parents:
            path = [leaf]
            while (above := path[-1].parent_id) is not None:
                path.append(by_id[above])
            yield path[::-1]


def _by_id(nodes: list[Node]) -> dict[str, Node]:
    """Entries come after their parents, so following them upwards ends at a root."""
    by_id: dict[str, Node] = {}
    for node in nodes:
        place = node.kept.place
        if node.id is None or node.id in by_id:
            raise refused("broken_tree", place, f"id {node.id!r} is none, or another entry's; restore the file")
        if node.parent_id is not None and node.parent_id not in by_id:
            raise refused("broken_tree", place, f"its parent {node.parent_id!r} is not above it; restore the file")
        by_id[node.id] = node
    return by_id


def _compactions(branch: list[Node]) -> list[int]:
    return [index for index, node in enumerate(branch) if node.type == "compaction"]


def _window(session: Session, path: list[Node]) -> Window:
    """What Pi sends at the end of this path: its last compaction's summary, what that kept, and what came after."""
    edits = {entry.target_id: entry for entry in (session.entry(n) for n in path if n.type == "context_edit")}
    last = max(_compactions(path), default=None)
    if last is None:
        return _split(_all_told(session, path, edits))
    compaction, place = session.entry(path[last]), path[last].kept.place
    before = _split(_all_told(session, path[_kept(path, last, compaction) : last], edits))
    after = _split(_all_told(session, path[last + 1 :], edits))
    checkpoint = [Told(at(place, "/systemMessage"), compaction.system_message)] if compaction.system_message else []
    summary = Told(at(place, "/summary"), Said("user", COMPACTED.format(compaction.summary)))
    return Window([*checkpoint, *after.system], [summary, *before.rest, *after.rest])


def _kept(path: list[Node], last: int, compaction: Entry) -> int:
    """Where what the compaction kept begins."""
    if (line := compaction.first_kept_entry_index) is not None and compaction.first_kept_entry_id is None:
        return next((index for index, node in enumerate(path[:last]) if node.kept.place.line > line), last)
    wanted = compaction.first_kept_entry_id
    return next((index for index, node in enumerate(path[:last]) if node.id == wanted), last)


def _split(told: list[Told]) -> Window:
    """System messages are replayed apart from the rest."""
    return Window([t for t in told if t.said.role == "system"], [t for t in told if t.said.role != "system"])


def _all_told(session: Session, nodes: list[Node], edits: dict[str | None, Entry]) -> list[Told]:
    return [told for node in nodes if node.type in TOLD and (told := _told(session, node, edits))]


def _told(session: Session, node: Node, edits: dict[str | None, Entry]) -> Told | None:
    """What an entry says to the model, after its last edit."""
    entry, place = session.entry(node), node.kept.place
    said = _said(entry, place)
    edit = edits.get(node.id) if node.id else None
    if said is None or (edit and edit.replacement is None):
        return None
    if edit and edit.replacement:
        said = msgspec.structs.replace(said, content=edit.replacement.content)
    return Told(at(place, {"message": "/message", "custom_message": "/content"}.get(entry.type, "/summary")), said)


def _said(entry: Entry, place: Place) -> Said | None:
    """An entry as one of the four roles that are sent, or nothing."""
    said = entry.message
    if entry.type == "custom_message":
        return Said("user", entry.content)
    if entry.type == "branch_summary" and entry.summary:
        return Said("user", BRANCH.format(entry.summary))
    if entry.type != "message":
        return None
    if said is None:
        raise refused("invalid_field", place, "`message` is missing; restore the file")
    if said.role == "assistant":
        return None if said.stop_reason in ("error", "aborted") else said
    return _as_user(said, place) if said.role not in ("system", "user", "toolResult") else said


def _as_user(said: Said, place: Place) -> Said | None:
    """What others than the model say through the user's role."""
    if said.role == "bashExecution":
        return None if said.exclude_from_context else Said("user", shell(said))
    if said.role in ("custom", "hookMessage"):
        return Said("user", said.content)
    if said.role in ("branchSummary", "compactionSummary"):
        return Said("user", (BRANCH if said.role == "branchSummary" else COMPACTED).format(said.summary))
    raise unknown(f"message of role {said.role!r}", place)


def _messages(window: Window, last: Said) -> Placed:
    """Messages as Pi sends them to the model that spoke last."""
    prompt = _prompt(window.system)
    messages: Placed = [(Message("system", prompt), window.system[0].place)] if prompt else []
    open_calls: dict[str | None, Place] = {}
    pictures: list[Told] = []
    for place, said in window.rest:
        if said.role == "toolResult":
            told = result(said, place, pictures=last.api != "openai-completions")
            open_calls.pop(told.tool_call_id, None)
            pictures += [Told(place, said)] if isinstance(told.content, str) else []
            messages.append((told, place))
            continue
        messages += _unanswered(open_calls) + _attached(pictures)
        open_calls, pictures = {}, []
        if said.role == "user":
            messages.append((Message("user", content_of(said.content, place)), place))
            continue
        spoken = answer(said, place, thinks=said.speaker == last.speaker)
        if spoken.content or spoken.tool_calls or said is last:
            messages.append((spoken, place))
        open_calls = {call.id: place for call in spoken.tool_calls}
    return messages + _attached(pictures)


def _flaws(messages: Placed, answers: list[Told]) -> Iterator[Flaw]:
    """Answers that are not what the model wrote."""
    reasons = {told.place: why for told in answers if (why := flaw(told.said, told.place))}
    for index, (message, place) in enumerate(messages):
        if message.role == "assistant" and place in reasons:
            yield Flaw(index, reasons[place])


def _unanswered(calls: dict[str | None, Place]) -> Placed:
    return [(Message("tool", "No result provided", tool_call_id=call), place) for call, place in calls.items()]


def _attached(results: list[Told]) -> Placed:
    """The pictures of a run of tool results, in a message of the user's."""
    images = [
        block.part
        for place, said in results
        for block in blocks_of(said.content, place, "image")
        if block.type == "image"
    ]
    return [(Message("user", (ATTACHED, *images)), results[0].place)] if images else []


def _prompt(system: list[Told]) -> str:
    """Sections by name, the last of a name counts and null removes it; then joined as Pi joins them."""
    texts = [block.text for place, said in system for block in blocks_of(said.content, place)]
    sections: dict[str, str | None] = {}
    for _, said in system:
        sections.update(said.sections or {})
    return "\n\n".join(text for text in [*texts, *sections.values()] if text)


def _tools(system: list[Told]) -> tuple[dict[str, Any], ...]:
    offered: dict[str, dict[str, Any]] = {}
    for _, said in system:
        for gone in said.tools_removed or ():
            offered.pop(gone.name, None)
        for tool in said.tools_added or ():
            spec = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            offered[tool.name] = {"type": "function", "function": spec}
    return tuple(offered.values())


def _status(branch: list[Node]) -> Status:
    """How the branch ended. Exit codes say nothing: Pi leaves with 0 after a refused key."""
    spoken = [node for node in branch if node.role in SPOKEN]
    return STATUS.get(spoken[-1].stop, "killed") if spoken else "unknown"
