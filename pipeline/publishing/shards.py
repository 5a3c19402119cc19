"""The rows of the dataset: tensors that trainers read, and conversations from which they can be made again."""

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pipeline.columns import RowWriter
from pipeline.errors import PublicationRefused
from pipeline.publishing.proofs import conversation_sha, ids_sha, mask_sha, raw_sha, root
from pipeline.records import Conversation, Flaw, Ids, MaskedRow, Ones, Reject, Row, Trace
from renderers.messages import Message, Part, ToolCall, text, tojson

TRACES, CONVERSATIONS = "traces", "conversations"
"""The configs that hold sessions and messages; every other one is a target."""
TRAIN = "train"
R = TypeVar("R", bound=Row)


class Tensors(Row, frozen=True, kw_only=True):
    """A row of a target's config. The hashes are those of `proofs`."""

    conversation_id: str
    input_ids: Ids
    labels: Ids
    attention_mask: Ones
    raw_sha: str
    conversation_sha: str
    renderer: str
    ids_sha: str
    mask_sha: str


class Session(Row, frozen=True, kw_only=True):
    """A row of the config `traces`, in the columns by which the Hub knows sessions of agents."""

    harness: str
    prompt: str
    trace: str
    """The session's lines, without what must not leave."""
    file_path: str
    prompt_id: str
    raw_sha: str
    """Of the session as the agent wrote it: the hash of `trace` where nothing had to go."""


class Function(msgspec.Struct, frozen=True):
    name: str
    arguments: str
    """JSON, as the model wrote it."""


class Call(msgspec.Struct, frozen=True):
    id: str | None
    type: str
    function: Function


class Said(msgspec.Struct, frozen=True):
    """A message in the Hub's shape."""

    role: str
    content: str
    """Parts of text are joined; content with other parts is the JSON of them."""
    reasoning_content: str | None
    tool_calls: tuple[Call, ...]
    tool_call_id: str | None
    name: str | None
    weight: float | None
    parts: str | None
    """JSON of the content's parts, where it has parts."""


class Dialog(Row, frozen=True, kw_only=True):
    """A row of the config `conversations`."""

    messages: tuple[Said, ...]
    tools: str
    """JSON: a list of tool specs."""
    flaws: str
    """JSON: messages that are not all of what the model wrote, with the reason; they are not trained."""
    date: dt.date | None
    trace_id: str
    prompt_id: str
    window: int
    format: str
    agent_version: str | None
    model: str | None
    status: str
    raw_sha: str
    conversation_sha: str


Place = str | Reject
"""The split of a conversation, or why it is in none."""


class Sourced(msgspec.Struct, frozen=True):
    """A conversation, and what its rows carry of where they came from."""

    conversation: Conversation
    raw_sha: str
    place: Place

    @property
    def id(self) -> str:
        return self.conversation.id


def origins(
    conversations: Iterable[Conversation], traces: Iterable[Trace], places: Mapping[str, Place]
) -> Iterator[Sourced]:
    """Each conversation beside its trace: both are in one order."""
    for conversation, trace in beside(conversations, traces, "trace_id"):
        yield Sourced(conversation, raw_sha(trace), places[conversation.id])


def beside(rows: Iterable[R], others: Iterable[Any], name: str) -> Iterator[tuple[R, Any]]:
    """Each row with the other whose id it names; the others are in the order of the rows, and each may have several."""
    rest = iter(others)
    held = next(rest, None)
    for row in rows:
        while held is not None and held.id != getattr(row, name):
            held = next(rest, None)
        if held is None:
            raise PublicationRefused(f"row {row.id}: there is no {getattr(row, name)} that it could be made of")
        yield row, held


def split_of(conversation: Conversation, splits: Mapping[str, float]) -> str:
    """The split of a conversation: chance, but the same for everything of one repository, or else of one prompt."""
    group = conversation.repository or conversation.prompt_id
    drawn = int.from_bytes(blake2b(str(group).encode(), digest_size=8).digest()) / 2**64
    for name, share in sorted(splits.items()):
        if drawn < share:
            return name
        drawn -= share
    return TRAIN


def tensors(rows: Iterable[MaskedRow], made_of: Iterable[Sourced], renderer: str) -> Iterator[tuple[Place, Tensors]]:
    """Masked rows as they are published, each with its place."""
    for row, origin in beside(rows, made_of, "conversation_id"):
        yield (
            origin.place,
            Tensors(
                id=row.id,
                conversation_id=row.conversation_id,
                input_ids=row.input_ids,
                labels=row.labels,
                attention_mask=row.attention_mask,
                raw_sha=origin.raw_sha,
                conversation_sha=conversation_sha(origin.conversation),
                renderer=renderer,
                ids_sha=ids_sha(row.input_ids),
                mask_sha=mask_sha(row.labels),
            ),
        )


