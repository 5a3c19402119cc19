"""Pi sessions: a tree of entries, a line each, linked by `parentId`.

Each branch is read from its last entry to the root, then cut into context windows: a compaction ends one and opens the
next. A window is told if the model said something in it that no earlier window told. What was edited out, failed or was
aborted is not sent again, and not told. Pi 1.x records prompt and tools in system messages; they are replayed in order.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.converting.lines import day_of, seekable
from pipeline.converting.pi_entries import ATTACHED, Said, answer, blocks_of, content_of, flaw, result, unreadable
from pipeline.converting.pi_tree import Node, Session, Told, Window, branches, compactions, read_session, window_at
from pipeline.records import Conversation, Flaw, Origin, Place, Status, Trace, Usage
from renderers.messages import Message

Placed = list[tuple[Message, Place]]
STATUS: dict[str | None, Status] = {"stop": "complete", "length": "length", "error": "error", "aborted": "aborted"}
"""By the last answer's `stopReason`; an answer that wants a tool, and no more, was killed."""
SPOKEN = ("user", "assistant", "toolResult")


def recognises(row: Mapping[str, Any]) -> bool:
    return row.get("type") == "session" and bool({"cwd", "version"} & row.keys())


def convert(trace: Trace) -> Iterator[Conversation]:
    """A conversation a context window, branch by branch."""
    with seekable(trace.files[0]) as lines:
        session = read_session(trace.files[0], lines)
        number, told_before = 0, set[Place]()
        for branch in branches(session.nodes):
            for end in [*compactions(branch), len(branch)]:
                shown = window_at(session, branch[:end])
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
