"""Entries of a Pi session file, and the texts that Pi makes of them for the model."""

from typing import Any

import msgspec

from pipeline.converting.lines import unknown
from pipeline.records import CUT, Place, Usage
from renderers.messages import Content, Message, Part, ToolCall

COMPACTED = (
    "The conversation history before this point was compacted into the following summary:\n\n<summary>\n{}\n</summary>"
)
BRANCH = "The following is a summary of a branch that this conversation came back from:\n\n<summary>\n{}</summary>"
ATTACHED = Part("text", "Attached image(s) from tool result:")
NOT_TOLD = frozenset(
    ["session", "model_change", "thinking_level_change", "context_edit", "custom", "label", "session_info", "usage"]
)
"""Entries that say nothing to the model."""
TOLD = frozenset(("message", "compaction", "branch_summary", "custom_message"))


class Block(msgspec.Struct, frozen=True, rename="camel"):
    """Text, a thought, a tool call or a picture."""

    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    data: str = ""
    mime_type: str = ""
    redacted: bool = False
    thinking_signature: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    """As Pi spelled them again; the model's own spelling is lost, and broken JSON has become `{}`."""
    arguments_error: str = ""

    @property
    def part(self) -> Part:
        """A picture holds its bytes."""
        if self.type == "text":
            return Part("text", self.text)
        return Part("image_url", source=f"data:{self.mime_type};base64,{self.data}" if self.data else "")


Blocks = str | list[Block] | None


class Tool(msgspec.Struct, frozen=True):
    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class Named(msgspec.Struct, frozen=True):
    name: str


class Spent(msgspec.Struct, frozen=True, rename="camel"):
    """Unlike elsewhere, `input` leaves out what came from the cache."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0

    @property
    def usage(self) -> Usage:
        told = self.input + self.cache_read + self.cache_write
        return Usage(told, self.cache_read, self.cache_write, self.output, self.reasoning)


class Said(msgspec.Struct, frozen=True, rename="camel"):
    """The message of a `message` entry, whatever its role."""

    role: str
    content: Blocks = None
    sections: dict[str, str | None] | None = None
    tools_added: list[Tool] | None = None
    tools_removed: list[Named] | None = None
    api: str | None = None
    provider: str | None = None
    model: str | None = None
    response_model: str | None = None
    stop_reason: str | None = None
    tool_call_id: str = ""
    command: str = ""
    output: str = ""
    exit_code: int | None = None
    cancelled: bool = False
    truncated: bool = False
    full_output_path: str | None = None
    exclude_from_context: bool = False
    summary: str = ""
    usage: Spent | None = None

    @property
    def speaker(self) -> tuple[str | None, ...]:
        """Pi sends a thought back only to the model that had it."""
        return self.provider, self.api, self.model


class Replacement(msgspec.Struct, frozen=True):
    content: Blocks = None


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """A line of the file."""

    type: str
    timestamp: str = ""
    id: str | None = None
    parent_id: str | None = None
    parent_session: str | None = None
    message: Said | None = None
    content: Blocks = None
    summary: str = ""
    first_kept_entry_id: str | None = None
    first_kept_entry_index: int | None = None
    """Before entries had ids: the line, from 0."""
    system_message: Said | None = None
    target_id: str | None = None
    replacement: Replacement | None = None


def blocks_of(content: Blocks, place: Place, *types: str) -> list[Block]:
    """Its blocks, which may be text, and of these types."""
    blocks = [Block("text", text=content)] if isinstance(content, str) else content or []
    for block in blocks:
        if block.type not in ("text", *types):
            raise unknown(f"{block.type!r} block", place)
    return blocks


def content_of(content: Blocks, place: Place) -> Content:
    """One text as it is, several blocks as parts."""
    blocks = blocks_of(content, place, "image")
    if len(blocks) == 1 and blocks[0].type == "text":
        return blocks[0].text
    return tuple(block.part for block in blocks) or ""


def answer(said: Said, place: Place, *, thinks: bool) -> Message:
    blocks = blocks_of(said.content, place, "thinking", "toolCall")
    thought = "\n".join(block.thinking for block in blocks if block.type == "thinking" and block.thinking.strip())
    calls = (block for block in blocks if block.type == "toolCall")
    return Message(
        "assistant",
        "".join(block.text for block in blocks if block.type == "text"),
        reasoning=(thought or None) if thinks else None,
        tool_calls=tuple(ToolCall(call.name, bytes(call.arguments).decode(), call_id(call.id)) for call in calls),
    )


def flaw(said: Said, place: Place) -> str:
    """Why an answer is not what the model wrote; empty if it is."""
    if said.stop_reason == "length":
        return CUT
    broken = [block.name for block in blocks_of(said.content, place, "thinking", "toolCall") if block.arguments_error]
    return f"Pi keeps {{}} for the arguments of {', '.join(broken)}, which it could not read" if broken else ""


def unreadable(said: Said) -> bool:
    """Whether it had a thought that nobody can read: kept back, or encrypted with a summary in its place."""
    blocks = said.content if isinstance(said.content, list) else []
    return any(
        block.type == "thinking" and (block.redacted or '"encrypted_content":"' in block.thinking_signature)
        for block in blocks
    )


def result(said: Said, place: Place, *, pictures: bool) -> Message:
    """A tool's texts by lines, with its pictures if there is room for them."""
    blocks = blocks_of(said.content, place, "image")
    text = "\n".join(block.text for block in blocks if block.type == "text")
    images = [block.part for block in blocks if block.type == "image"]
    if pictures and images:
        return Message(
            "tool", (Part("text", text), *images) if text else tuple(images), tool_call_id=call_id(said.tool_call_id)
        )
    shown = text if text.strip() else "(see attached image)" if images else "(no tool output)"
    return Message("tool", shown, tool_call_id=call_id(said.tool_call_id))


def call_id(spelled: str) -> str:
    """With the Responses API an id is `call|item`."""
    return spelled.partition("|")[0]


def shell(said: Said) -> str:
    """A command that the user ran, as Pi tells the model of it."""
    told = f"Ran `{said.command}`\n" + (f"```\n{said.output}\n```" if said.output else "(no output)")
    if said.cancelled:
        told += "\n\n(command cancelled)"
    elif said.exit_code:
        told += f"\n\nCommand exited with code {said.exit_code}"
    if said.truncated and said.full_output_path:
        told += f"\n\n[Output truncated. Full output: {said.full_output_path}]"
    return told
