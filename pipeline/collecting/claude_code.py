"""`claude-code`: Anthropic's Claude Code CLI, through the Messages API. Written for 2.1.

The program is Anthropic's own and not free: nothing of it is here, and whoever wants it installs it. It speaks Messages
and nothing else, so the server must (`collect.endpoint.api: messages`): nothing is translated.
"""

import json
from collections.abc import Mapping
from signal import SIGINT, Signals
from uuid import NAMESPACE_URL, uuid5

from pipeline.collecting.agent import Api, Box
from pipeline.collecting.commands import write
from pipeline.records import Prompt

FOLDER = ".claude"
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
    "CLAUDE_CODE_MAX_RETRIES": "0",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
}
"""It phones nobody, tries nothing again, and adds no line of its own to the system prompt."""
UNOFFERED = ("WebFetch", "WebSearch")
"""Tools that need a network."""


class ClaudeCode:
    """A `Command`."""

    name = "claude-code"
    program = "claude"
    apis: tuple[Api, ...] = ("messages",)
    stop: Signals = SIGINT
    sessions = f"{FOLDER}/projects"

    def environment(self, box: Box) -> Mapping[str, str]:
        """The sandbox around it is ours: as root, it must be told that there is one."""
        place = {"CLAUDE_CONFIG_DIR": box.inside(box.home / FOLDER), "IS_SANDBOX": "1"}
        return {**place, "ANTHROPIC_BASE_URL": box.url.removesuffix("/v1"), "ANTHROPIC_API_KEY": "none", **QUIET}

    def configure(self, box: Box, prompt: Prompt, *, api: Api, seconds: float) -> None:
        """Whatever it would ask a small model is asked the same one. What a request tells of user and session is the
        same whenever its prompt is run: so a rerun after a kill is answered from the journal."""
        small = {"ANTHROPIC_DEFAULT_HAIKU_MODEL": prompt.model, "CLAUDE_CODE_SUBAGENT_MODEL": prompt.model}
        told = {"env": {**small, "API_TIMEOUT_MS": str(int(seconds * 1000))}, "cleanupPeriodDays": 3650}
        write(box.home / FOLDER / "settings.json", json.dumps(told))
        write(box.home / FOLDER / ".claude.json", json.dumps({"userID": "0" * 64}))
        if prompt.system is not None:
            write(box.home / FOLDER / "system.md", prompt.system)

    def turn(self, box: Box, prompt: Prompt, said: str, *, resume: bool) -> list[str]:
        bare = ["--strict-mcp-config", "--disable-slash-commands", "--setting-sources", "user"]
        told = ["--model", str(prompt.model), "--disallowedTools", ",".join(UNOFFERED)]
        if prompt.sampling.reasoning_effort:
            told += ["--effort", prompt.sampling.reasoning_effort]
        if prompt.system is not None:
            told += ["--system-prompt-file", box.inside(box.home / FOLDER / "system.md")]
        session = ["--resume" if resume else "--session-id", str(uuid5(NAMESPACE_URL, f"tracemill:{prompt.id}"))]
        return ["claude", "--print", "--dangerously-skip-permissions", *bare, *told, *session, "--", said]
