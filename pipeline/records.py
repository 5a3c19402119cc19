"""The rows between stages.

`prompts → traces → conversations → rendered → masked → audits → publication`; a row that leaves is a `Reject`.
Frozen structs. Columns of one number a token are numpy arrays; everything else is plain JSON data.
"""

import datetime as dt
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
import numpy as np
from msgspec.structs import astuple

from renderers.messages import Message
from renderers.segments import Kind, Verdict

Ids = Annotated[np.ndarray, "int32"]
Ones = Annotated[np.ndarray, "int8"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What every stage's rows have."""

    id: str
    """Stable: derived from what the row is made of, never from when or where."""

    @property
    def source(self) -> str:
        """The row of the stage above that it was made from, where each of those is kept or rejected."""
        return self.id

    def measures(self) -> Mapping[str, int]:
        """Numbers that the store adds up over a partition (tokens, trained tokens by kind, …)."""
        return {}


class Decoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a model is asked to sample, in the words of Chat Completions. None: as its server does."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None
    extra: dict[str, Any] = {}
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
    metadata: dict[str, Any] = {}
    line: int = 0
    """Where it stands in the batch file, from 1. Not part of the id."""


SESSIONS = ("*.jsonl", "*.jsonl.zst", "*.jsonl.gz")
"""What files of sessions are called: agents compress what they archive."""


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
        return self.path.open("rb")


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
    """What an agent logged, untouched. `files[0]` is the session; others are what it points into (fork parents)."""

    prompt_id: str
    prompt: str
    agent: str
    format: str
    files: tuple[TraceFile, ...]
    metadata: dict[str, Any] = {}
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
        return {**spent, **priced, f"run {self.status}": 1, f"{GENERATION}{self.generation}": 1}


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a message stands in the raw trace."""

    file: str
    line: int
    """From 1."""
    pointer: str = ""
    """A JSON pointer (RFC 6901) into the line."""
    time: str = ""
    """When it was written, as the trace spells it."""


class Origin(msgspec.Struct, frozen=True):
    """What a trace says of where it comes from."""

    session: str | None = None
    parent: str | None = None
    """The session that this one is a fork or a sub-agent of."""
    repository: str | None = None
    branch: str | None = None
    commit: str | None = None
    began: str | None = None
    ended: str | None = None
    """Times of the first and the last line, as the trace spells them."""
    usage: Usage = Usage()


class Flaw(msgspec.Struct, frozen=True):
    """An assistant message that is not what the model wrote, or not all of it: told, but never trained."""

    message: int
    reason: str


class Scrub(msgspec.Struct, frozen=True):
    """What was done about secrets and personal data in a row."""

    done: Literal["nothing", "reported", "replaced"] = "nothing"
    """`nothing`: nobody has looked."""
    rules: str = ""
    """Version of what was looked for."""
    found: dict[str, int] = {}
    """By kind; places, not different secrets."""


CUT = "cut off by the token limit: the model did not stop here"
REPEATED = "learned in an earlier conversation, which this one repeats"
UNRECORDED = "unrecorded"


class Conversation(Row, frozen=True, kw_only=True):
    """Messages and tools of one context window."""

    trace_id: str
    prompt_id: str
    window: int
    """Which context window of the trace: 0 until its first compaction."""
    messages: tuple[Message, ...]
    places: tuple[Place, ...] = ()
    """One for each message."""
    tools: tuple[dict[str, Any], ...] = ()
    """OpenAI-style tool specs, in the order they were offered."""
    tools_recorded: bool = False
    """Whether the trace says which tools were offered. If not, an empty `tools` means unknown."""
    format: str
    agent_version: str | None = None
    model: str | None = None
    date: dt.date | None = None
    """The day on which the session began."""
    status: Status = "unknown"
    flaws: tuple[Flaw, ...] = ()
    unreadable: tuple[int, ...] = ()
    """Assistant messages whose thought the provider kept to itself: `reasoning` is a summary of it, or nothing."""
    origin: Origin = Origin()
    checked: str = UNRECORDED
    """Against what the recorder saw the model being sent: `verified`, `differs: <where>`, `unrecorded`."""
    uncounted: dict[str, int] = {}
    """Trace entries that are not conversation and that the converter does not know, by type."""
    metadata: dict[str, Any] = {}
    scrub: Scrub = Scrub()

    @property
    def answered(self) -> tuple[Message, ...]:
        """Messages up to the model's last: nothing can be learned from what came after."""
        last = max((i for i, message in enumerate(self.messages) if message.role == "assistant"), default=-1)
        return self.messages[: last + 1]

    def measures(self) -> Mapping[str, int]:
        secrets = {f"secret {kind}": n for kind, n in self.scrub.found.items()}
        return {"messages": len(self.messages), **secrets, **{f"unknown {k}": n for k, n in self.uncounted.items()}}


class RowSpan(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of tokens with one kind and one message; it ends where the next begins."""

    start: int
    kind: Kind
    message: int
    """-1: the whole conversation."""


class RowProof(msgspec.Struct, frozen=True):
    """The verdict on one assistant message, as `renderers.segments.Proof`."""

    message: int
    verdict: str
    note: str = ""


class RenderedRow(Row, frozen=True, kw_only=True):
    """A conversation as token ids, and what each of them is.

    A conversation is one row, called like it; split, the rows that end with earlier turns follow it, and the id of each
    goes on with the message that it ends with: `<conversation>/3`.
    """

    conversation_id: str
    input_ids: Ids
    """int32, (tokens,)"""
    spans: tuple[RowSpan, ...]
    proofs: tuple[RowProof, ...]
    """One for each assistant message of this row, in order; the row ends with the last of them."""
    lost: tuple[str, ...] = ()
    """Fields that hold something and are nowhere in the text, as `messages/3/reasoning`."""
    trainable: tuple[int, ...] = ()
    """Assistant messages that are what the model wrote, and proved here with nothing of them lost, or trusted."""
    asked: int = -1
    """The last user message of the conversation, which may go on after the row."""
    today: dt.date | None = None
    """The day that the template was given, if it prints the date: the target's, else the conversation's."""
    weights: dict[int, float] = {}
    """What messages weigh that say so; 0 is not learned."""

    @property
    def source(self) -> str:
        return self.conversation_id

    @property
    def whole(self) -> bool:
        """Whether it is all of its conversation."""
        return self.id == self.conversation_id

    def measures(self) -> Mapping[str, int]:
        trusted = sum(proof.verdict == Verdict.TRUSTED for proof in self.proofs if proof.message in self.trainable)
        return {
            "tokens": len(self.input_ids),
            "assistant messages": len(self.proofs) if self.whole else 0,
            "trainable messages": len(self.trainable),
            **({"trusted messages": trusted} if trusted else {}),
        }


class Stretch(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of a row, half open."""

    start: int
    end: int


class MaskedRow(Row, frozen=True, kw_only=True):
    """What a trainer reads: a rendered row, or what fits of it; split, the id of each piece goes on with its number."""

    conversation_id: str
    input_ids: Ids
    """int32, (tokens,)"""
    labels: Ids
    """int32, (tokens,): the id where it is learned, -100 where it is not."""
    attention_mask: Ones
    """int8, (tokens,): ones; rows are not padded here."""
    trained: dict[str, int]
    """Trained tokens by kind."""
    parts: tuple[Stretch, ...] = ()
    """The stretches of the rendered row that it holds; none: all of it."""
    cut: int = 0
    """Tokens that `max_length` cut away."""

    @property
    def source(self) -> str:
        return self.id.partition("#")[0]

    def measures(self) -> Mapping[str, int]:
        kinds = {f"trained {kind}": n for kind, n in self.trained.items()}
        return {"tokens": len(self.input_ids), "trained": sum(self.trained.values()), **kinds}


class MixedRow(Row, frozen=True, kw_only=True):
    """A sequence of a mixture as a trainer reads it: one row, or several end to end."""

    split: str
    rows: tuple[str, ...]
    """The masked rows that it holds, in order,"""
    sources: tuple[str, ...]
    """and the source of each."""
    input_ids: Ids
    """int32, (tokens,)"""
    labels: Ids
    """int32, (tokens,): the id where it is learned, -100 where it is not."""
    position_ids: Ids
    """int32, (tokens,): from 0 in each row."""
    seq_lengths: Ids
    """int32, (rows,): tokens of each row."""

    def measures(self) -> Mapping[str, int]:
        learned = int((self.labels != -100).sum())
        return {
            "tokens": len(self.input_ids),
            "trained": learned,
            "mixed rows": len(self.rows),
            self.split: len(self.rows),
        }


Severity = Literal["error", "warning"]


class Finding(Row, frozen=True, kw_only=True):
    """What an audit has to say of one row."""

    audit: str
    """A row of `auditing.AUDITS`."""
    severity: Severity
    row: str
    """The id of the rendered row."""
    message: int = -1
    detail: str


class Reject(Row, frozen=True, kw_only=True):
    """A row that left the pipeline, with its reason."""

    stage: str
    reason: str
    """A short code that can be counted: `invalid_json`, `no_target`, `too_long`."""
    detail: str
    """File, line, field and cure, for people."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a stored partition: what it holds, and what it was made from."""

    asset: str
    batch: str
    code_version: str
    data_version: str
    """`<code version>.<hash of the logical rows and rejects>`"""
    inputs: dict[str, str] = {}
    """Upstream asset -> the data version it had. `file` -> the hash of the batch file, for prompts."""
    rows_in: int | None = None
    """Upstream rows, where each must be kept or rejected."""
    rows: int
    rejects: dict[str, int] = {}
    """By reason."""
    measures: dict[str, int] = {}
    """Sums of the rows' own."""
    rows_file: str
    rejects_file: str
    bytes: int
    previous: "Manifest | None" = None
    """What these rows replaced: kept while they stand, so that both can be compared."""


class Shard(Row, frozen=True, kw_only=True):
    """What a batch gives one config of the dataset, as published. `id` is `<config>/<batch>`."""

    config: str
    batch: str
    rows: dict[str, int]
    """By split."""
    root: str
    """sha256 of the logical rows, whatever wrote the files."""
    files: dict[str, str]
    """Path in the dataset -> sha256 of the file."""
    target: dict[str, Any] = {}
    """The settings that it was rendered for."""
    renderer: str = ""
    """What rendered it: a hash of how it behaves."""
    tools: tuple[dict[str, Any], ...] = ()
    """The tool specs that its rows were offered, each once."""
    summary: dict[str, Any] = {}
    """What the audits counted."""
    sources: dict[str, str] = {}
    """The rows' hash of every partition on the way to it: what code made them is no part of a dataset."""
    measured: dict[str, int] = {}
    """What these partitions measure: messages, tokens, trained tokens by kind."""
    rejects: dict[str, int] = {}
    """Rows that left on the way to this shard, by stage and reason."""

    def measures(self) -> Mapping[str, int]:
        return {"shards": 1}


Rows = Prompt | Trace | Conversation | RenderedRow | MaskedRow | MixedRow | Finding | Shard
