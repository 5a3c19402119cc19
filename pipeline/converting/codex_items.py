"""Items of the Responses API, as Codex records them and as servers are sent them, and what they are in a chat.

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
QUIET = frozenset({"ghost_snapshot", "configuration_update", "compaction_trigger", "other"})
"""Items that are settings and marks. Counted, not told."""
HOSTED = frozenset({"web_search_call", "image_generation_call"})
"""Tools that the provider runs: what they found is in no trace."""


class Typed(msgspec.Struct, frozen=True):
    type: str


class Piece(Typed, frozen=True):
    """A piece of content."""

    text: str = ""
    image_url: str | None = None
    file_id: str | None = None


class Kinds(msgspec.Struct, frozen=True):
    content_item_kinds: list[msgspec.Raw] = []
    """What each piece of content is, and whether the user or Codex wrote it."""


class Said(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    role: str
    content: str | list[Piece]
    internal_chat_message_metadata_passthrough: Kinds | None = None


class AgentMessage(msgspec.Struct, frozen=True, tag_field="type", tag="agent_message"):
    """What another agent says to this one."""

    author: str
    content: list[Piece]


class Thought(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning"):
    summary: list[Piece] = []
    content: list[Piece] | None = None
    """The raw thought, where the provider shows it."""
    encrypted_content: str | None = None
    """Nobody's to read but the provider's."""


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


class ShellCall(msgspec.Struct, frozen=True, tag_field="type", tag="local_shell_call"):
    action: msgspec.Raw
    call_id: str | None = None
    id: str | None = None


class SearchCall(msgspec.Struct, frozen=True, tag_field="type", tag="tool_search_call"):
    arguments: msgspec.Raw
    call_id: str | None = None


class HostedCall(msgspec.Struct, frozen=True):
    kind: str


class FunctionResult(msgspec.Struct, frozen=True, tag_field="type", tag="function_call_output"):
    call_id: str | None
    output: str | list[Piece]


class CustomResult(msgspec.Struct, frozen=True, tag_field="type", tag="custom_tool_call_output"):
    call_id: str | None
    output: str | list[Piece]


class SearchResult(msgspec.Struct, frozen=True, tag_field="type", tag="tool_search_output"):
    """Tools that a search found: from here on they can be called."""

    tools: list[dict[str, Any]]
    call_id: str | None = None


class Tools(msgspec.Struct, frozen=True, tag_field="type", tag="additional_tools"):
    tools: list[dict[str, Any]]


Telling = Said | AgentMessage | FunctionResult | CustomResult | SearchResult
"""What the model is told, or said earlier."""
Called = FunctionCall | CustomCall | ShellCall | SearchCall
Decoded = Said | AgentMessage | Thought | Called | FunctionResult | CustomResult | SearchResult | Tools
Item = Decoded | HostedCall
TOLD = frozenset(item.__struct_config__.tag for item in get_args(Decoded))


def read_item(payload: msgspec.Raw, place: Place) -> Item | str:
    """The item, or the type of a quiet one. Raises TraceError for one that the model saw and that we cannot tell."""
    kind = decode(payload, Typed, place).type
    if kind in QUIET:
        return kind
    if kind in HOSTED:
        return HostedCall(kind)
    if kind not in TOLD:
        raise unknown(f"{kind!r} item", place)
    item: Item = decode(payload, Decoded, place)
    if isinstance(item, Said) and item.role not in ROLES:
        raise unknown(f"message of role {item.role!r}", place)
    return item


def sampled(item: Item) -> bool:
    """Written by the model."""
    return isinstance(item, Thought | Called | HostedCall) or (
        isinstance(item, Said) and ROLES[item.role] == "assistant"
    )


def told(item: Telling, place: Place) -> Message:
    if isinstance(item, Said):
        return Message(ROLES[item.role], content_of(item.content, place))
    if isinstance(item, AgentMessage):
        return Message("user", content_of(item.content, place), name=item.author)
    if isinstance(item, SearchResult):
        return Message("tool", tojson(item.tools), tool_call_id=item.call_id)
    return Message("tool", content_of(item.output, place), tool_call_id=item.call_id)


def answer(items: Iterable[Item]) -> Message:
    """Everything of one response as one assistant message; several texts in it are paragraphs."""
    items = tuple(items)
    said = [piece.text for item in items if isinstance(item, Said) for piece in _pieces(item.content)]
    thought = [piece.text for item in items if isinstance(item, Thought) for piece in item.content or item.summary]
    calls = tuple(_call(item) for item in items if isinstance(item, Called))
    return Message("assistant", "\n\n".join(said), reasoning="\n\n".join(thought) or None, tool_calls=calls)


def unreadable(items: Iterable[Item]) -> bool:
    """Whether there was a thought in the response that nobody can read."""
    return any(isinstance(item, Thought) and item.encrypted_content and not item.content for item in items)


def tool_specs(tools: Iterable[Mapping[str, Any]], namespace: str | None = None) -> Iterator[dict[str, Any]]:
    """OpenAI-style specs. Hosted tools have none: the provider runs them."""
    for tool in tools:
        name = _full_name(namespace, str(tool.get("name")))
        if tool.get("type") == "namespace":
            held = tool.get("tools")
            yield from tool_specs(
                (one for one in held if isinstance(one, Mapping)) if isinstance(held, list) else (), tool.get("name")
            )
        elif tool.get("type") == "function":
            spec = {key: tool[key] for key in ("description", "parameters") if key in tool}
            yield {"type": "function", "function": {"name": name, **spec}}
        elif tool.get("type") == "custom":
            yield {"type": "function", "function": {"name": name, **_wrapped(tool)}}


def content_of(content: str | list[Piece], place: Place) -> Content:
    """One text as it is, several pieces as parts; a picture is its URL, which may hold its bytes."""
    pieces = _pieces(content)
    for piece in pieces:
        if piece.type not in PARTS:
            raise unknown(f"{piece.type!r} piece of content", place)
    if len(pieces) == 1 and PARTS[pieces[0].type] == "text":
        return pieces[0].text
    return tuple(Part(PARTS[piece.type], piece.text, piece.image_url or piece.file_id or "") for piece in pieces) or ""


def _pieces(content: str | list[Piece]) -> list[Piece]:
    return [Piece("input_text", content)] if isinstance(content, str) else content


def _call(item: Called) -> ToolCall:
    if isinstance(item, ShellCall):
        return ToolCall("local_shell", bytes(item.action).decode(), item.call_id or item.id)
    if isinstance(item, SearchCall):
        return ToolCall("tool_search", bytes(item.arguments).decode(), item.call_id)
    arguments = item.arguments if isinstance(item, FunctionCall) else tojson({"input": item.input})
    return ToolCall(_full_name(item.namespace, item.name), arguments, item.call_id)


def _full_name(namespace: str | None, name: str) -> str:
    return name if namespace in (None, "", "functions") else f"{namespace}__{name}"


def _wrapped(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A custom tool's description, and parameters that take its text; the grammar, if it has one, describes it."""
    form = tool.get("format")
    grammar = form.get("definition") if isinstance(form, Mapping) else None
    text = {"type": "string", **({"description": grammar} if grammar else {})}
    parameters = {"type": "object", "properties": {"input": text}, "required": ["input"], "additionalProperties": False}
    return {"description": tool.get("description", ""), "parameters": parameters}
