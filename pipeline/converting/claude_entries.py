"""Lines of a Claude Code session file, and what their contents are in a chat."""

from collections.abc import Iterator
from typing import Any

import msgspec

from pipeline.converting.lines import at, unknown
from pipeline.records import Place, Usage
from renderers.messages import Content, Message, Part, ToolCall

TREE = frozenset({"user", "assistant", "system", "attachment", "progress"})
"""Lines that are linked by `parentUuid`."""
BESIDE = frozenset(
    (
        *("summary", "queue-operation", "file-history-snapshot", "permission-mode", "mode", "last-prompt", "ai-title"),
        *("custom-title", "agent-name", "agent-color", "agent-setting", "pr-link", "worktree-state", "started"),
        *("result", "tag", "saved_hook_context", "attribution-snapshot", "content-replacement", "speculation-accept"),
    )
)
"""Lines that say nothing to the model."""
HOSTED = frozenset({"server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "mcp_tool_use"})
"""What the provider ran."""
COMMANDS = ("<command-", "<local-command-")
"""How texts begin that tell of the user's own commands."""
INTERRUPTED = "[Request interrupted by user"


class Source(msgspec.Struct, frozen=True):
    data: str = ""
    media_type: str = ""
    url: str = ""


class Block(msgspec.Struct, frozen=True):
    """Text, a thought, a tool's call or result, a picture."""

    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")
    """As Claude Code spelled it again; the model's own spelling is lost."""
    tool_use_id: str = ""
    content: "str | list[Block] | None" = None
    source: Source = Source()


class Tokens(msgspec.Struct, frozen=True):
    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0

    @property
    def usage(self) -> Usage:
        """Anthropic's `input_tokens` leave out what came from the cache."""
        read = self.input_tokens + self.cache_creation_input_tokens + self.cache_read_input_tokens
        return Usage(
            input=read,
            cached=self.cache_read_input_tokens,
            cache_written=self.cache_creation_input_tokens,
            output=self.output_tokens,
        )


class Said(msgspec.Struct, frozen=True):
    """A message of Anthropic's API; an answer is told in several lines, a block each, under one id."""

    role: str
    content: str | list[Block] = ""
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: Tokens | None = None


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """A line of the file."""

    type: str
    uuid: str | None = None
    parent_uuid: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    version: str | None = None
    git_branch: str | None = None
    timestamp: str = ""
    is_sidechain: bool = False
    is_api_error_message: bool = False
    is_visible_in_transcript_only: bool = False
    subtype: str | None = None
    message: Said | None = None
    attachment: dict[str, Any] | None = None


def blocks_of(content: str | list[Block] | None) -> list[Block]:
    return [Block("text", text=content)] if isinstance(content, str) else content or []


def results(said: Said) -> list[Block]:
    return [block for block in blocks_of(said.content) if block.type == "tool_result"]


def content_of(blocks: list[Block], place: Place) -> Content:
    """One text as it is, several blocks as parts; a picture holds its bytes."""
    for block in blocks:
        if block.type not in ("text", "image", "tool_reference"):
            raise unknown(f"{block.type!r} block", place)
    if len(blocks) == 1 and blocks[0].type == "text":
        return blocks[0].text
    return tuple(_part(block) for block in blocks) or ""


def _part(block: Block) -> Part:
    if block.type != "image":
        return Part("text", block.text)
    source = block.source
    return Part("image_url", source=source.url or (f"data:{source.media_type};base64,{source.data}"))


def heard(said: Said, place: Place) -> Iterator[tuple[Message, Place]]:
    """What the model is told by a message: results of its calls, then what the user says."""
    blocks = blocks_of(said.content)
    for number, block in enumerate(blocks):
        if block.type == "tool_result":
            where = at(place, f"{place.pointer}/content/{number}")
            yield Message("tool", content_of(blocks_of(block.content), where), tool_call_id=block.tool_use_id), where
    if rest := [block for block in blocks if block.type != "tool_result"]:
        yield Message("system" if said.role == "system" else "user", content_of(rest, place)), place


def answer(blocks: list[Block], place: Place) -> Message:
    """Every block of one answer as one message."""
    for block in blocks:
        if block.type not in HOSTED | {"text", "thinking", "redacted_thinking", "tool_use"}:
            raise unknown(f"{block.type!r} block", place)
    thoughts = [block.thinking for block in blocks if block.type == "thinking" and block.thinking]
    return Message(
        "assistant",
        "".join(block.text for block in blocks if block.type == "text"),
        reasoning="\n\n".join(thoughts) or None,
        tool_calls=tuple(ToolCall(b.name, bytes(b.input).decode(), b.id) for b in blocks if b.type == "tool_use"),
    )


def unreadable(blocks: list[Block]) -> bool:
    """Whether there was a thought of which nothing can be read."""
    return any(b.type == "redacted_thinking" or (b.type == "thinking" and not b.thinking) for b in blocks)
