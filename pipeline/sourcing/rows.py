"""Rows that others wrote: lines of JSONL files, datasets of the Hub or in memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from datasets import Dataset, IterableDataset, load_dataset

from pipeline.errors import SettingsError

Fields = Mapping[str, Any]


def local_files(source: str | Path) -> list[Path] | None:
    """The file, or the `*.jsonl` files below the folder; None where there is neither."""
    path = Path(source)
    if path.is_dir():
        return sorted(file for file in path.rglob("*.jsonl") if file.is_file())
    return [path] if path.is_file() else None


def read_lines(file: Path) -> Iterator[tuple[str, Fields | str]]:
    """Every line as (where it stands, its fields); a line that is no JSON object as what is wrong with it."""
    for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            fields = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            fields = f"no JSON: {error}"
        yield f"{file.name}:{number}", fields if isinstance(fields, (dict, str)) else "no JSON object"


def read_dataset(
    source: str | Dataset, *, split: str, revision: str | None, token: str | None
) -> Iterator[tuple[str, Fields]]:
    """Every row of a dataset as (where it stands, its fields). What only pads a struct of Arrow's is no field."""
    name = source if isinstance(source, str) else "row"
    data = load_dataset(source, split=split, revision=revision, token=token) if isinstance(source, str) else source
    if isinstance(data, IterableDataset) or not isinstance(data, Dataset):
        raise SettingsError(f"{name}: {type(data).__name__} is no Dataset: load one split of it, not streaming")
    structs = {field.name for field in data.data.schema if "struct<" in str(field.type)}
    for number, row in enumerate(data):
        yield (
            f"{name}:{number}",
            {key: _unpadded(value) if key in structs else value for key, value in dict(row).items()},
        )


def _unpadded(value: Any) -> Any:
    """A value without the nulls that Arrow gives to the fields of other rows' structs."""
    if isinstance(value, Mapping):
        return {key: _unpadded(one) for key, one in value.items() if one is not None}
    return [_unpadded(one) for one in value] if isinstance(value, list) else value
