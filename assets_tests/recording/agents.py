"""The agents that are recorded: how each is installed, set up, started, resumed and interrupted.

Versions are pinned and come from npm. The agents get instructions of ours, no skills, plugins or extensions, a home of
their own and no word of the machine they run on; a provider of the loopback is all they know of the world.
"""

import json
import os
import signal
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from pipeline.collecting.codex import CONFIG

INSTRUCTIONS = """\
You are a coding agent. You work in a git repository on the user's machine, with the tools you are given.
Look before you change anything, change only what the task needs, and run the tests when there are any.
When you are done, say in a few words what you found and what you changed."""
MODEL = "scripted-model"
CODE_MODEL = "scripted-code-model"
"""The model that Codex offers one tool, which runs JavaScript."""
CLAUDE_CODE = "2.1.197"
"""Not free software: it is fetched for the tests that run it, and its sessions are not recorded."""
WINDOW = 32_000
PATIENCE = 60_000
"""Milliseconds that Codex waits for a word."""


class Agent(Protocol):
    """A coding agent of one version, installed."""

    format: ClassVar[str]
    """Of its session files: a row of `converting.FORMATS`."""
    stop: ClassVar[signal.Signals]
    """What makes it end in good order."""

    def environment(self) -> dict[str, str]:
        """What it must find in its environment."""
        ...

    def configure(self, url: str, *, compact_above: int) -> None:
        """Point it at the model; have it compact its history above so many tokens (0: never)."""
        ...

    def command(self, prompt: str, *, model: str, resume: bool) -> list[str]:
        """What starts it on a prompt."""
        ...

    def sessions(self) -> list[Path]:
        """The session files it wrote."""
        ...


def install(cache: Path, package: str) -> Path:
    """The folder that holds this `name@version` of npm and what it needs, from the cache or the registry."""
    folder = cache / package.removeprefix("@").replace("/", "-")
    done = folder / "installed"
    if not done.exists():
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), package]
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(npm, check=True)
        done.touch()
    return folder / "node_modules"


def unpack(cache: Path, package: str) -> Path:
    """The folder of this package alone: for one that brings all it needs in a bundle."""
    folder = cache / package.removeprefix("@").replace("/", "-")
    if not (folder / "package").exists():
        folder.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "pack", "--silent", "--pack-destination", str(folder), package]
        subprocess.run(npm, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
    return folder / "package"


@dataclass(frozen=True)
class Codex:
    """OpenAI's Codex CLI, through the Responses API."""

    binary: Path
    home: Path
    format: ClassVar[str] = "codex"
    stop: ClassVar[signal.Signals] = signal.SIGINT
    PACKAGE: ClassVar[str] = "@openai/codex@0.169.0"

    @classmethod
    def installed(cls, cache: Path, home: Path) -> "Codex":
        return cls(next(install(cache, cls.PACKAGE).glob("@openai/codex-*/vendor/*/bin/codex")), home)

    def environment(self) -> dict[str, str]:
        return {"CODEX_HOME": str(self.home), "TRACEMILL_LINE": "none"}

    def configure(self, url: str, *, compact_above: int) -> None:
        (self.home / "models.json").write_text(json.dumps({"models": [_model(MODEL), _model(CODE_MODEL)]}))
        limit = f"model_auto_compact_token_limit = {compact_above}\n" if compact_above else ""
        told = f'model_provider = "tracemill"\nmodel_catalog_json = "{self.home}/models.json"\n{limit}'
        (self.home / "config.toml").write_text(told + CONFIG.format(url=url, patience=PATIENCE))

    def command(self, prompt: str, *, model: str, resume: bool) -> list[str]:
        bare = [word for name in ("goals", "multi_agent") for word in ("--disable", name)]
        resumed = ["resume", "--last"] if resume else []
        return [str(self.binary), "exec", *bare, *resumed, "--json", "-m", model, prompt]

    def sessions(self) -> list[Path]:
        return sorted(self.home.glob("sessions/**/*.jsonl"))


def _model(slug: str) -> dict[str, object]:
    """A row of Codex' model catalogue: what our models can do, and our instructions instead of a vendor's."""
    in_code = {"tool_mode": "code_mode_only", "use_responses_lite": True} if slug == CODE_MODEL else {}
    return {
        "slug": slug,
        "display_name": slug,
        "description": "Says what a script says.",
        "supported_reasoning_levels": [],
        "shell_type": "unified_exec",
        "visibility": "list",
        "supported_in_api": True,
        "priority": 0,
        "base_instructions": INSTRUCTIONS,
        "support_verbosity": False,
        "apply_patch_tool_type": "freeform",
        "truncation_policy": {"mode": "tokens", "limit": 10_000},
        "context_window": WINDOW,
        "experimental_supported_tools": [],
        "supports_reasoning_summaries": True,
        "supports_parallel_tool_calls": True,
        **in_code,
    }


@dataclass(frozen=True)
class Pi:
    """The Pi coding agent, through Chat Completions."""

    node: Path
    bundle: Path
    home: Path
    format: ClassVar[str] = "pi"
    stop: ClassVar[signal.Signals] = signal.SIGTERM
    NODE: ClassVar[str] = "node@22.23.3"
    PACKAGE: ClassVar[str] = "@earendil-works/pi-coding-agent@1.5.2"

    @classmethod
    def installed(cls, cache: Path, home: Path) -> "Pi":
        return cls(install(cache, cls.NODE) / "node/bin/node", unpack(cache, cls.PACKAGE) / "dist/bundle/cli.js", home)

    def environment(self) -> dict[str, str]:
        quiet = {"PI_OFFLINE": "1", "PI_TELEMETRY": "0", "PI_SKIP_VERSION_CHECK": "1"}
        return {"PI_CODING_AGENT_DIR": str(self.home), **quiet}

    def configure(self, url: str, *, compact_above: int) -> None:
        model = {"id": MODEL, "reasoning": True, "contextWindow": WINDOW, "maxTokens": 4096}
        provider = {"baseUrl": url, "api": "openai-completions", "apiKey": "none", "models": [model]}
        reserve = WINDOW - compact_above
        compaction = {"enabled": bool(compact_above), "reserveTokens": reserve, "keepRecentTokens": 200}
        (self.home / "models.json").write_text(json.dumps({"providers": {"scripted": provider}}))
        (self.home / "settings.json").write_text(json.dumps({"compaction": compaction}))

    def command(self, prompt: str, *, model: str, resume: bool) -> list[str]:
        bare = ["--no-extensions", "--no-skills", "--no-prompt-templates", "--no-context-files", "--no-mcp"]
        place = ["--session-dir", str(self.home / "sessions"), *(["--continue"] if resume else [])]
        said = ["--model", f"scripted/{model}", "--system-prompt", INSTRUCTIONS, prompt]
        return [str(self.node), str(self.bundle), "--print", "--mode", "json", *bare, *place, *said]

    def sessions(self) -> list[Path]:
        return sorted(self.home.glob("sessions/**/*.jsonl"))


def surroundings(home: Path) -> dict[str, str]:
    """An environment that tells an agent, and so its session file, nothing of this machine."""
    found = {"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home / "tmp"), "USER": "dev", "SHELL": "/bin/bash"}
    return {**found, "LANG": "C.UTF-8", "TZ": "UTC", "PYTHONDONTWRITEBYTECODE": "1"}
