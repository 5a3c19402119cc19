"""ATIF, Harbor's Agent Trajectory Interchange Format, 1.0 to 1.7: a JSON object a trajectory.

A step is what the system, the user or the agent says; what an agent's calls brought is in the same step. Steps that
were copied from an earlier trajectory, and those that no model wrote, are told but not learned. Trajectories of
sub-agents that lie in it are conversations of their own. Source of the format: Harbor's RFC 0001.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.converting.lines import day_of
from pipeline.converting.messages import usage
from pipeline.converting.rows import Fields, Told, listed, plain, specs, spelled
from pipeline.errors import TraceError
from pipeline.records import REPEATED, Flaw, Origin, Usage
from renderers.messages import Message, Part, Role, ToolCall

SCHEMA = "ATIF-v1."
SOURCES: Mapping[str, Role] = {"system": "system", "user": "user", "agent": "assistant"}
Placed = list[tuple[Message, str, str]]
"""Messages, their pointers, and what is the matter with them."""


def recognises(row: Fields) -> bool:
    return str(row.get("schema_version", "")).startswith("ATIF")


def tell(row: Fields) -> Iterator[Told]:
    """The trajectory, then those of its sub-agents."""
    if not str(row.get("schema_version")).startswith(SCHEMA):
        raise TraceError("wrong_format", f"schema_version {row.get('schema_version')!r} is no {SCHEMA}x")
    yield _told(row, "", plain(row.get("agent")), None)
    yield from _inner(row, "", plain(row.get("agent")))


def _inner(row: Fields, base: str, agent: Fields) -> Iterator[Told]:
    session = row.get("session_id") or row.get("trajectory_id")
    for number, inner in enumerate(listed(row.get("subagent_trajectories") or [], "subagent_trajectories")):
        pointer = f"{base}/subagent_trajectories/{number}"
        own = {**agent, **plain(inner.get("agent"))}
        yield _told(inner, pointer, own, str(session) if session else None)
        yield from _inner(inner, pointer, own)


def _told(row: Fields, base: str, agent: Fields, parent: str | None) -> Told:
    steps = listed(row.get("steps"), "steps")
    placed = [one for number, step in enumerate(steps) for one in _step(step, f"{base}/steps/{number}")]
    tools = agent.get("tool_definitions")
    session = row.get("session_id") or row.get("trajectory_id")
    times = [str(step["timestamp"]) for step in steps if step.get("timestamp")]
    models = [step["model_name"] for step in steps if step.get("model_name")] or [agent.get("model_name")]
    return Told(
        messages=tuple(message for message, _, _ in placed),
        pointers=tuple(pointer for _, pointer, _ in placed),
        tools=specs(tools),
        tools_recorded=tools is not None,
        model=str(models[-1]) if models[-1] else None,
        agent_version=str(agent["version"]) if agent.get("version") else None,
        date=day_of(times[0]) if times else None,
        flaws=tuple(Flaw(index, why) for index, (_, _, why) in enumerate(placed) if why),
        origin=Origin(
            session=str(session) if session else None,
            parent=parent,
            began=times[0] if times else None,
            ended=times[-1] if times else None,
            usage=sum(map(_usage, steps), Usage()),
        ),
        metadata={"agent": str(agent["name"])} if agent.get("name") else {},
    )


def _usage(step: Fields) -> Usage:
    return Usage() if step.get("is_copied_context") else usage(step.get("metrics"))


def _step(step: Fields, pointer: str) -> Placed:
    source = str(step.get("source"))
    if source not in SOURCES:
        raise TraceError("unknown_item", f"{pointer}: source {source!r} is none of {', '.join(SOURCES)}")
    calls = tuple(
        ToolCall(call["function_name"], spelled(call.get("arguments", {})), call.get("tool_call_id"))
        for call in listed(step.get("tool_calls") or [], "tool_calls")
    )
    role, thought = SOURCES[source], step.get("reasoning_content")
    said = Message(role, _content(step.get("message") or ""), reasoning=thought or None, tool_calls=calls)
    return [(said, pointer, _flaw(step) if role == "assistant" else ""), *_observed(step, calls, pointer)]


def _flaw(step: Fields) -> str:
    if step.get("is_copied_context"):
        return REPEATED
    calls = step.get("llm_call_count")
    if calls is None or calls == 1:
        return ""
    return "no model wrote it" if calls == 0 else f"{calls} answers of the model in one step"


def _observed(step: Fields, calls: tuple[ToolCall, ...], pointer: str) -> Placed:
    """What came back: to a call as its result, else as the user's next words."""
    told: Placed = []
    only = calls[0].id if len(calls) == 1 else None
    for number, result in enumerate(listed(plain(step.get("observation")).get("results") or [], "results")):
        of, where = result.get("source_call_id") or only, f"{pointer}/observation/results/{number}"
        content = _content(result.get("content") or "")
        told.append((Message("tool", content, tool_call_id=of) if of else Message("user", content), where, ""))
    return told


def _content(content: Any) -> Any:
    """Text, or parts: a picture is known by its path."""
    if isinstance(content, str):
        return content
    return tuple(
        Part("text", part["text"]) if part["type"] == "text" else Part("image", source=str(part["source"]["path"]))
        for part in listed(content, "message")
    )
