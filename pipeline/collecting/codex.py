"""`codex`: OpenAI's Codex CLI, through the Responses API. Written for 0.169."""

import json
from collections.abc import Mapping
from signal import SIGINT, Signals

from pipeline.collecting.agent import Api, Box
from pipeline.collecting.commands import write
from pipeline.records import Prompt

FOLDER = ".codex"


class Codex:
    """A `Command`."""

    name = program = "codex"
    apis: tuple[Api, ...] = ("responses", "chat")
    stop: Signals = SIGINT
    sessions = f"{FOLDER}/sessions"

    def environment(self, box: Box) -> Mapping[str, str]:
        return {"CODEX_HOME": box.inside(box.home / FOLDER), "TRACEMILL_LINE": "none"}

    def configure(self, box: Box, prompt: Prompt, *, api: Api, seconds: float) -> None:
        """Codex speaks Responses whatever the server does: the recorder translates."""
        told = {"model": prompt.model, "model_provider": "tracemill"}
        if prompt.sampling.reasoning_effort:
            told["model_reasoning_effort"] = prompt.sampling.reasoning_effort
        if prompt.system is not None:
            told["model_instructions_file"] = box.inside(box.home / FOLDER / "instructions.md")
            write(box.home / FOLDER / "instructions.md", prompt.system)
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in told.items())
        config = CONFIG.format(url=box.url, patience=int(seconds * 1000))
        write(box.home / FOLDER / "config.toml", lines + config)

    def turn(self, box: Box, prompt: Prompt, said: str, *, resume: bool) -> list[str]:
        resumed = ["resume", "--last"] if resume else []
        return ["codex", "exec", *resumed, "--json", "--skip-git-repo-check", "--", said]


CONFIG = """\
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
web_search = "disabled"
analytics = {{ enabled = false }}
history = {{ persistence = "none" }}
skills = {{ bundled = {{ enabled = false }} }}

[features]
plugins = false
apps = false
unbounded_connection_retries = false

[model_providers.tracemill]
name = "tracemill"
base_url = "{url}"
wire_api = "responses"
env_key = "TRACEMILL_LINE"
request_max_retries = 0
stream_max_retries = 0
stream_idle_timeout_ms = {patience}
"""
"""The sandbox around Codex is ours. Nobody is at home, it phones nobody, and tries nothing again."""
