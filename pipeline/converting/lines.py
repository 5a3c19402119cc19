"""The JSON lines of a byte-raw session file, decoded and validated one by one.

Lines end with LF only: U+2028 and its like are text. A last line that a killed process left half written is no error.
"""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any, TypeVar

import msgspec

from pipeline.errors import TraceError
from pipeline.records import Place, TraceFile

T = TypeVar("T")

SURROGATE = re.compile(rb"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)")
"""An escaped backslash, a pair of surrogates, or (the group) half a pair: JavaScript cuts anywhere and writes that."""
NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def day_of(timestamp: str) -> date | None:
    """The day of an ISO timestamp, as it is spelled; None if it is none."""
    try:
        return date.fromisoformat(timestamp[:10])
    except ValueError:
        return None


def read_lines(file: TraceFile, shape: type[T]) -> tuple[list[tuple[Place, T]], bool]:
    """Every line in its place, and whether a torn last line was left out. Raises TraceError naming file and line."""
    if not file.data.strip():
        raise TraceError("empty", f"{file.name} is empty; collect the session again, or drop its prompt")
    if b"\0" in file.data:
        raise TraceError("not_text", f"{file.name} is not a text file; point to the session's .jsonl file")
    *whole, (last, rest) = _numbered(file)
    records = [(place, decode(line, shape, place)) for place, line in whole if line.strip()]
    if not rest.strip():
        return records, False
    try:
        return [*records, (last, decode(rest, shape, last))], False
    except TraceError as error:
        if error.reason == "invalid_json" and records:
            return records, True
        raise


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


def _numbered(file: TraceFile) -> Iterator[tuple[Place, bytes]]:
    for number, line in enumerate(file.data.split(b"\n"), 1):
        yield Place(file.name, number), _repaired(line)


def _repaired(line: bytes) -> bytes:
    """Half a pair of surrogates is no text: it becomes U+FFFD, as when JavaScript encodes it."""
    if b"\\ud" not in line and b"\\uD" not in line:
        return line
    return SURROGATE.sub(lambda found: rb"\ufffd" if found[1] else found[0], line)
