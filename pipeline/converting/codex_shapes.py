"""Lines of a Codex rollout, as they are decoded.

`session_meta`, `turn_context`, `response_item`, `event_msg`, `token_usage_record`, `compacted`, in an envelope of
`type`, `payload`, `timestamp` and `ordinal`; the oldest files (before September 2025) have no envelopes: their first
line is the bare meta data, the others are bare items.
"""

import re

import msgspec

from pipeline.records import Usage

HISTORY = frozenset({"session_meta", "response_item", "event_msg", "turn_context", "token_usage_record", "compacted"})
BESIDE = frozenset(
    {"world_state", "retained_context", "security_risk_score", "realtime_item", "dynamic_tools_updated", "state"}
)
AGENTS = frozenset({"inter_agent_communication", "inter_agent_communication_metadata"})
KNOWN = HISTORY | BESIDE | AGENTS
"""Every type of line there is; others are counted."""
LOGIN = re.compile(r"//[^/@]*@")
"""A name and a key in a URL."""


class Bookkeeping(msgspec.Struct, frozen=True):
    compaction_output: bool | None = None
    """The summary that a compaction asked for: recorded as if it were an answer."""


class Line(msgspec.Struct, frozen=True):
    type: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"")
    timestamp: str | None = None
    ordinal: int | None = None
    metadata: Bookkeeping | None = None
    id: str | None = None
    record_type: str | None = None


class Text(msgspec.Struct, frozen=True):
    text: str = ""


class Position(msgspec.Struct, frozen=True):
    thread_id: str
    end_ordinal_exclusive: int


class Git(msgspec.Struct, frozen=True):
    commit_hash: str | None = None
    branch: str | None = None
    repository_url: str | None = None


class Meta(msgspec.Struct, frozen=True):
    """The first line: who wrote this file."""

    id: str
    timestamp: str = ""
    cli_version: str | None = None
    base_instructions: Text | None = None
    instructions: str | None = None
    """Before there were base instructions: what the user's files say."""
    history_base: Position | None = None
    forked_from_id: str | None = None
    parent_thread_id: str | None = None
    git: Git | None = None


class TurnContext(msgspec.Struct, frozen=True):
    model: str | None = None


class Compacted(msgspec.Struct, frozen=True):
    replacement_history: list[msgspec.Raw] | None = None


class Tokens(msgspec.Struct, frozen=True):
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_output_tokens: int = 0

    @property
    def usage(self) -> Usage:
        return Usage(
            input=self.input_tokens,
            cached=self.cached_input_tokens,
            cache_written=self.cache_write_input_tokens,
            output=self.output_tokens,
            reasoning=self.reasoning_output_tokens,
        )


class Spent(msgspec.Struct, frozen=True):
    usage: Tokens = Tokens()


class Info(msgspec.Struct, frozen=True):
    total_token_usage: Tokens | None = None


class Event(msgspec.Struct, frozen=True):
    type: str
    error: msgspec.Raw = msgspec.Raw(b"null")
    info: msgspec.Raw = msgspec.Raw(b"null")
    num_turns: int = 0
