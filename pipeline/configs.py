"""teich's `config.yaml`, understood: its keys and environment names, as settings of ours.

What it says that means nothing here (a container's own sandbox, approvals) is taken and has no effect; what would
change the data and is not done here is refused by name. docs/collecting.md has the table.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BeforeValidator, Field, ValidationError

from pipeline.errors import SettingsError
from pipeline.faults import read_yaml
from pipeline.settings import Collection, Repo, Settings
from pipeline.targets import BATCH_FILES, Project, ProjectSettings, Publication, Target

PLACEHOLDERS = {"", "none", "null", "dummy", "local", "llm", "changeme"}
"""Keys that are none."""
ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "anthropic": "https://api.anthropic.com/v1",
}
KEY = "TEICH_API_KEY"
KEYS = {"openrouter": ("OPENROUTER_API_KEY", "OPENAI_API_KEY"), "anthropic": ("ANTHROPIC_API_KEY",)}
"""By provider; else `OPENAI`."""
OPENAI = ("OPENAI_API_KEY", "OPENROUTER_API_KEY")
OVERRIDES = {
    "TEICH_MODEL": ("model", "model"),
    "TEICH_BASE_URL": ("api", "base_url"),
    "TEICH_PROVIDER": ("api", "provider"),
}
PRIVATE = ".tracemill"
"""Folder beside the config: the partitions, and prompts that stand in the config itself."""


class Running(Settings):
    """`agent`."""

    provider: Literal["codex", "pi", "chat", "claude", "claude-code"] = "codex"

    @property
    def name(self) -> Literal["codex", "pi", "chat", "claude-code"]:
        return "claude-code" if self.provider == "claude" else self.provider


class Asked(Settings):
    """`model`."""

    model: str = "codex-mini-latest"
    reasoning_effort: str | None = None
    approval_policy: str | None = None
    approval_mode: str | None = None
    sandbox: str | None = None
    """These three: without effect. The sandbox is around the agent, not in it."""


class Api(Settings):
    """`api`."""

    provider: str = "openai"
    base_url: str | None = None
    api_key: str | None = Field(default=None, repr=False)
    wire_api: Literal["responses", "chat/completions", "chat_completions", "chat"] | None = None


class Output(Settings):
    """`output`."""

    traces_dir: str = "./output"
    sandbox_dir: str | None = None
    failures_dir: str | None = None
    pretty_name: str | None = None
    """These three: without effect. What fails is a reject with its reason, in the partition."""


class Publish(Settings):
    """`publish`: where the project of these traces goes; `tracemill generate` publishes nothing by itself. Without a
    token: `resources.hub.TOKENS`."""

    repo_id: Annotated[Repo | None, BeforeValidator(lambda said: said or None)] = None
    hf_token: str | None = Field(default=None, repr=False)
    private: bool = True


class Config(Settings):
    """The whole of it."""

    agent: Running = Running()
    model: Asked = Asked()
    api: Api = Api()
    prompts: list[str | dict[str, Any]] = Field(default=[])
    prompts_file: str | None = None
    output: Output = Output()
    publish: Publish = Publish()
    max_concurrency: int = Field(default=1, ge=1)
    timeout_seconds: float = Field(default=600, gt=0)
    openai_api_key: str | None = Field(default=None, repr=False)
    folder: Path = Field(default=Path(), exclude=True)
    """Of the file."""

    @classmethod
    def from_yaml(cls, path: str | Path, *, environment: Mapping[str, str] = os.environ) -> "Config":
        """The file, with what the environment says instead. Raises SettingsError naming file, key and cure."""
        path = Path(path)
        try:
            raw = read_yaml(path)[0] or {}
            for name, (section, key) in OVERRIDES.items():
                if environment.get(name):
                    raw[section] = {**(raw.get(section) or {}), key: environment[name]}
            config = cls.model_validate({**raw, "folder": path.resolve().parent})
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}; name teich's config.yaml") from error
        except (TypeError, AttributeError) as error:
            raise SettingsError(f"{path} is no YAML of settings: {error}") from error
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise SettingsError(f"{path}: {told}: Tracemill does nothing else; correct it, or leave it out") from error
        if bool(config.prompts) == bool(config.prompts_file):
            raise SettingsError(f"{path}: prompts, prompts_file: set one of them")
        return config

    def key(self, environment: Mapping[str, str] = os.environ) -> tuple[str, str | None]:
        """The environment variable that holds the key, and what it must be set to first, if it stands in the file."""
        if _real(environment.get(KEY)):
            return KEY, None
        for given in (self.api.api_key, self.openai_api_key):
            if _real(given):
                return KEY, given
        names = KEYS.get(self._provider, OPENAI)
        return next((name for name in names if _real(environment.get(name))), names[0]), None

    @property
    def _provider(self) -> str:
        """Claude Code is Anthropic's, unless the config says otherwise."""
        unsaid = "provider" not in self.api.model_fields_set and self.api.base_url is None
        return "anthropic" if unsaid and self.agent.name == "claude-code" else self.api.provider.lower()

    def _wire(self) -> Literal["responses", "chat", "messages"]:
        if self.agent.name == "claude-code":
            return "messages"
        said = self.api.wire_api or ("responses" if self._provider == "openai" else "chat")
        return "responses" if said == "responses" else "chat"

    def collection(self) -> Collection:
        """The same, as `collect` in tracemill.yaml."""
        provider = self._provider
        address = self.api.base_url or ADDRESSES.get(provider)
        if address is None:
            raise SettingsError(f"api.base_url: nobody knows the address of {provider!r}; set it")
        effort = {"reasoning_effort": self.model.reasoning_effort} if self.model.reasoning_effort else {}
        return Collection.model_validate(
            {
                "agent": self.agent.name,
                "model": self.model.model,
                "sampling": effort,
                "endpoint": {
                    "base_url": address,
                    "api": self._wire(),
                    "key": self.key()[0],
                    "provider": provider if provider in ADDRESSES else None,
                },
                "limits": {"concurrency": self.max_concurrency, "timeout": self.timeout_seconds},
            }
        )

    def project(self) -> tuple[Project, str]:
        """A project of these settings, its partitions beside the file, and its batch."""
        home = self.folder / PRIVATE
        file = self._batch(home / "prompts")
        publish = {"to": "hub", "repo": self.publish.repo_id, "token": self.publish.hf_token}
        settings = ProjectSettings(
            targets={"example": Target(model="example", renderer="traced")},
            collect=self.collection(),
            prompts=str(file.parent),
            publish=Publication(**publish, private=self.publish.private) if self.publish.repo_id else Publication(),
        )
        return Project(home, settings), file.stem

    def _batch(self, folder: Path) -> Path:
        """The prompts as a batch file, alone under its name: others may lie beside the file that is named. Of another
        suffix than ours it is plain text, as with teich. Raises SettingsError."""
        named = Path(self.prompts_file or "prompts.jsonl")
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", named.stem).strip("-") or "prompts"
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{stem}.*"):
            old.unlink()
        file = folder / f"{stem}{named.suffix if named.suffix in BATCH_FILES else '.txt'}"
        rows = ({"prompt": one} if isinstance(one, str) else one for one in self.prompts)
        try:
            told = (self.folder / named).read_bytes() if self.prompts_file else None
        except OSError as error:
            raise SettingsError(
                f"prompts_file: {self.folder / named}: {error.strerror}; name a file of prompts"
            ) from error
        file.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows) if told is None else told)
        return file


def _real(key: str | None) -> bool:
    return key is not None and key.strip().lower() not in PLACEHOLDERS
