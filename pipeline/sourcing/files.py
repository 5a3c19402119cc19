"""Batch files: JSONL, one prompt a line, its fields those of `records.Prompt`."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import PromptFileError
from pipeline.records import Prompt, Reject

FIELDS = tuple(field for field in Prompt.__struct_fields__ if field not in ("id", "line"))
BOM = b"\xef\xbb\xbf"


class LineError(ValueError):
    """A line that is no prompt."""

    def __init__(self, reason: str, why: str, *, field: str = ""):
        super().__init__(why)
        self.reason, self.field = reason, field


def read_batch(path: Path) -> Iterator[Prompt | Reject]:
    """Its prompts, and the lines that are none. Raises PromptFileError for a file that can be no batch file at all."""
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        try:
            prompt = _prompt(line, number)
            if prompt.id in seen:
                raise LineError("duplicate", f"the same task as line {seen[prompt.id]}; drop one of them")
        except LineError as error:
            where = f"{path.name}:{number}"
            field = f":{error.field}" if error.field else ""
            yield Reject(id=where, stage="prompts", reason=error.reason, detail=f"{where}{field}: {error}")
        else:
            seen[prompt.id] = number
            yield prompt


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that hold something, from 1. They end with LF only: U+2028 and its like are text."""
    try:
        with path.open("rb") as file:
            if b"\0" in file.peek():
                raise PromptFileError(f"{path}:1: no text; write it as UTF-8, one JSON object a line")
            for number, line in enumerate(file, 1):
                if line := line.removeprefix(BOM if number == 1 else b"").strip():
                    yield number, line
    except OSError as error:
        raise PromptFileError(f"{path}: {error.strerror}; a batch file is a readable .jsonl file") from error


def _prompt(line: bytes, number: int) -> Prompt:
    fields = _fields(line)
    try:
        return msgspec.convert({**fields, "id": _id(fields), "line": number}, Prompt)
    except msgspec.ValidationError as error:
        why, _, field = str(error).partition(" - at `$.")
        raise LineError("invalid_field", f"{why}; correct it", field=field.rstrip("`")) from error


def _fields(line: bytes) -> dict[str, Any]:
    """The fields that are set: null is as good as absent."""
    try:
        raw = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LineError("invalid_json", f"{error}; write one JSON object a line") from error
    if not isinstance(raw, dict):
        raise LineError("invalid_json", "no JSON object; write one a line, with a `prompt`")
    for field in raw:
        if field not in FIELDS:
            raise LineError("unknown_field", f"no field of a prompt; these are: {', '.join(FIELDS)}", field=field)
    return {field: value for field, value in raw.items() if value is not None}


def _id(fields: dict[str, Any]) -> str:
    """From all that makes a run differ; `metadata` does not."""
    told = {"agent": "replay", **{field: value for field, value in fields.items() if field != "metadata"}}
    return "p-" + blake2b(msgspec.json.encode(told, order="sorted"), digest_size=6).hexdigest()
