"""Agents, a row each."""

from collections.abc import Mapping

from pipeline.collecting.agent import Agent
from pipeline.collecting.chat import Chat
from pipeline.collecting.claude_code import ClaudeCode
from pipeline.collecting.codex import Codex
from pipeline.collecting.commands import Coding
from pipeline.collecting.pi import Pi
from pipeline.collecting.replay import Replay

AGENTS: Mapping[str, Agent] = {
    "replay": Replay(),
    "chat": Chat(),
    "codex": Coding(Codex()),
    "pi": Coding(Pi()),
    "claude-code": Coding(ClaudeCode()),
}
