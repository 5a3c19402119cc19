"""Prompts and traces: what is asked of agents, and what they and the recorder logged."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
from msgspec.structs import astuple

from pipeline.records.row import Row


class Decoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a model is asked to sample, in the words of Chat Completions. None: as its server does."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    """What only some servers know (`top_k`, `min_p`, `chat_template_kwargs`): sent as it is."""


class Prompt(Row, frozen=True, kw_only=True):
    """One task of a batch file. Everything that makes a run differ is in its id."""

    prompt: str
    agent: str = "replay"
    """Who runs it: a row of `collecting.AGENTS`. `replay` imports a session that is already there."""
    format: str | None = None
    """For `replay`: the trace format, a row of `converting.FORMATS`."""
    session: str | None = None
    """For `replay`: session file or folder, relative to the batch file."""
    system: str | None = None
    """What the model is told of itself: instead of the agent's own instructions."""
    follow_up_prompts: tuple[str, ...] = ()
    """Asked one after the other in the same session, each once the one before it is done."""
    github_repo: str | None = None
    """`owner/name`: what the agent works in."""
    ref: str | None = None
    """Branch, tag or commit of it; else its default branch. The trace has the commit."""
    model: str | None = None
    sampling: Decoding = Decoding()
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    line: int = 0
    """Where it stands in the batch file, from 1. Not part of the id."""


SESSIONS = ("*.jsonl", "*.jsonl.zst", "*.jsonl.gz")
"""What files of sessions are called: agents compress what they archive."""
READ_BYTES = 1 << 20
"""At a time, of a file: lines are long."""


class TraceFile(msgspec.Struct, frozen=True):
    """A file that an agent wrote, byte for byte."""

    name: str
    data: bytes

    @property
    def stem(self) -> str:
        """Its name without folders and endings."""
        return self.name.rpartition("/")[2].removesuffix(".zst").removesuffix(".gz").rpartition(".")[0]

    def open(self) -> BinaryIO:
        """Its bytes, from the beginning."""
        return BytesIO(self.data)


class LocalFile(TraceFile, frozen=True):
    """A file that stays where it is, for sessions that memory should not hold. It is read, never stored."""

    data: bytes = b""
    path: Path = Path()

    def open(self) -> BinaryIO:
        return self.path.open("rb", buffering=READ_BYTES)


Status = Literal["complete", "length", "aborted", "error", "killed", "unknown"]


class Usage(msgspec.Struct, frozen=True):
    """Tokens, as the provider counts them."""

    input: int = 0
    """Told to the model, those of its cache included."""
    cached: int = 0
    """Of these, read from the provider's cache,"""
    cache_written: int = 0
    """and written to it."""
    output: int = 0
    """Written by the model, its reasoning included."""
    reasoning: int = 0
    """Of these, reasoning."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class Exchange(msgspec.Struct, frozen=True):
    """One request of a run and its answer, as the recorder saw them."""

    api: Literal["responses", "chat", "messages"]
    request: bytes
    """JSON: the body, as the agent sent it. It never held a key."""
    answer: bytes
    """JSON: the answer, put together if it was streamed; what was refused, `{"error": …}`."""
    status: int
    """Of HTTP."""
    attempts: int = 1
    """How often the provider was asked before it answered so."""
    started: str = ""
    """ISO 8601, UTC."""
    seconds: float = 0.0
    usage: Usage = Usage()
    batch: str | None = None
    """Of OpenAI's Batch API, at half the price."""


COST, UNPRICED = "cost in micro-USD", "runs without a price"
GENERATION = "generation "
"""Measures of traces; what the third begins counts the traces of one generation."""


class Trace(Row, frozen=True, kw_only=True):
    """What an agent logged, untouched. `files[0]` is the session; others are what it points into (fork parents), and
    the sessions of the agent's helpers."""

    prompt_id: str
    prompt: str
    agent: str
    format: str
    files: tuple[TraceFile, ...]
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    generation: int = 0
    """How often its prompt has been run anew; a greater one replaces it."""
    status: Status = "unknown"
    """How the run ended, from the session and the recorder. `unknown`: an imported session says it itself."""
    exchanges: tuple[Exchange, ...] = ()
    """What the model was really sent and answered, in order; nothing for an imported session."""
    usage: Usage = Usage()
    """Of all exchanges, those that were repeated included."""
    cost_usd: float | None = None
    """None: the price is not known."""
    model: str | None = None
    """The model that was asked for."""
    agent_version: str | None = None
    sandbox: str | None = None
    """Where the agent ran: `host`, or `docker` and the image's id."""
    commit: str | None = None
    """Of `github_repo`."""
    started: str = ""
    """ISO 8601, UTC."""
    seconds: float = 0.0

    def measures(self) -> Mapping[str, int]:
        if not self.exchanges:
            return {}
        spent = {"requests": len(self.exchanges), "input tokens": self.usage.input, "output tokens": self.usage.output}
        priced = {UNPRICED: 1} if self.cost_usd is None else {COST: round(self.cost_usd * 1e6)}
        open_to_all = {"run without a sandbox": 1} if self.sandbox == "host" else {}
        return {**spent, **priced, f"run {self.status}": 1, f"{GENERATION}{self.generation}": 1, **open_to_all}
