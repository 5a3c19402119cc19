"""What everything read from `tracemill.yaml` is, how it is read, and what `collect` in it may say."""

import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import SettingsError
from pipeline.records import Decoding

TOKENS = ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "TEICH_HF_TOKEN")
"""Environment variables that hold the token of the Hub; the first that is set counts."""
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


def hub_token() -> str | None:
    """The first of TOKENS; None where the Hub's client may look for itself."""
    return next(filter(None, map(os.environ.get, TOKENS)), None)


class Settings(BaseModel):
    """Base of everything read from `tracemill.yaml`: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_yaml(path: Path) -> tuple[Any, yaml.Node | None]:
    """What a file says, and where. Raises SettingsError where it is no YAML, or says a word twice."""
    try:
        told = path.read_text(encoding="utf-8-sig")
        said, node = yaml.safe_load(told), yaml.compose(told, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is no YAML: {error}") from error
    _no_word_twice(node, path)
    return said, node


def _no_word_twice(node: yaml.Node | None, path: Path) -> None:
    """YAML readers take the last of two, and forget the other."""
    inside, seen = [node], set[int]()
    while inside:
        one = inside.pop()
        if not isinstance(one, yaml.CollectionNode) or id(one) in seen:
            continue
        seen.add(id(one))
        if not isinstance(one, yaml.MappingNode):
            inside += one.value
            continue
        lines: dict[str, int] = {}
        for key, value in one.value:
            line = key.start_mark.line + 1
            if (word := str(key.value)) in lines:
                raise SettingsError(f"{path}: {word}: line {lines[word]} has it, too; say it once (line {line})")
            lines[word] = line
            inside.append(value)


CURES = {
    "missing": "it must be set",
    "model_type": "settings are wanted, `name: value`; leave it out if there are none",
    "dict_type": "settings are wanted, `name: value`",
    "tuple_type": "a list is wanted, [one, two]",
}
"""In place of pydantic's words for Python's types."""


def faults(error: ValidationError, model: type[BaseModel], node: yaml.Node | None = None) -> str:
    """What is wrong with settings of this model: each field, the cure, and its line."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'the file'}: {_cure(one, model)}{_line(node, one['loc'])}"
        for one in error.errors()
    )


def _cure(one: Mapping[str, Any], model: type[BaseModel]) -> str:
    if one["type"] != "extra_forbidden":
        return CURES.get(one["type"], str(one["msg"]).removeprefix("Value error, "))
    *above, name = one["loc"]
    known = list(_names(model, above))
    near = get_close_matches(str(name), known, n=1)
    cure = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"no such setting; {cure}"


def _names(model: type[BaseModel], above: list[Any]) -> Iterator[str]:
    """The settings that there are in a place."""
    models = [model]
    for part in above:
        if fields := [one.model_fields[part] for one in models if part in one.model_fields]:
            models = [found for field in fields for found in _models(field.annotation)]
    for one in models:
        yield from one.model_fields


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _line(node: yaml.Node | None, place: Sequence[Any]) -> str:
    """Of the deepest word of a place that the file has."""
    line = None
    for part in place:
        below = _below(node, part)
        if below is None:
            break
        line, node = below
    return f" (line {line})" if line else ""


def _below(node: yaml.Node | None, part: Any) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark.line + 1, value) for key, value in node.value if key.value == str(part)), None)
    return None


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
