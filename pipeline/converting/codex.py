"""Codex rollouts: `rollout-<time>-<thread>.jsonl`, one file a thread, from 2025's bare items to the files of 0.169.

Compaction replaces the history, so every context window is a conversation of its own; so is what a rollback took back.
A fork holds its own part only, and points into its parent's file. Tools on offer are recorded in code mode alone. The
base prompt is recorded as it was before Codex edited it for the request (in code mode: as it was sent).
Source of the format: `codex app-server generate-internal-json-schema`, and recorded sessions with their requests.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from pipeline.converting.codex_items import (
    HostedCall,
    Item,
    SearchResult,
    Telling,
    Tools,
    answer,
    sampled,
    told,
    tool_specs,
    unreadable,
)
from pipeline.converting.codex_lines import lineage, survey
from pipeline.converting.codex_shapes import Meta
from pipeline.converting.codex_windows import REPLACED, Mark, Window, windows
from pipeline.converting.lines import day_of
from pipeline.records import CUT, REPEATED, Conversation, Flaw, Place, Trace
from renderers.messages import Message, text

HOSTED = "rests on what a hosted tool found, which the trace does not hold"


class Told(NamedTuple):
    """A message, where it stands, and what is the matter with it."""

    message: Message
    place: Place
    flaw: str = ""
    unreadable: bool = False


def convert(trace: Trace) -> Iterator[Conversation]:
    """A conversation for each context window in which this thread, not only its parent, said something."""
    session, others = trace.files[0], trace.files[1:]
    found = survey(session, others)
    first = Place(session.name, 1, "/payload/base_instructions", found.meta.timestamp)
    tools: tuple[dict[str, Any], ...] = ()
    for number, window in enumerate(windows(lineage(session, others, Counter()), found)):
        tools = _tools(window) or tools
        messages = _with_base(_with_aborted(_folded(window)), found.meta, first)
        if not any(one.message.role == "assistant" and one.place.file == session.name for one in messages):
            continue
        yield Conversation(
            id=f"{trace.id}-{number}",
            trace_id=trace.id,
            prompt_id=trace.prompt_id,
            window=number,
            messages=tuple(one.message for one in messages),
            places=tuple(one.place for one in messages),
            tools=tools,
            tools_recorded=bool(tools),
            format=trace.format,
            agent_version=found.meta.cli_version,
            model=window.model,
            date=day_of(found.meta.timestamp),
            status=found.status,
            flaws=tuple(Flaw(index, one.flaw) for index, one in enumerate(messages) if one.flaw),
            unreadable=tuple(index for index, one in enumerate(messages) if one.unreadable),
            origin=found.origin,
            uncounted=dict(+found.uncounted),
            metadata=trace.metadata,
        )


def _tools(window: Window) -> tuple[dict[str, Any], ...]:
    """What the window declares; of one name, the last."""
    declared = [item for _, item in window.items if isinstance(item, Tools | SearchResult)]
    if not any(isinstance(item, Tools) for item in declared):
        return ()  # what a search added, to tools that nobody declared
    offered = [spec for item in declared for spec in tool_specs(item.tools)]
    return tuple({spec["function"]["name"]: spec for spec in offered}.values())


def _folded(window: Window) -> list[Told]:
    """One assistant message a response. The token limit cuts off the last; a hosted tool's finding is in the next."""
    messages: list[Told] = []
    response: list[tuple[Place, Item]] = []
    for place, item in window.items:
        if not isinstance(item, Mark) and sampled(item):
            response.append((place, item))
            continue
        messages += _answered(response)
        response = [one for one in response if isinstance(one[1], HostedCall)] if not _spoke(response) else []
        if item is Mark.CUT:
            _cut(messages)
        elif isinstance(item, Telling):
            messages.append(Told(told(item, place), place))
    return messages + _answered(response)


def _spoke(response: list[tuple[Place, Item]]) -> bool:
    """Whether something in it can be read: an encrypted thought that led to no word cannot."""
    message = answer(item for _, item in response)
    return bool(message.content or message.reasoning or message.tool_calls)


def _answered(response: list[tuple[Place, Item]]) -> list[Told]:
    if not _spoke(response):
        return []
    items = [item for _, item in response]
    place = next(place for place, item in response if not isinstance(item, HostedCall))
    flaw = HOSTED if any(isinstance(item, HostedCall) for item in items) else ""
    flaw = REPEATED if place.pointer.startswith(REPLACED) else flaw
    return [Told(answer(items), place, flaw, unreadable(items))]


def _cut(messages: list[Told]) -> None:
    last = max((index for index, one in enumerate(messages) if one.message.role == "assistant"), default=None)
    if last is not None:
        messages[last] = messages[last]._replace(flaw=CUT)


def _with_aborted(messages: list[Told]) -> list[Told]:
    """Calls that nobody answered get what Codex sends for them, if the conversation went on."""
    answered = {one.message.tool_call_id for one in messages}
    last = max((index for index, one in enumerate(messages) if one.message.role != "tool"), default=0)
    whole: list[Told] = []
    for index, one in enumerate(messages):
        missing = [call.id for call in one.message.tool_calls if call.id not in answered and index < last]
        whole += [one, *(Told(Message("tool", "aborted", tool_call_id=call), one.place) for call in missing)]
    return whole


def _with_base(messages: list[Told], meta: Meta, place: Place) -> list[Told]:
    """The base prompt comes first, unless the history holds it."""
    base = meta.base_instructions.text if meta.base_instructions else ""
    held = any(one.message.role == "system" and text(one.message.content) == base for one in messages)
    return messages if held or not base else [Told(Message("system", base), place), *messages]
