"""What everything read from `tracemill.yaml` is, and what `collect` in it may say."""

import os
import re
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.records import Decoding

TOKENS = ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "TEICH_HF_TOKEN")
"""Environment variables that hold the token of the Hub; the first that is set counts."""
WORD = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
REPO = re.compile(rf"(?!.*(?:--|\.\.|\.git$))(?={WORD}/.{{1,96}}$){WORD}/{WORD}")
"""What the Hub takes as the name of a repository."""


def _repository(said: str) -> str:
    if REPO.fullmatch(said):
        return said
    raise ValueError(f"{said!r} names no repository; write owner/name: letters, digits, single `-`, `_` and `.`")


Repo = Annotated[str, AfterValidator(_repository)]
"""Of the Hub."""


def _percent(said: Any) -> Any:
    told = _of_100(said)
    if told is None and isinstance(said, int | float) and 0 < said < 1:
        raise ValueError(f"percent are wanted: {said * 100:g} is {said:g} of all; if so little is meant, say {said:g}%")
    return said if told is None else told


def _fraction(said: Any) -> Any:
    told = _of_100(said)
    if told is None and isinstance(said, int | float) and 1 <= said < 100:
        raise ValueError(f"a share of 1 is wanted: for {said:g} percent say {said / 100:g}, or {said:g}%")
    return said if told is None else told / 100


def _of_100(said: Any) -> float | None:
    """Of `5%`, which says its scale itself, the number."""
    try:
        return float(said[:-1]) if isinstance(said, str) and said.endswith("%") else None
    except ValueError:
        return None


def _either(said: Any) -> Any:
    told = _of_100(said)
    return said if told is None else told


OfHundred = Annotated[float, BeforeValidator(_either), Field(gt=0, le=100)]
"""70, or 70%."""
Percent = Annotated[float, BeforeValidator(_percent), Field(gt=0, lt=100)]
Fraction = Annotated[float, BeforeValidator(_fraction), Field(gt=0, lt=1)]
"""Shares of splits, each on its own scale: one that is surely of the other is refused."""
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


def hub_token() -> str | None:
    """The first of TOKENS; None where the Hub's client may look for itself."""
    return next(filter(None, map(os.environ.get, TOKENS)), None)


class Settings(BaseModel):
    """Base of everything read from `tracemill.yaml`: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Endpoint(Settings):
    """The server that answers for the model."""

    base_url: str = "https://api.openai.com/v1"
    """As the openai SDK takes it."""
    api: Literal["responses", "chat", "messages"] = "responses"
    """What the server speaks: one of OpenAI's, or Anthropic's Messages. `chat` serves agents that speak Responses all
    the same: the recorder translates."""
    key: str = "OPENAI_API_KEY"
    """The environment variable that holds the key. It is added by the recorder, and no agent ever sees it."""
    provider: str | None = None
    """Whose prices: a name of genai-prices (`openai`, `openrouter`, …). None: by the address."""
    attempts: Count = 5
    """How often a request is tried that was refused for now (429, 5xx, no connection)."""
    timeout: Positive = 600
    """Seconds that one attempt may take."""


class Sandbox(Settings):
    """Where agents run."""

    kind: Literal["docker", "host"] = "docker"
    """`docker`: a container a prompt, closed but for the recorder. `host`: a process like any other: it can do what you
    can."""
    image: str = "tracemill-sandbox"
    """Built from deploy/sandbox.Dockerfile."""
    memory: str = "4g"
    cpus: Positive = 2
    pids: Count = 512
    """Processes."""


class Limits(Settings):
    """How much at a time, and how much at all."""

    concurrency: Count = 4
    """Prompts at a time."""
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    timeout: Positive = 1800
    """Seconds that one prompt may take, follow-ups included."""
    max_usd: Positive | None = None
    """A run never spends more: a request that might pass it is not sent."""
    max_tokens: Count | None = None
    """The same in tokens, told and written together."""
    max_answer: Count = 32_000
    """Tokens that a request may be answered with where a budget is set and it says nothing itself."""


class Regeneration(Settings):
    """What the schedule `nightly_regenerate` may run anew in a night."""

    max_partitions: Count
    max_usd: Positive | None
    """That a night may cost, split evenly among its partitions. null: no price holds it, only `limits`."""


class Collection(Settings):
    """How prompts are run that say nothing else themselves."""

    agent: Literal["replay", "chat", "codex", "pi", "claude-code"] = "replay"
    model: str | None = None
    system: str | None = None
    sampling: dict[str, Any] = {}
    """As `records.Decoding`."""
    github: str = "https://github.com"
    """Where `github_repo` is fetched from: an address, or a folder of repositories."""
    endpoint: Endpoint = Endpoint()
    sandbox: Sandbox = Sandbox()
    limits: Limits = Limits()
    regenerate: Regeneration | None = None
    batch: bool = False
    """Ask OpenAI's Batch API: half the price, answered within a day. `chat` alone can wait so long."""

    @model_validator(mode="after")
    def _it_can_be_run(self) -> "Collection":
        if self.agent != "replay" and not self.model:
            raise ValueError(f"model: {self.agent} runs a model: name it")
        if self.batch and (self.agent not in ("replay", "chat") or self.endpoint.api == "messages"):
            raise ValueError("batch: agent chat alone, of an endpoint of api responses or chat")
        try:
            msgspec.convert(self.sampling, Decoding)
        except msgspec.ValidationError as error:
            raise ValueError(f"sampling: {error}; there are {', '.join(Decoding.__struct_fields__)}") from error
        return self

    def defaults(self) -> dict[str, Any]:
        """What a prompt is that does not say."""
        return {"agent": self.agent, "model": self.model, "system": self.system, "sampling": dict(self.sampling)}
