"""Items of the Responses API, as Codex records them, and what they are in a chat.

A custom tool takes raw text, a chat's tool takes JSON: calls are wrapped as `{"input": "..."}`, and so it is declared.
A tool in a namespace is called `namespace__name`; `functions` is where Codex puts its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

import msgspec

from pipeline.converting.lines import decode, unknown
from pipeline.records import Place
from renderers.messages import Content, Message, Part, Role, ToolCall, tojson

PARTS = {"input_text": "text", "output_text": "text", "input_image": "image_url", "input_audio": "input_audio"}
ROLES: Mapping[str, Role] = {"developer": "system", "system": "system", "user": "user", "assistant": "assistant"}
QUIET = frozenset({"ghost_snapshot", "web_search_call", "configuration_update", "compaction_trigger"})
"""Items that no message can hold: hosted calls, whose results are not recorded, and settings. Counted, not told."""


class Typed(msgspec.Struct, frozen=True):
    type: str


class Piece(Typed, frozen=True):
    """A piece of content."""

    text: str = ""


class Said(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    role: str
    content: list[Piece]


class Thought(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning"):
    summary: list[Piece] = []
    content: list[Piece] | None = None
    """The raw thought, where the provider shows it. `encrypted_content` is nobody's to read."""


class FunctionCall(msgspec.Struct, frozen=True, tag_field="type", tag="function_call"):
    name: str
    arguments: str
    call_id: str
    namespace: str | None = None


class CustomCall(msgspec.Struct, frozen=True, tag_field="type", tag="custom_tool_call"):
    name: str
    input: str
    call_id: str
    namespace: str | None = None


class FunctionResult(msgspec.Struct, frozen=True, tag_field="type", tag="function_call_output"):
    call_id: str
    output: str | list[Piece]


class CustomResult(msgspec.Struct, frozen=True, tag_field="type", tag="custom_tool_call_output"):
    call_id: str
    output: str | list[Piece]


class Tools(msgspec.Struct, frozen=True, tag_field="type", tag="additional_tools"):
    tools: list[dict[str, Any]]


Telling = Said | FunctionResult | CustomResult
"""What the model is told, or said earlier."""
Item = Said | Thought | FunctionCall | CustomCall | FunctionResult | CustomResult | Tools
TOLD = frozenset(item.__struct_config__.tag for item in get_args(Item))


def read_item(payload: msgspec.Raw, place: Place) -> Item | str:
    """The item, or the type of a quiet one. Raises TraceError for one that the model saw and that we cannot tell."""
    kind = decode(payload, Typed, place).type
    if kind in QUIET:
        return kind
    if kind not in TOLD:
        raise unknown(f"{kind!r} item", place)
    item: Item = decode(payload, Item, place)
    if isinstance(item, Said) and item.role not in ROLES:
        raise unknown(f"message of role {item.role!r}", place)
    return item


def sampled(item: Item) -> bool:
    """Written by the model."""
    return isinstance(item, Thought | FunctionCall | CustomCall) or (
        isinstance(item, Said) and ROLES[item.role] == "assistant"
    )


def told(item: Telling, place: Place) -> Message:
    if isinstance(item, Said):
        return Message(ROLES[item.role], _content(item.content, place))
    content = item.output if isinstance(item.output, str) else _content(item.output, place)
    return Message("tool", content, tool_call_id=item.call_id)


def answer(items: Iterable[Item]) -> Message:
    """Everything of one response as one assistant message; several texts in it are paragraphs."""
    items = tuple(items)
    said = [piece.text for item in items if isinstance(item, Said) for piece in item.content]
    thought = [piece.text for item in items if isinstance(item, Thought) for piece in item.content or item.summary]
    calls = tuple(_call(item) for item in items if isinstance(item, FunctionCall | CustomCall))
    return Message("assistant", "\n\n".join(said), reasoning="\n\n".join(thought) or None, tool_calls=calls)


def tool_specs(tools: Iterable[Mapping[str, Any]], namespace: str | None = None) -> Iterator[dict[str, Any]]:
    """OpenAI-style specs. Hosted tools have none: the provider runs them."""
    for tool in tools:
        name = _full_name(namespace, str(tool.get("name")))
        if tool.get("type") == "namespace":
            yield from tool_specs(tool.get("tools") or (), tool.get("name"))
        elif tool.get("type") == "function":
            spec = {key: tool[key] for key in ("description", "parameters") if key in tool}
            yield {"type": "function", "function": {"name": name, **spec}}
        elif tool.get("type") == "custom":
            yield {"type": "function", "function": {"name": name, **_wrapped(tool)}}


def _content(pieces: list[Piece], place: Place) -> Content:
    """One text as it is, several pieces as parts. A picture is a placeholder: its bytes stay in the trace."""
    for piece in pieces:
        if piece.type not in PARTS:
            raise unknown(f"{piece.type!r} piece of content", place)
    if len(pieces) == 1 and PARTS[pieces[0].type] == "text":
        return pieces[0].text
    return tuple(Part(PARTS[piece.type], piece.text) for piece in pieces) or ""


def _call(item: FunctionCall | CustomCall) -> ToolCall:
    arguments = item.arguments if isinstance(item, FunctionCall) else tojson({"input": item.input})
    return ToolCall(_full_name(item.namespace, item.name), arguments, item.call_id)


def _full_name(namespace: str | None, name: str) -> str:
    return name if namespace in (None, "", "functions") else f"{namespace}__{name}"


def _wrapped(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A custom tool's description, and parameters that take its text; the grammar, if it has one, describes it."""
    grammar = (tool.get("format") or {}).get("definition")
    text = {"type": "string", **({"description": grammar} if grammar else {})}
    parameters = {"type": "object", "properties": {"input": text}, "required": ["input"], "additionalProperties": False}
    return {"description": tool.get("description", ""), "parameters": parameters}
