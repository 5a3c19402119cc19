"""Conversations: the messages and tools of a context window, and where they come from."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from pipeline.records.collected import Status, Usage
from pipeline.records.row import Row
from renderers.messages import Message


class Place(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where a message stands in the raw trace."""

    file: str
    line: int
    """From 1."""
    pointer: str = ""
    """A JSON pointer (RFC 6901) into the line."""
    time: str = ""
    """When it was written, as the trace spells it."""


class Origin(msgspec.Struct, frozen=True):
    """What a trace says of where it comes from."""

    session: str | None = None
    parent: str | None = None
    """The session that this one is a fork or a sub-agent of."""
    repository: str | None = None
    branch: str | None = None
    commit: str | None = None
    began: str | None = None
    ended: str | None = None
    """Times of the first and the last line, as the trace spells them."""
    usage: Usage = Usage()


class Flaw(msgspec.Struct, frozen=True):
    """An assistant message that is not what the model wrote, or not all of it: told, but never trained."""

    message: int
    reason: str


class Scrub(msgspec.Struct, frozen=True):
    """What was done about secrets and personal data in a row."""

    done: Literal["nothing", "reported", "replaced"] = "nothing"
    """`nothing`: nobody has looked."""
    rules: str = ""
    """Version of what was looked for."""
    found: dict[str, int] = msgspec.field(default_factory=dict)
    """By kind; places, not different secrets."""


ADDRESS = re.compile(r"([^/:]+/[^/:]+?)(\.git)?/*$")
"""The end of `https://host/owner/name.git`, of `git@host:owner/name`."""
CUT = "cut off by the token limit: the model did not stop here"
REPEATED = "learned in an earlier conversation, which this one repeats"
UNRECORDED = "unrecorded"


class Conversation(Row, frozen=True, kw_only=True):
    """Messages and tools of one context window."""

    trace_id: str
    prompt_id: str
    window: int
    """Which context window of the trace: 0 until its first compaction."""
    messages: tuple[Message, ...]
    places: tuple[Place, ...] = ()
    """One for each message."""
    tools: tuple[dict[str, Any], ...] = ()
    """OpenAI-style tool specs, in the order they were offered."""
    tools_recorded: bool = False
    """Whether the trace says which tools were offered. If not, an empty `tools` means unknown."""
    format: str
    agent_version: str | None = None
    model: str | None = None
    date: dt.date | None = None
    """The day on which the session began."""
    status: Status = "unknown"
    flaws: tuple[Flaw, ...] = ()
    unreadable: tuple[int, ...] = ()
    """Assistant messages whose thought the provider kept to itself: `reasoning` is a summary of it, or nothing."""
    origin: Origin = Origin()
    checked: str = UNRECORDED
    """Against what the recorder saw the model being sent: `verified`, `differs: <where>`, `unrecorded`."""
    uncounted: dict[str, int] = msgspec.field(default_factory=dict)
    """Trace entries that are not conversation and that the converter does not know, by type."""
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    scrub: Scrub = Scrub()

    @property
    def answered(self) -> tuple[Message, ...]:
        """Messages up to the model's last: nothing can be learned from what came after."""
        end = len(self.messages)
        while end and self.messages[end - 1].role != "assistant":
            end -= 1
        return self.messages[:end]

    @property
    def repository(self) -> str | None:
        """`owner/name` of what it works on, as its prompt names it, or of the address that its trace has."""
        named = self.metadata.get("github_repo") or self.origin.repository
        found = ADDRESS.search(str(named)) if named else None
        return found[1].lower() if found else named

    def measures(self) -> Mapping[str, int]:
        secrets = {f"secret {kind}": n for kind, n in self.scrub.found.items()}
        return {"messages": len(self.messages), **secrets, **{f"unknown {k}": n for k, n in self.uncounted.items()}}
