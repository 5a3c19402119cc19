"""Conversations that hold what a benchmark asks or answers: so many words in a row of any of its texts."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipeline.errors import SettingsError
from pipeline.mixing.words import told, words
from pipeline.records import Conversation, Reject


class Hit(NamedTuple):
    """A stretch of words that a conversation has in common with a benchmark."""

    conversation: str
    message: int
    words: str
    benchmark: str
    """Where it stands there: `file:line`."""


def benchmark_grams(files: Iterable[Path], size: int) -> dict[str, str]:
    """Every run of so many words of these files, and where it stands first. A text of fewer words counts whole.

    Raises SettingsError for a file that cannot be read.
    """
    grams: dict[str, str] = {}
    for file in files:
        try:
            lines = file.read_bytes().split(b"\n")
        except OSError as error:
            raise SettingsError(f"curate.benchmarks: {file}: {error.strerror}") from error
        for number, line in enumerate(lines, 1):
            for said in _texts(line):
                for gram in _grams(words(said), size):
                    grams.setdefault(gram, f"{file.name}:{number}")
    return grams


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


def _texts(line: bytes) -> Iterator[str]:
    """The texts of a line: those of a JSON value, else the line."""
    try:
        yield from _strings(msgspec.json.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError):
        yield line.decode("utf-8", "replace")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(one)
