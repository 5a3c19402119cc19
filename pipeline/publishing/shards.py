"""The files of the dataset: one Parquet file a config and batch, in columns that trainers and `datasets` read."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from pipeline.columns import write_rows
from pipeline.records import Conversation, Ids, Manifest, MaskedRow, Ones, Row, Shard
from renderers.messages import Message, text, tojson

CONVERSATIONS = "conversations"
"""The config that holds the messages; every other one is a target."""
SPLIT = "train"


class Tensors(Row, frozen=True, kw_only=True):
    """A row of a target's config."""

    conversation_id: str
    input_ids: Ids
    labels: Ids
    attention_mask: Ones


class Function(msgspec.Struct, frozen=True):
    name: str
    arguments: str
    """JSON, as the model wrote it."""


class Call(msgspec.Struct, frozen=True):
    id: str | None
    type: str
    function: Function


class Said(msgspec.Struct, frozen=True):
    """A message in the Hub's shape. Parts of text are joined; content with other parts is the JSON of them."""

    role: str
    content: str
    reasoning_content: str | None
    tool_calls: tuple[Call, ...]
    tool_call_id: str | None
    name: str | None


class Dialog(Row, frozen=True, kw_only=True):
    """A row of the config `conversations`."""

    messages: tuple[Said, ...]
    tools: str
    """JSON: a list of tool specs."""
    trace_id: str
    prompt_id: str
    window: int
    format: str
    agent_version: str | None
    model: str | None
    status: str


def tensors(rows: Iterable[MaskedRow]) -> Iterator[Tensors]:
    """Masked rows as they are published."""
    fields = Tensors.__struct_fields__
    return (Tensors(**{name: getattr(row, name) for name in fields}) for row in rows)


def dialogs(rows: Iterable[Conversation]) -> Iterator[Dialog]:
    """Conversations as they are published."""
    plain = [name for name in Dialog.__struct_fields__ if name not in ("messages", "tools")]
    for row in rows:
        said = tuple(map(_said, row.messages))
        yield Dialog(messages=said, tools=tojson(row.tools), **{name: getattr(row, name) for name in plain})


def _said(message: Message) -> Said:
    content = message.content
    only_text = isinstance(content, str) or all(part.type == "text" for part in content)
    return Said(
        role=message.role,
        content=text(content) if only_text else tojson(msgspec.to_builtins(content)),
        reasoning_content=message.reasoning,
        tool_calls=tuple(Call(c.id, "function", Function(c.name, c.arguments)) for c in message.tool_calls),
        tool_call_id=message.tool_call_id,
        name=message.name,
    )


def shard_path(config: str, batch: str) -> str:
    """Where a shard is in the dataset."""
    return f"{config}/{SPLIT}/{batch}.parquet"


def write_shard(
    folder: Path, rows: Iterable[Tensors] | Iterable[Dialog], row: type[Row], *, config: str, made: Sequence[Manifest]
) -> Shard:
    """One file below `folder`. `made`: the partitions on the way to it, in order."""
    path = shard_path(config, made[-1].batch)
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    written = write_rows(folder / path, rows, row)
    return Shard(
        id=path,
        config=config,
        rows=written.rows,
        digest=written.digest,
        sources={step.asset: step.data_version.rpartition(".")[2] for step in made},
        measured={name: n for step in made for name, n in step.measures.items()},
        rejects={f"{step.asset}: {reason}": n for step in made for reason, n in step.rejects.items()},
    )
