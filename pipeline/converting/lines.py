"""The JSON lines of a byte-raw session file, decoded and validated one by one, never more than one in memory.

Lines end with LF only: U+2028 and its like are text. A last line that a killed process left half written is no error.
A file may be compressed as agents compress what they archive (zstd, gzip).
"""

import gzip
import io
import re
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, BinaryIO, TypeVar

import msgspec
import pyarrow as pa

from pipeline.errors import TraceError
from pipeline.records import Place, TraceFile

T = TypeVar("T")

LINE_BYTES = 256 << 20
"""A longer line is no line: memory has an end."""
BOM = b"\xef\xbb\xbf"
"""What Windows writes before text: no part of it."""
ZSTD, GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
SURROGATE = re.compile(rb"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)")
"""An escaped backslash, a pair of surrogates, or (the group) half a pair: JavaScript cuts anywhere and writes that."""
NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def day_of(timestamp: str) -> date | None:
    """The day of an ISO timestamp, as it is spelled; None if it is none."""
    try:
        return date.fromisoformat(timestamp[:10])
    except ValueError:
        return None


@contextmanager
def opened(file: TraceFile) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed on the way. Raises TraceError where they cannot be had."""
    try:
        with file.open() as raw:
            start = raw.read(4)
            raw.seek(0)
            if start == ZSTD:
                with pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd") as stream:
                    yield io.BufferedReader(stream)  # pyright: ignore[reportArgumentType]  # a raw stream but in name
            elif start[:2] == GZIP:
                with gzip.open(raw) as stream:
                    yield stream  # pyright: ignore[reportReturnType]
            else:
                yield raw
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError("unreadable", f"{file.name}: {error}; collect the session again") from error


def raw_lines(file: TraceFile) -> Iterator[tuple[Place, int, bytes]]:
    """Every line that holds something: its place, where it begins, itself with half pairs of surrogates repaired.

    Raises TraceError for what is no text, and for a file that holds nothing.
    """
    return ((place, start, repaired(line)) for place, start, line in lines_of(file))


def lines_of(file: TraceFile) -> Iterator[tuple[Place, int, bytes]]:
    """As `raw_lines`, unrepaired."""
    number, start, empty = 0, 0, True
    with opened(file) as stream:
        while line := stream.readline(LINE_BYTES + 1):
            number += 1
            place = Place(file.name, number)
            if number == 1 and line.startswith(BOM):
                start, line = len(BOM), line[len(BOM) :]
            if len(line) > LINE_BYTES or 0 in line:
                raise refused("not_text", place, "no line of a text file; point to the session's .jsonl file")
            if not line.isspace():
                yield place, start, line
                empty = False
            start += len(line)
    if empty:
        raise TraceError("empty", f"{file.name} is empty; collect the session again, or drop its prompt")


def read_lines(file: TraceFile, shape: type[T], torn: Counter[str]) -> Iterator[tuple[Place, T]]:
    """Every line in its place; a torn last line is left out and counted. Raises TraceError naming file and line."""
    for place, _, line in whole_lines(file, torn):
        yield place, decode(line, shape, place)


def whole_lines(file: TraceFile, torn: Counter[str]) -> Iterator[tuple[Place, int, bytes]]:
    """As `raw_lines`, without a torn last line."""
    first = True
    for place, start, line in raw_lines(file):
        if not line.endswith(b"\n") and not first and not _is_json(line):
            torn["torn line"] += 1
            return
        first = False
        yield place, start, line


def decode(line: bytes | msgspec.Raw, shape: type[T] | Any, place: Place) -> T:
    """JSON as `shape`. Raises TraceError, with one reason for what is no JSON and one for JSON of another shape."""
    try:
        if isinstance(line, bytes):
            line.decode()  # the decoder does not look into what it skips, nor into Raw
        return msgspec.json.decode(line, type=shape)
    except msgspec.ValidationError as error:
        raise refused("invalid_field", place, f"{error}; a version of the agent that is not known: drop it") from error
    except NO_JSON as error:
        raise refused("invalid_json", place, f"{error}; the file was edited or damaged: restore it") from error


def refused(reason: str, place: Place, why: str) -> TraceError:
    return TraceError(reason, f"{place.file}:{place.line}: {why}")


def unknown(what: str, place: Place) -> TraceError:
    """Something that the model saw and that we cannot tell: leaving it out would be a lie."""
    return refused("unknown_item", place, f"the model saw a {what}, which no chat message can hold; drop this session")


def at(place: Place, pointer: str, time: str = "") -> Place:
    """A place within a line."""
    return Place(place.file, place.line, pointer, time or place.time)


class Kept(msgspec.Struct, frozen=True):
    """A line that is read again when it is told: its place, and where it lies."""

    place: Place
    start: int
    size: int


class Seekable:
    """A file whose lines are read where they lie, so that a tree of them need not be in memory."""

    def __init__(self, file: TraceFile, stream: BinaryIO):
        self.name, self.stream = file.name, stream

    def read(self, kept: Kept, shape: type[T]) -> T:
        self.stream.seek(kept.start)
        return decode(repaired(self.stream.read(kept.size)), shape, kept.place)


@contextmanager
def seekable(file: TraceFile) -> Iterator[Seekable]:
    """The file's lines by where they lie; a compressed file is unpacked first, to a file if it is large."""
    with opened(file) as stream:
        if isinstance(stream, io.BytesIO | io.BufferedReader) and stream.seekable():
            yield Seekable(file, stream)
            return
        with tempfile.SpooledTemporaryFile(max_size=LINE_BYTES) as unpacked:
            shutil.copyfileobj(stream, unpacked)
            yield Seekable(file, unpacked)  # pyright: ignore[reportArgumentType]


def _is_json(line: bytes) -> bool:
    try:
        line.decode()
        msgspec.json.decode(line)
    except NO_JSON:
        return False
    return True


def repaired(line: bytes) -> bytes:
    """Half a pair of surrogates is no text: it becomes U+FFFD, as when JavaScript encodes it."""
    if b"\\u" not in line or (b"\\ud" not in line and b"\\uD" not in line):
        return line
    return SURROGATE.sub(lambda found: rb"\ufffd" if found[1] else found[0], line)
