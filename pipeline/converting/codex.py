"""Codex rollouts: `rollout-<time>-<thread>.jsonl`, one file a thread.

Compaction replaces the history, so every context window is a conversation of its own. A fork holds its own part only,
and points into its parent's file. Tools on offer are recorded in code mode alone. The base prompt is recorded as it was
before Codex edited it for the request (in code mode: as it was sent).
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipeline.converting.codex_items import Item, Telling, Tools, answer, sampled, told, tool_specs
from pipeline.converting.codex_lines import Meta, Window, last_status, lineage, read_meta, windows
from pipeline.converting.lines import day_of
from pipeline.records import CUT, Conversation, Flaw, Place, Status, Trace
from renderers.messages import Message, text

Placed = list[tuple[Message, Place]]


def convert(trace: Trace) -> Iterator[Conversation]:
    """A conversation for each context window in which this thread, not only its parent, said something."""
    session = trace.files[0]
    uncounted: Counter[str] = Counter()
    lines = lineage(session, trace.files[1:], uncounted)
    own = [(place, line) for place, line in lines if place.file == session.name]
    meta, status = read_meta(own), last_status(own)
    tools: tuple[dict[str, Any], ...] = ()
    shown = list(windows(lines, uncounted))
    for number, window in enumerate(shown):
        tools = _tools(window) or tools
        messages = _with_base(_with_aborted(_folded(window)), meta, own[0][0])
        if not any(message.role == "assistant" and place.file == session.name for message, place in messages):
            continue
        yield Conversation(
            id=f"{trace.id}-{number}",
            trace_id=trace.id,
            prompt_id=trace.prompt_id,
            window=number,
            messages=tuple(message for message, _ in messages),
            places=tuple(place for _, place in messages),
            tools=tools,
            tools_recorded=bool(tools),
            format=trace.format,
            agent_version=meta.cli_version,
            model=window.model,
            date=day_of(meta.timestamp),
            status=status,
            flaws=_flaws(messages, status) if number + 1 == len(shown) else (),
            uncounted=dict(+uncounted),
            metadata=trace.metadata,
        )


def _tools(window: Window) -> tuple[dict[str, Any], ...]:
    """What the window declares; of one name, the last."""
    offered = [spec for _, item in window.items if isinstance(item, Tools) for spec in tool_specs(item.tools)]
    return tuple({spec["function"]["name"]: spec for spec in offered}.values())


def _folded(window: Window) -> Placed:
    """One assistant message a response."""
    messages: Placed = []
    response: list[tuple[Place, Item]] = []
    for place, item in window.items:
        if item is not None and sampled(item):
            response.append((place, item))
            continue
        messages += _answered(response)
        response = []
        if isinstance(item, Telling):
            messages.append((told(item, place), place))
    return messages + _answered(response)


def _answered(response: list[tuple[Place, Item]]) -> Placed:
    """The response's message, unless nothing in it can be read: an encrypted thought that led to no word."""
    message = answer(item for _, item in response)
    return [(message, response[0][0])] if message.content or message.reasoning or message.tool_calls else []


def _with_aborted(messages: Placed) -> Placed:
    """Calls that nobody answered get what Codex sends for them, if the conversation went on."""
    answered = {message.tool_call_id for message, _ in messages}
    last = max((at for at, (message, _) in enumerate(messages) if message.role != "tool"), default=0)
    whole: Placed = []
    for at, (message, place) in enumerate(messages):
        missing = [call.id for call in message.tool_calls if call.id not in answered and at < last]
        whole += [(message, place), *((Message("tool", "aborted", tool_call_id=call), place) for call in missing)]
    return whole


def _flaws(messages: Placed, status: Status) -> tuple[Flaw, ...]:
    """The last answer, where the token limit cut it off: Codex keeps it like any other."""
    answers = [index for index, (message, _) in enumerate(messages) if message.role == "assistant"]
    return (Flaw(answers[-1], CUT),) if status == "length" else ()


def _with_base(messages: Placed, meta: Meta, place: Place) -> Placed:
    """The base prompt comes first, unless the history holds it."""
    base = meta.base_instructions.text if meta.base_instructions else ""
    held = any(message.role == "system" and text(message.content) == base for message, _ in messages)
    return messages if held or not base else [(Message("system", base), place), *messages]
