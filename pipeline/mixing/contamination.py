"""Conversations that hold what a benchmark asks or answers: so many words in a row of any of its texts."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import SettingsError
from pipeline.mixing.words import told, words
from pipeline.records import Conversation, Reject


class Hit(NamedTuple):
    """A stretch of words that a conversation has in common with a benchmark."""

    conversation: str
    message: int
    words: str
    benchmark: str
    """Where it stands there: `file:line`, or the row."""


def benchmark_grams(files: Iterable[Path], size: int) -> dict[str, str]:
    """Every run of so many words of these files, and where it stands first. A text of fewer words counts whole.

    Raises SettingsError for a file that cannot be read, or in which there is nothing to look for.
    """
    grams: dict[str, str] = {}
    for file in files:
        found = [(gram, number) for number, row in _rows(file) for said in row for gram in _grams(words(said), size)]
        if not found:
            raise SettingsError(f"curate.benchmarks: {file}: no text of {SHORTEST} words: it would strike nothing")
        for gram, number in found:
            grams.setdefault(gram, f"{file.name}:{number}")
    return grams


def _rows(file: Path) -> Iterator[tuple[int, Iterable[str]]]:
    """The texts of each row: of Parquet, of a list in a JSON file, else of each line."""
    try:
        if file.suffix == ".parquet":
            yield from ((number, _strings(row)) for number, row in enumerate(pq.read_table(file).to_pylist(), 1))
            return
        data = file.read_bytes()
    except (OSError, pa.ArrowException) as error:
        raise SettingsError(f"curate.benchmarks: {file}: {error}") from error
    if b"\0" in data:
        raise SettingsError(f"curate.benchmarks: {file}: no text; name text, JSON, JSONL or Parquet, unpacked")
    whole = _json(data) if file.suffix == ".json" else None
    if isinstance(whole, list):
        yield from ((number, _strings(row)) for number, row in enumerate(whole, 1))
    elif whole is not None:
        yield 1, _strings(whole)
    else:
        yield from ((number, _texts(line)) for number, line in enumerate(data.split(b"\n"), 1))


def hits(conversations: Iterable[Conversation], grams: Mapping[str, str], size: int) -> Iterator[Hit]:
    """Every message that shares words with a benchmark, by the first of them. What the system is told counts, too."""
    shorter = {len(gram.split()) for gram in grams} | {size}
    for conversation in conversations:
        for index, message in enumerate(conversation.messages):
            said = words(told(message))
            found = (gram for length in shorter for gram in _windows(said, length) if gram in grams)
            if (gram := next(found, None)) is not None:
                yield Hit(conversation.id, index, gram, grams[gram])


def contaminated(found: Iterable[Hit]) -> Iterator[Reject]:
    """One reject a conversation, its hits counted."""
    by_conversation: dict[str, list[Hit]] = {}
    for hit in found:
        by_conversation.setdefault(hit.conversation, []).append(hit)
    for name, own in by_conversation.items():
        detail = f"message {own[0].message} has {own[0].words!r} of {own[0].benchmark}; {len(own)} messages like it"
        yield Reject(id=name, stage="mixture", reason="contaminated", detail=detail)


SHORTEST = 8
"""Words of a benchmark's text that are worth looking for; an answer of one word is in everything."""


def _grams(said: list[str], size: int) -> Iterator[str]:
    if SHORTEST <= len(said) < size:
        yield " ".join(said)
    yield from _windows(said, size)


def _windows(said: list[str], size: int) -> Iterator[str]:
    return (" ".join(said[k : k + size]) for k in range(len(said) - size + 1))


def _json(data: bytes) -> Any:
    """The value; None for what is no JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _texts(line: bytes) -> Iterable[str]:
    """The texts of a line: those of a JSON value, else the line."""
    value = _json(line)
    return [line.decode("utf-8", "replace")] if value is None else _strings(value)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(one)
