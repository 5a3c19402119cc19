"""Pi sessions: a tree of entries, a line each, linked by `parentId`.

Each branch is read from its last entry to the root, then cut into context windows: a compaction ends one and opens the
next. A window is told if the model said something in it that no earlier window told. What was edited out, failed or was
aborted is not sent again, and not told. Pi 1.x records prompt and tools in system messages; they are replayed in order.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any, NamedTuple

import msgspec

from pipeline.converting.lines import day_of, read_lines, refused, unknown
from pipeline.converting.pi_entries import (
    ATTACHED,
    BRANCH,
    COMPACTED,
    IMAGE,
    NOT_TOLD,
    TOLD,
    Entry,
    Node,
    Said,
    answer,
    blocks_of,
    content_of,
    flaw,
    result,
    shell,
)
from pipeline.records import Conversation, Flaw, Place, Status, Trace
from renderers.messages import Message

Placed = list[tuple[Message, Place]]
STATUS: dict[str | None, Status] = {"stop": "complete", "length": "length", "error": "error", "aborted": "aborted"}
"""By the last answer's `stopReason`; an answer that wants a tool, and no more, was killed."""


class Told(NamedTuple):
    """A message that Pi would send, and where it stands."""

    place: Place
    said: Said


class Window(NamedTuple):
    """What one context window holds."""

    system: list[Told]
    rest: list[Told]


def convert(trace: Trace) -> Iterator[Conversation]:
    """A conversation a context window, branch by branch."""
    nodes, uncounted, day = _nodes(trace)
    window, told_before = 0, set[Place]()
    for branch in _branches(nodes):
        for end in [*_compactions(branch), len(branch)]:
            shown = _window(branch[:end])
            answers = [told for told in shown.rest if told.said.role == "assistant"]
            if all(told.place in told_before for told in answers):
                continue
            told_before.update(told.place for told in answers)
            messages, tools = _messages(shown, answers[-1].said), _tools(shown.system)
            yield Conversation(
                id=f"{trace.id}-{window}",
                trace_id=trace.id,
                prompt_id=trace.prompt_id,
                window=window,
                messages=tuple(message for message, _ in messages),
                places=tuple(place for _, place in messages),
                tools=tools,
                tools_recorded=any(told.said.tools_added is not None for told in shown.system),
                format=trace.format,
                model=answers[-1].said.response_model or answers[-1].said.model,
                date=day,
                status=_status(branch),
                flaws=tuple(_flaws(messages, answers)),
                uncounted=uncounted,
                metadata=trace.metadata,
            )
            window += 1


def _nodes(trace: Trace) -> tuple[list[Node], dict[str, int], date | None]:
    lines, torn = read_lines(trace.files[0], Entry)
    place, head = lines[0]
    if head.type != "session":
        raise refused("wrong_format", place, "no Pi session: a `session` line comes first; set `format`")
    uncounted = Counter(entry.type for _, entry in lines if entry.type not in NOT_TOLD | TOLD)
    uncounted.update({"torn line": 1} if torn else {})
    return [Node(place, entry) for place, entry in lines[1:]], dict(uncounted), day_of(head.timestamp)


def _branches(nodes: list[Node]) -> Iterator[list[Node]]:
    """From the root to each leaf, in the order of the leaves. The oldest files have no ids: they are one branch."""
    if all(node.entry.id is None for node in nodes):
        yield nodes
        return
    by_id = _by_id(nodes)
    parents = {node.entry.parent_id for node in nodes}
    for leaf in nodes:
        if leaf.entry.id not in parents:
            path = [leaf]
            while (above := path[-1].entry.parent_id) is not None:
                path.append(by_id[above])
            yield path[::-1]


def _by_id(nodes: list[Node]) -> dict[str, Node]:
    """Entries come after their parents, so following them upwards ends at a root."""
    by_id: dict[str, Node] = {}
    for place, entry in nodes:
        if entry.id is None or entry.id in by_id:
            raise refused("broken_tree", place, f"id {entry.id!r} is none, or another entry's; restore the file")
        if entry.parent_id is not None and entry.parent_id not in by_id:
            raise refused("broken_tree", place, f"its parent {entry.parent_id!r} is not above it; restore the file")
        by_id[entry.id] = Node(place, entry)
    return by_id


def _compactions(branch: list[Node]) -> list[int]:
    return [index for index, node in enumerate(branch) if node.entry.type == "compaction"]


def _window(path: list[Node]) -> Window:
    """What Pi sends at the end of this path: its last compaction's summary, what that kept, and what came after."""
    edits = {node.entry.target_id: node.entry for node in path if node.entry.type == "context_edit"}
    at = max(_compactions(path), default=None)
    if at is None:
        return _split(_all_told(path, edits))
    place, compaction = path[at]
    kept = [index for index, node in enumerate(path[:at]) if node.entry.id == compaction.first_kept_entry_id]
    before = _split(_all_told(path[kept[0] : at] if kept else [], edits))
    after = _split(_all_told(path[at + 1 :], edits))
    checkpoint = [Told(place, compaction.system_message)] if compaction.system_message else []
    summary = Told(place, Said("user", COMPACTED.format(compaction.summary)))
    return Window([*checkpoint, *after.system], [summary, *before.rest, *after.rest])


def _split(told: list[Told]) -> Window:
    """System messages are replayed apart from the rest."""
    return Window([t for t in told if t.said.role == "system"], [t for t in told if t.said.role != "system"])


def _all_told(nodes: list[Node], edits: dict[str | None, Entry]) -> list[Told]:
    return [told for node in nodes if (told := _told(node, edits))]


def _told(node: Node, edits: dict[str | None, Entry]) -> Told | None:
    """What an entry says to the model, after its last edit."""
    said = _said(node)
    edit = edits.get(node.entry.id) if node.entry.id else None
    if said is None or (edit and edit.replacement is None):
        return None
    if edit and edit.replacement:
        said = msgspec.structs.replace(said, content=edit.replacement.content)
    return Told(node.place, said)


def _said(node: Node) -> Said | None:
    """An entry as one of the four roles that are sent, or nothing."""
    entry, said = node.entry, node.entry.message
    if entry.type == "custom_message":
        return Said("user", entry.content)
    if entry.type == "branch_summary" and entry.summary:
        return Said("user", BRANCH.format(entry.summary))
    if entry.type != "message":
        return None
    if said is None:
        raise refused("invalid_field", node.place, "`message` is missing; restore the file")
    if said.role == "assistant":
        return None if said.stop_reason in ("error", "aborted") else said
    return _as_user(said, node.place) if said.role not in ("system", "user", "toolResult") else said


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
        IMAGE for place, said in results for block in blocks_of(said.content, place, "image") if block.type == "image"
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
    said = [node.entry.message for node in branch if node.entry.message]
    spoken = [message for message in said if message.role in ("user", "assistant", "toolResult")]
    return STATUS.get(spoken[-1].stop_reason, "killed") if spoken else "unknown"
