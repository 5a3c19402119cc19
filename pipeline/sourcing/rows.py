"""Rows that others wrote: data sets of the Hub or in memory, Parquet files, and the files of a folder."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, IterableDataset, load_dataset
from huggingface_hub import snapshot_download

from pipeline.errors import SettingsError, TraceError
from pipeline.records import SESSIONS

Fields = Mapping[str, Any]
SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".jsonl.zst", ".jsonl.gz")
"""Of files that are read out of a folder."""
BATCH = 256


def local_files(source: str | Path) -> list[Path] | None:
    """The file, or the files below the folder; None where there is neither."""
    path = Path(source)
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES) and file.is_file())
    return [path] if path.is_file() else None


def hub_sessions(source: str, *, revision: str | None, token: str | None) -> list[Path]:
    """Raw session files of a data set of the Hub."""
    folder = snapshot_download(
        source, repo_type="dataset", revision=revision, token=token, allow_patterns=list(SESSIONS)
    )
    return local_files(folder) or []


def read_parquet(file: Path) -> Iterator[Fields]:
    """Every row of a file, a few at a time. Raises TraceError for one that is none."""
    try:
        with pq.ParquetFile(file, pre_buffer=False) as parquet:
            structs = _structs(parquet.schema_arrow)
            for batch in parquet.iter_batches(BATCH):
                yield from (_unpadded_row(row, structs) for row in batch.to_pylist())
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TraceError("unreadable", f"{file.name}: no whole Parquet file: {error}; write it again") from error


def read_dataset(
    source: str | Dataset | DatasetDict, *, split: str, revision: str | None, token: str | None
) -> Iterator[tuple[str, Fields]]:
    """Every row of one split as (the data set's name, its fields). What only pads a struct of Arrow's is no field."""
    name = source if isinstance(source, str) else "row"
    data = load_dataset(source, split=split, revision=revision, token=token) if isinstance(source, str) else source
    if isinstance(data, DatasetDict):
        if split not in data:
            raise SettingsError(f"{name}: no split {split!r}; it has {', '.join(map(str, data))}")
        data = data[split]
    if isinstance(data, IterableDataset) or not isinstance(data, Dataset):
        raise SettingsError(f"{name}: {type(data).__name__} is no Dataset: load one split of it, not streaming")
    structs = _structs(data.data.schema)
    for row in data:
        yield name, _unpadded_row(dict(row), structs)


def _structs(schema: pa.Schema) -> set[str]:
    return {field.name for field in schema if "struct<" in str(field.type)}


def _unpadded_row(row: Fields, structs: set[str]) -> Fields:
    return {key: _unpadded(value) if key in structs else value for key, value in row.items()}


def _unpadded(value: Any) -> Any:
    """A value without the nulls that Arrow gives to the fields of other rows' structs."""
    if isinstance(value, Mapping):
        return {key: _unpadded(one) for key, one in value.items() if one is not None}
    return [_unpadded(one) for one in value] if isinstance(value, list) else value
