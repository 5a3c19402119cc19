"""Batch files: one prompt a record, its fields those of `records.Prompt`; `category` goes to its metadata."""

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from pipeline.errors import PromptFileError
from pipeline.records import Prompt, Reject
from pipeline.sourcing.tables import LineError, Record, records

FIELDS = (*(field for field in Prompt.__struct_fields__ if field not in ("id", "line")), "category")
NAMES = {
    "github_repo": (re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}"), "owner/name"),
    "ref": (re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,199}"), "a branch, a tag or a commit"),
}
"""What becomes an address: its shape, and how people call it."""
DEFAULTED = ("agent", "model", "system", "sampling")
NOTHING: Mapping[str, Any] = MappingProxyType({})


def read_batch(path: Path, defaults: Mapping[str, Any] = NOTHING) -> Iterator[Prompt | Reject]:
    """Its prompts, and the lines that are none. Raises PromptFileError for a file that can be no batch file at all, and
    for one of which no line is even a record.

    `defaults`: what agent, model, system and sampling are where a prompt that is no replay does not say.
    """
    seen: dict[str, int] = {}
    number = 0
    for number, record in records(path):
        try:
            prompt = _prompt(record, number, defaults)
            if prompt.id in seen:
                raise LineError("duplicate", f"the same task as line {seen[prompt.id]}; drop one of them")
        except LineError as error:
            where = f"{path.name}:{number}"
            field = f":{error.field}" if error.field else ""
            yield Reject(id=where, stage="prompts", reason=error.reason, detail=f"{where}{field}: {error}")
        else:
            seen[prompt.id] = number
            yield prompt
    if not number:
        raise PromptFileError(f"{path}: it holds no prompt; write one into it, or remove the file")


def _prompt(record: Record, number: int, defaults: Mapping[str, Any]) -> Prompt:
    fields = _with_defaults(_fields(record), defaults)
    try:
        return msgspec.convert({**fields, "id": _id(fields), "line": number}, Prompt)
    except msgspec.ValidationError as error:
        why, _, field = str(error).partition(" - at `$.")
        raise LineError("invalid_field", f"{why}; correct it", field=field.rstrip("`")) from error


def _fields(record: Record) -> dict[str, Any]:
    """The fields that are set: null is as good as absent."""
    if isinstance(record, LineError):
        raise record
    for field in record:
        if field not in FIELDS:
            raise LineError("unknown_field", f"no field of a prompt; these are: {', '.join(FIELDS)}", field=field)
    told = {field: value for field, value in record.items() if value is not None}
    for field, (shape, name) in NAMES.items():
        if field in told and not (isinstance(told[field], str) and shape.fullmatch(told[field])):
            raise LineError("invalid_field", f"{str(told[field])[:80]!r} is not {name}; correct it", field=field)
    if "ref" in told and "github_repo" not in told:
        raise LineError("invalid_field", "a ref of nothing; set github_repo", field="ref")
    category = told.pop("category", None)
    if category is not None and isinstance(told.get("metadata", {}), dict):
        told["metadata"] = {**told.get("metadata", {}), "category": category}
    return told


def _with_defaults(fields: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What is left out, unless the session is there already."""
    if "session" in fields or fields.get("agent", defaults.get("agent", "replay")) == "replay":
        return {"agent": "replay", **fields}
    told = {field: defaults[field] for field in DEFAULTED if defaults.get(field)}
    if isinstance(fields.get("sampling"), dict):
        fields = {**fields, "sampling": {**told.get("sampling", {}), **fields["sampling"]}}
    return {**told, **fields}


def _id(fields: dict[str, Any]) -> str:
    """From all that makes a run differ; `metadata` does not."""
    told = {field: value for field, value in fields.items() if field != "metadata"}
    return "p-" + blake2b(msgspec.json.encode(told, order="sorted"), digest_size=6).hexdigest()
