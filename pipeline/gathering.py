"""What trainers bring: rows of files, of the Hub, of memory, alone or mixed, as conversations or as rejects."""

import json
import random
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from datasets import Dataset

from pipeline.converting import FORMATS, convert
from pipeline.errors import PipelineError, SettingsError
from pipeline.mixing import counts, shares
from pipeline.records import Conversation, Reject, Trace, TraceFile
from pipeline.sourcing.rows import Fields, local_files, read_dataset, read_lines
from renderers.messages import from_hub

T = TypeVar("T")
Source = str | Path | Dataset
"""A file or folder, a data set of the Hub, or one in memory."""
Sources = Source | Sequence[Source] | Mapping[str, Any]
Entries = dict[str, Mapping[str, Any]]
SETTINGS = ("source", "percentage", "proportion", "weight", "max_examples")
"""Of a source in a mixture."""


def read(source: Source, *, format: str | None, **where: Any) -> Iterator[Conversation | Reject]:  # noqa: A002
    """The conversations of a source."""
    files = None if isinstance(source, Dataset) else local_files(source)
    if files is None:
        data = source if isinstance(source, Dataset) else str(source)
        return (_conversation(name, row) for name, row in read_dataset(data, **where))
    if format is None:
        return (_conversation(name, row) for file in files for name, row in read_lines(file))
    return convert(_trace(file, format) for file in files)


def _trace(file: Path, format: str) -> Trace:  # noqa: A002
    data = (TraceFile(file.name, file.read_bytes()),)
    return Trace(id=file.stem, prompt_id=file.stem, prompt="", agent="replay", format=format, files=data)


def _conversation(name: str, row: Fields | str) -> Conversation | Reject:
    """A row of others as a conversation."""
    if isinstance(row, str):
        return Reject(id=name, stage="conversations", reason="invalid_json", detail=row)
    if not row.get("messages"):
        cure = f"raw sessions need format=, one of {', '.join(FORMATS)}"
        return Reject(id=name, stage="conversations", reason="no_messages", detail=f"it has no `messages`; {cure}")
    try:
        messages, tools = from_hub(row["messages"]), row.get("tools") or ()
        tools = json.loads(tools) if isinstance(tools, str) else tools
        return Conversation(
            id=str(row.get("id") or name),
            trace_id=name,
            prompt_id=name,
            window=0,
            messages=messages,
            tools=tuple(tools),
            tools_recorded="tools" in row,
            format="messages",
            metadata=dict(row.get("metadata") or {}),
        )
    except (msgspec.ValidationError, KeyError, TypeError, ValueError) as error:
        return Reject(id=name, stage="conversations", reason="invalid_messages", detail=f"messages: {error!r}")


def entries_of(source: Sources, limit: int | None) -> tuple[Entries, int | None]:
    """Every source by name, and how many rows there may be of them all."""
    if isinstance(source, (str, Path, Dataset)):
        return {"source": {"source": source}}, limit
    if not isinstance(source, Mapping):
        return {f"source {number}": {"source": one} for number, one in enumerate(source)}, limit
    limit = source.get("max_examples") if limit is None else limit
    listed = {name: one for name, one in source.items() if name != "max_examples"}
    named = {name: one if isinstance(one, Mapping) else {"source": one} for name, one in listed.items()}
    for name, one in named.items():
        if unknown := set(one) - set(SETTINGS):
            raise SettingsError(f"source {name}: no setting {min(unknown)!r}; a source has a share and max_examples")
        if "source" not in one:
            raise SettingsError(f"source {name}: it has no `source`: a path, a data set of the Hub, or a Dataset")
    return named, limit


def mixed(entries: Entries, found: Sequence[list[T]], limit: int | None, seed: int) -> list[T]:
    """Rows of all sources in their shares; several sources are shuffled together."""
    if empty := [name for name, rows in zip(entries, found, strict=True) if not rows]:
        raise PipelineError(f"{empty[0]}: no row of it is left to learn from; the warnings say why each one left")
    if wanted := shares(entries):
        taken = counts([len(rows) for rows in found], wanted, limit)
        found = [
            chosen(rows, many, seed + number) for number, (rows, many) in enumerate(zip(found, taken, strict=True))
        ]
    rows = [row for rows in found for row in rows]
    if len(found) > 1:
        random.Random(seed).shuffle(rows)
    return chosen(rows, limit, seed)


def chosen(rows: Iterable[T], many: int | None, seed: int) -> list[T]:
    """So many of the rows, in their order."""
    rows = list(rows)
    if many is None or many >= len(rows):
        return rows
    return [rows[k] for k in sorted(random.Random(seed).sample(range(len(rows)), many))]


def kept(rows: Iterable[T | Reject], *, strict: bool) -> Iterator[T]:
    """The rows that stay, and a warning of those that do not."""
    left: Counter[str] = Counter()
    first: dict[str, str] = {}
    for row in rows:
        if not isinstance(row, Reject):
            yield row
            continue
        if strict:
            raise PipelineError(f"{row.id}: {row.reason}: {row.detail}")
        left[row.reason] += 1
        first.setdefault(row.reason, f"{row.id}: {row.detail}")
    if left:
        told = "; ".join(f"{number} {reason}, the first {first[reason]}" for reason, number in left.most_common())
        warnings.warn(f"{left.total()} rows left: {told}", stacklevel=4)
