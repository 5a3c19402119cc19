"""How prompt files are written: JSONL, JSON, CSV and plain text, each as records with the line where they begin.

A record is an object that was read, or a `LineError`: one bad line does not spoil the others.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import PromptFileError

BOM = b"\xef\xbb\xbf"
CELL_LIMIT = 1 << 27
"""Characters of one cell of a CSV file."""
STRUCTURED = ("follow_up_prompts", "sampling", "metadata")
"""Fields that a cell of a CSV file holds as JSON."""
GAP = re.compile(r"[\s,]*")


class LineError(ValueError):
    """A line that is no prompt."""

    def __init__(self, reason: str, why: str, *, field: str = ""):
        super().__init__(why)
        self.reason, self.field = reason, field


Record = Mapping[str, Any] | LineError
Records = Iterator[tuple[int, Record]]


def records(path: Path) -> Records:
    """Each record of a prompt file and its line, from 1. Raises PromptFileError for a file that can be none at all."""
    try:
        data = path.read_bytes().removeprefix(BOM)
    except OSError as error:
        raise PromptFileError(f"{path}: {error.strerror}; a batch is a readable file") from error
    if b"\0" in data:
        raise PromptFileError(f"{path}:1: no text; write it as UTF-8")
    return READERS[path.suffix](path, data)


def jsonl(path: Path, data: bytes) -> Records:
    """An object a line. Lines end with LF only: U+2028 and its like are text."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if line := line.strip():
            try:
                yield number, _object(msgspec.json.decode(line), "write one JSON object a line")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield number, LineError("invalid_json", f"{error}; write one JSON object a line")


def json_list(path: Path, data: bytes) -> Records:
    """A list of objects, alone or as `prompts` of an object; a text in it is a prompt."""
    text = _decoded(path, data)
    decoder, held = json.JSONDecoder(), re.match(r'\s*(\{\s*"prompts"\s*:\s*)?\[', text)
    if held is None:
        raise PromptFileError(f'{path}:1: no list of prompts; write [...] or {{"prompts": [...]}}')
    at = held.end()
    while True:
        at = GAP.match(text, at).end()  # pyright: ignore[reportOptionalMemberAccess]
        if text[at : at + 1] == "]":
            return
        line = text.count("\n", 0, at) + 1
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise PromptFileError(f"{path}:{line}: no JSON: {error}; correct it") from error
        yield line, {"prompt": value} if isinstance(value, str) else _object(value, "write objects into the list")


def comma_separated(path: Path, data: bytes) -> Records:
    """A row a record, below a row of field names; an empty cell is none. Lists and objects stand in cells as JSON."""
    csv.field_size_limit(CELL_LIMIT)
    rows = csv.DictReader(_decoded(path, data).splitlines(keepends=True), strict=True)
    begins = 2
    try:
        for row in rows:
            begins, line = rows.line_num + 1, begins
            yield line, _cells(row)
    except csv.Error as error:
        raise PromptFileError(f"{path}:{begins}: no CSV: {error}; correct it") from error


def plain(path: Path, data: bytes) -> Records:
    """A prompt a line, but for comments, which begin with `#`."""
    for number, line in enumerate(_decoded(path, data).split("\n"), 1):
        if (line := line.strip()) and not line.startswith("#"):
            yield number, {"prompt": line}


READERS: Mapping[str, Callable[[Path, bytes], Records]] = {
    ".jsonl": jsonl,
    ".ndjson": jsonl,
    ".json": json_list,
    ".csv": comma_separated,
    ".txt": plain,
}
"""By the end of a file's name; as `targets.BATCH_FILES`."""


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PromptFileError(f"{path}:{line}: no text: {error.reason}; write it as UTF-8") from error


def _object(value: Any, cure: str) -> Record:
    if isinstance(value, dict):
        return value
    return LineError("invalid_json", f"no JSON object; {cure}, with a `prompt`")


def _cells(row: Mapping[str | None, Any]) -> Record:
    if None in row:
        return LineError("invalid_field", "more cells than the first row has; quote commas")
    told: dict[str, Any] = {}
    for field, cell in row.items():
        if field and cell:
            try:
                told[field] = msgspec.json.decode(cell) if field in STRUCTURED else cell
            except (msgspec.DecodeError, RecursionError) as error:
                return LineError("invalid_field", f"{error}; write it as JSON", field=field)
    return told
