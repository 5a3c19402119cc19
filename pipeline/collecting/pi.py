"""`pi`: the Pi coding agent, through the API that the server speaks. Written for 1.5."""

import json
from collections.abc import Mapping
from signal import SIGTERM, Signals

from pipeline.collecting.agent import Api, Box
from pipeline.collecting.commands import write
from pipeline.records import Prompt

FOLDER = ".pi/agent"
APIS: Mapping[Api, str] = {
    "chat": "openai-completions",
    "responses": "openai-responses",
    "messages": "anthropic-messages",
}
QUIET = {"PI_OFFLINE": "1", "PI_TELEMETRY": "0", "PI_SKIP_VERSION_CHECK": "1"}


class Pi:
    """A `Command`."""

    name = program = "pi"
    apis: tuple[Api, ...] = ("responses", "chat", "messages")
    stop: Signals = SIGTERM
    sessions = f"{FOLDER}/sessions"

    def environment(self, box: Box) -> Mapping[str, str]:
        return {"PI_CODING_AGENT_DIR": box.inside(box.home / FOLDER), **QUIET}

    def configure(self, box: Box, prompt: Prompt, *, api: Api, seconds: float) -> None:
        model = {"id": prompt.model, "reasoning": bool(prompt.sampling.reasoning_effort)}
        url = box.url.removesuffix("/v1") if api == "messages" else box.url
        provider = {"baseUrl": url, "api": APIS[api], "apiKey": "none", "models": [model]}
        write(box.home / FOLDER / "models.json", json.dumps({"providers": {"tracemill": provider}}))
        write(box.home / FOLDER / "settings.json", json.dumps({"retry": {"enabled": False}}))

    def turn(self, box: Box, prompt: Prompt, said: str, *, resume: bool) -> list[str]:
        place = ["--session-dir", box.inside(box.home / self.sessions), *(["--continue"] if resume else [])]
        bare = ["--no-extensions", "--no-skills", "--no-prompt-templates", "--no-mcp"]
        told = ["--model", f"tracemill/{prompt.model}"]
        if prompt.sampling.reasoning_effort:
            told += ["--thinking", prompt.sampling.reasoning_effort]
        if prompt.system is not None:
            told += ["--system-prompt", prompt.system]
        return ["pi", "--print", "--mode", "json", *bare, *place, *told, said]
