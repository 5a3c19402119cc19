"""ShareGPT rows: `conversations` of `from` and `value`, with what LLaMA-Factory and others add.

`function_call` is the model's, `observation` a tool's; `system` and `tools` are columns. A thought is what stands
between `<think>` and `</think>` at the start of an answer.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.converting.rows import Fields, Told, listed, named, specs, spelled
from pipeline.errors import TraceError
from renderers.hub import WEIGHT_FIELDS, from_hub

ROLES = {
    "system": "system",
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "model", "chatgpt", "bing", "bard"), "assistant"),
    **dict.fromkeys(("tool", "observation", "function", "function_response", "ipython"), "tool"),
}
CALLS = ("function_call", "tool_call")
THOUGHT = re.compile(r"<think>\n?(.*?)\n?</think>\n{0,2}", re.DOTALL)


def recognises(row: Fields) -> bool:
    turns = row.get("conversations") or row.get("conversation")
    first = turns[0] if isinstance(turns, list) and turns else None
    return isinstance(first, Mapping) and "from" in first and "value" in first


def tell(row: Fields) -> Iterator[Told]:
    """The row as one conversation."""
    turns = turns_of(row)
    messages = [message_of(turn) for _, turn in turns]
    pointers = [pointer for pointer, _ in turns]
    if isinstance(row.get("system"), str) and row["system"] and messages[0]["role"] != "system":
        messages, pointers = [{"role": "system", "content": row["system"]}, *messages], ["/system", *pointers]
    yield Told(
        messages=from_hub(messages),
        pointers=tuple(pointers),
        tools=specs(row.get("tools")),
        tools_recorded=row.get("tools") is not None,
        model=row["model"] if isinstance(row.get("model"), str) else None,
        metadata=named(row),
    )


def turns_of(row: Fields) -> list[tuple[str, Mapping[str, Any]]]:
    """Every turn, after its pointer."""
    name = "conversations" if row.get("conversations") else "conversation"
    turns = listed(row.get(name), name)
    if not turns or not all(isinstance(turn, Mapping) for turn in turns):
        raise TraceError("no_messages", f"`{name}` holds no turns")
    return [(f"/{name}/{number}", turn) for number, turn in enumerate(turns)]


def role_of(turn: Mapping[str, Any]) -> str:
    """A role of ours. Raises TraceError."""
    said = str(turn.get("from", turn.get("role")))
    if said in CALLS:
        return "assistant"
    if said not in ROLES:
        raise TraceError("unknown_item", f"a turn from {said!r}, which is none of {', '.join((*ROLES, *CALLS))}")
    return ROLES[said]


def message_of(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn as a message of the Hub's."""
    role, value = role_of(turn), turn.get("value", turn.get("content"))
    weights = {name: turn[name] for name in WEIGHT_FIELDS if name in turn}
    if turn.get("from") in CALLS:
        return {"role": role, "tool_calls": [_call(one) for one in _calls(value)], **weights}
    if role != "assistant" or not isinstance(value, str):
        return {"role": role, "content": value, **weights}
    thought, answer = split_thought(value)
    return {"role": role, "content": answer, "reasoning_content": thought, **weights}


def split_thought(value: str) -> tuple[str | None, str]:
    """The thought that an answer begins with, and the rest."""
    found = THOUGHT.match(value)
    return (found[1] or None, value[found.end() :]) if found else (None, value)


def _calls(value: Any) -> list[Any]:
    told = json.loads(value) if isinstance(value, str) else value
    return told if isinstance(told, list) else [told]


def _call(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"function": {"name": told["name"], "arguments": spelled(told.get("arguments", told.get("parameters", {})))}}
