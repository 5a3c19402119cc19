"""Messages as the OpenAI-style dicts of the Hugging Face ecosystem, read and written.

`reasoning_content`, `tool_calls[].function.{name, arguments}`, and what others call the same.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast, get_args

import msgspec

from renderers.errors import TemplateError
from renderers.messages import MEDIA, Content, Message, Part, Role, ToolCall, tojson

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
"""Where reasoning is found in the wild, by preference."""
WEIGHT_FIELDS = ("weight", "train", "trainable", "loss", "loss_mask")
"""What others call whether a message is learned, or how much."""

REASONING, WEIGHTS = frozenset(REASONING_FIELDS), frozenset(WEIGHT_FIELDS)
NO_JSON = (TypeError, ValueError, RecursionError)
"""What spelling an object raises that is no JSON, or holds itself, or is too deep."""
TAKEN = f"""a message has a role ({", ".join(get_args(Role))}), content, reasoning_content, tool_call_id, name, \
a weight, and tool_calls, each a function with name and arguments"""


def from_hub(messages: Iterable[Message | Mapping[str, Any]]) -> tuple[Message, ...]:
    """OpenAI-style dicts as messages; messages stay as they are. Raises TemplateError as `message_of` does."""
    told = tuple(messages)
    if all(isinstance(one, Message) for one in told):
        return cast(tuple[Message, ...], told)
    try:
        return of_hub(msgspec.convert(told, list[HubMessage]))
    except (msgspec.ValidationError, *NO_JSON):  # some must be looked into
        return tuple([message_of(index, raw) for index, raw in enumerate(told)])


def message_of(index: int, raw: Message | Mapping[str, Any]) -> Message:
    """A dict as a message. Raises TemplateError naming the message and the field that does not fit."""
    if isinstance(raw, Message):
        return raw
    if not isinstance(raw, Mapping):
        raise TemplateError(f"message {index} is {type(raw).__name__} {str(raw)[:40]!r}, and no mapping: {TAKEN}")
    try:
        return msgspec.convert(_hub_fields(raw), Message)
    except (msgspec.ValidationError, *NO_JSON) as error:
        cure = f"; {TAKEN}" * ("`" in str(error))  # msgspec's own words name a field and no cure
        raise TemplateError(f"message {index}: {error}{cure}") from error


class HubFunction(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    name: str
    arguments: Any


class HubCall(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    function: HubFunction
    id: str | None = None
    type: Any = None
    index: Any = None


class HubMessage(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A message as most are: with no other fields, and its content a text."""

    role: Role
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[HubCall, ...] | None = None
    tool_call_id: str | None = None
    name: str | None = None


def of_hub(read: Iterable[HubMessage]) -> tuple[Message, ...]:
    """What is read of such messages."""
    told = []
    for one in read:
        calls: tuple[ToolCall, ...] = ()
        if one.tool_calls:
            calls = tuple([ToolCall(c.function.name, _spelled(c.function.arguments), c.id) for c in one.tool_calls])
        told.append(Message(one.role, one.content or "", one.reasoning_content, calls, one.tool_call_id, one.name))
    return tuple(told)


def _spelled(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else tojson(arguments)


def _hub_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    fields = {key: raw[key] for key in ("role", "tool_call_id", "name") if raw.get(key) is not None}
    content = raw.get("content")
    if isinstance(content, (list, tuple)):
        content = [_hub_part(part) for part in content]
    if content is not None:
        fields["content"] = tojson(content) if isinstance(content, dict) else content
    if not REASONING.isdisjoint(raw):
        fields["reasoning"] = next((raw[name] for name in REASONING_FIELDS if raw.get(name) is not None), None)
    if raw.get("refusal"):
        raise msgspec.ValidationError("a refusal has no words of its own in any template: write it as content")
    if (calls := raw.get("tool_calls")) is not None and len(calls):
        fields["tool_calls"] = [_hub_call(place, call) for place, call in enumerate(calls)]
    elif call := raw.get("function_call"):  # before there were tools
        fields["tool_calls"] = [_hub_call(0, call)]
    if not WEIGHTS.isdisjoint(raw):
        fields["weight"] = _hub_weight(raw)
    return fields


def _hub_weight(raw: Mapping[str, Any]) -> float | None:
    """What a message weighs, under whatever name; None where it does not say."""
    given = {name: raw[name] for name in WEIGHT_FIELDS if raw.get(name) is not None}
    if not given:
        return None
    told = ", ".join(f"{name}={value!r}" for name, value in given.items())
    if not all(isinstance(value, int | float) and 0 <= value < math.inf for value in given.values()):
        raise msgspec.ValidationError(f"a message with {told}: it takes true, false, or a number from 0")
    weight, *others = set(given.values())
    if others:
        raise msgspec.ValidationError(f"a message with {told}: which of them is meant?")
    return float(weight)


def _hub_part(raw: Any) -> Any:
    """A medium is its URL, or a mapping that holds it; one that is an object has no source."""
    if not isinstance(raw, Mapping) or raw.get("type") not in MEDIA:
        return raw
    held = raw.get(raw["type"], raw.get(MEDIA[raw["type"]], raw.get("url")))
    source = held.get("url", held.get("data")) if isinstance(held, Mapping) else held
    return {"type": raw["type"], "source": source if isinstance(source, str) else ""}


def _hub_call(place: int, raw: Any) -> dict[str, Any]:
    function = raw.get("function", raw) if isinstance(raw, Mapping) else raw
    if not isinstance(function, Mapping) or not {"name", "arguments"} <= function.keys():
        raise msgspec.ValidationError(f"tool_calls[{place}] has no name and arguments: {str(raw)[:60]}")
    return {"name": function["name"], "arguments": _spelled(function["arguments"]), "id": raw.get("id")}


def to_hub(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as OpenAI-style dicts; absent fields are absent, arguments stay the raw JSON text."""
    return [_hub_message(message) for message in messages]


def _hub_content(content: Content) -> str | list[dict[str, Any]]:
    """A text part has a text, be it empty; a medium what it is known by, if anything."""
    if isinstance(content, str):
        return content
    return [{"type": p.type, **({"text": p.text} if p.type == "text" else _hub_source(p))} for p in content]


def _hub_source(part: Part) -> dict[str, Any]:
    if not part.source:
        return {}
    return {part.type: {"url": part.source} if part.type.endswith("_url") else part.source}


def _hub_message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": _hub_content(message.content)}
    if message.reasoning is not None:
        told["reasoning_content"] = message.reasoning
    if message.tool_calls:
        told["tool_calls"] = [
            {
                "type": "function",
                **({"id": c.id} if c.id else {}),
                "function": {"name": c.name, "arguments": c.arguments},
            }
            for c in message.tool_calls
        ]
    for key in ("tool_call_id", "name", "weight"):
        if getattr(message, key) is not None:
            told[key] = getattr(message, key)
    return told