def session(trace: Trace, clean: bytes) -> Session:
    """A session as it is published."""
    return Session(
        id=trace.id,
        harness=trace.format,
        prompt=trace.prompt,
        trace=clean.decode("utf-8", "replace"),
        file_path=trace.files[0].name,
        prompt_id=trace.prompt_id,
        raw_sha=raw_sha(trace),
    )


PLAIN = ("id", "date", "trace_id", "prompt_id", "window", "format", "agent_version", "model", "status")
"""Fields of a conversation that are published as they are."""


def dialogs(rows: Iterable[Sourced]) -> Iterator[tuple[Place, Dialog]]:
    """Conversations as they are published, each with its place."""
    for origin in rows:
        row = origin.conversation
        yield (
            origin.place,
            Dialog(
                messages=tuple(map(_said, row.messages)),
                tools=tojson(row.tools),
                flaws=msgspec.json.encode(row.flaws).decode(),
                raw_sha=origin.raw_sha,
                conversation_sha=conversation_sha(row),
                **{name: getattr(row, name) for name in PLAIN},
            ),
        )


ABOUT = ("agent ", "format ", "model ", "status ")
"""How counts of where conversations come from begin."""


def about(row: Conversation | Dialog) -> Iterator[str]:
    """What a conversation counts for in its shard."""
    agent = " ".join(filter(None, (row.format, row.agent_version)))
    yield f"agent {agent}"
    yield f"format {row.format}"
    yield f"status {row.status}"
    if row.model:
        yield f"model {row.model}"


def conversation_of(row: Dialog) -> Conversation:
    """All of a conversation that a renderer is told. Raises ValueError where the row is broken."""
    return Conversation(
        messages=tuple(map(_message, row.messages)),
        tools=tuple(json.loads(row.tools)),
        flaws=msgspec.json.decode(row.flaws, type=tuple[Flaw, ...]),
        **{name: getattr(row, name) for name in PLAIN},
    )


def _said(message: Message) -> Said:
    content = message.content
    parts = None if isinstance(content, str) else tojson(msgspec.to_builtins(content))
    only_text = isinstance(content, str) or all(part.type == "text" for part in content)
    return Said(
        role=message.role,
        content=text(content) if only_text else str(parts),
        reasoning_content=message.reasoning,
        tool_calls=tuple(Call(c.id, "function", Function(c.name, c.arguments)) for c in message.tool_calls),
        tool_call_id=message.tool_call_id,
        name=message.name,
        weight=message.weight,
        parts=parts,
    )


def _message(said: Said) -> Message:
    return Message(
        role=said.role,  # pyright: ignore[reportArgumentType]
        content=said.content if said.parts is None else msgspec.json.decode(said.parts, type=tuple[Part, ...]),
        reasoning=said.reasoning_content,
        tool_calls=tuple(ToolCall(c.function.name, c.function.arguments, c.id) for c in said.tool_calls),
        tool_call_id=said.tool_call_id,
        name=said.name,
        weight=said.weight,
    )


class Table(msgspec.Struct, frozen=True):
    """Files of one config and batch."""

    rows: dict[str, int]
    """By split."""
    root: str
    files: tuple[str, ...]
    """Paths in the dataset."""


def shard_path(config: str, batch: str, split: str = TRAIN) -> str:
    """Where a table is in the dataset."""
    return f"{config}/{split}/{batch}.parquet"


def write_table(folder: Path, rows: Iterable[tuple[Place, R]], row: type[R], *, config: str, batch: str) -> Table:
    """A Parquet file a split, below `folder`, of what is in one."""
    writers: dict[str, RowWriter] = {}
    with ExitStack() as stack:
        for split, one in rows:
            if isinstance(split, Reject):
                continue
            if split not in writers:
                path = folder / shard_path(config, batch, split)
                path.parent.mkdir(parents=True, exist_ok=True)
                writers[split] = stack.enter_context(RowWriter(path, row, published=True))
            writers[split].add(one)
    return Table(
        rows={split: writer.rows for split, writer in sorted(writers.items())},
        root=root({split: writer.digest for split, writer in writers.items()}),
        files=tuple(shard_path(config, batch, split) for split in sorted(writers)),
    )
