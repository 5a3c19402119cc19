"""Rows that others wrote: data sets of the Hub or in memory, Parquet files, and the files of a folder."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, IterableDataset, load_dataset, load_from_disk
from datasets.exceptions import DatasetsError
from huggingface_hub import snapshot_download

from pipeline.errors import SettingsError, TraceError
from pipeline.records import SESSIONS

Fields = Mapping[str, Any]
SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".jsonl.zst", ".jsonl.gz")
"""Of files that are read out of a folder."""
SHARD = re.compile(r"(\w+)-\d{5}-of-\d{5}\.\w+")
"""What a file of one split is called, as `datasets` and the Hub write it."""
SAVED = ("dataset_dict.json", "state.json")
"""What lies in a folder that `datasets` has saved."""
BATCH = 256


def local_files(source: str | Path, *, split: str) -> list[Path] | None:
    """The file, or the files below the folder that belong to the split, or to none; None where there is neither.

    A file's split is in its name, or is the folder that it lies in, where one beside it is called `train` or as asked
    for. Raises SettingsError where all splits are others.
    """
    path = Path(source)
    if not path.is_dir():
        return [path] if path.is_file() else None
    files = sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES) and file.is_file())
    splits = {file.parent.parent for file in files if file.parent.name in ("train", split) and file.parent != path}
    named = {file: file.parent.name for file in files if file.parent.parent in splits}
    named |= {file: found[1] for file in files if (found := SHARD.fullmatch(file.name))}
    if named and split not in named.values():
        raise SettingsError(f"{path}: no split {split!r}; it has {', '.join(sorted(set(named.values())))}")
    return [file for file in files if named.get(file, split) == split]


def saved(source: str | Path) -> Dataset | DatasetDict | None:
    """What `save_to_disk` has left in a folder; None where it has not."""
    return load_from_disk(str(source)) if any((Path(source) / name).is_file() for name in SAVED) else None


def hub_sessions(source: str, *, split: str, revision: str | None, token: str | None) -> list[Path]:
    """Raw session files of a data set of the Hub. Raises SettingsError where there is none."""
    with _reached(source):
        folder = snapshot_download(
            source, repo_type="dataset", revision=revision, token=token, allow_patterns=list(SESSIONS)
        )
    return local_files(folder, split=split) or []


@contextmanager
def _reached(source: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, DatasetsError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        cure = "name a file, a folder, or a dataset of the Hub; of one that holds sessions, say their format"
        raise SettingsError(f"{source}: {why}; {cure}") from error


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
    source: str | Dataset | DatasetDict, *, split: str, config: str | None, revision: str | None, token: str | None
) -> Iterator[tuple[str, Fields]]:
    """Every row of one split as (the data set's name, its fields). What only pads a struct of Arrow's is no field."""
    name = source if isinstance(source, str) else "row"
    data = source
    if isinstance(data, str):
        with _reached(data):
            data = load_dataset(data, config, split=split, revision=revision, token=token)
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
