"""Rows as columns of a Parquet file: what type each is, how they are written, and read."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.cells import Column, Many, Struct
from pipeline.records import Spans

if TYPE_CHECKING:
    from upath import UPath

T = TypeVar("T")
Folder = Union[Path, "UPath"]
"""On this machine, or in an object store."""
GROUP_BYTES = 8 << 20
"""A row group is written when its rows are about as large; so much is in memory at a time."""
GROUP_ROWS = 4096
BATCH = 1 << 16
"""Values that are encoded at a time: of a thousand, as Arrow has it, the calls are a quarter of the cost."""


def mismatch(row: type[msgspec.Struct], stored: pa.Schema) -> str | None:
    """Why rows of a file cannot be read as these: the field, and what is wrong with it. Fields may have come since, if
    they have a default."""
    return _mismatch(_struct(row), pa.struct(list(stored)), "")


def _mismatch(column: Column, stored: pa.DataType, name: str) -> str | None:
    if isinstance(column, Struct) and pa.types.is_struct(stored):
        return next(filter(None, _mismatches(column, stored, name and f"{name}.")), None)
    if isinstance(column, Many) and pa.types.is_list(stored):
        return _mismatch(column.item, stored.value_type, name)
    return None if stored.equals(column.arrow) else f"{name} is stored as {stored}, and now is {column.arrow}"


def _mismatches(struct: Struct, stored: pa.DataType, above: str) -> Iterator[str | None]:
    there = {field.name: field.type for field in stored}
    needed = {field.name for field in msgspec.structs.fields(struct.of) if field.required}
    yield from (f"{above}{name} is stored, and is no more" for name in sorted(there.keys() - struct.columns.keys()))
    yield from (f"{above}{name} is not stored, and has no default" for name in sorted(needed - there.keys()))
    for name, column in struct.columns.items():
        yield _mismatch(column, there[name], f"{above}{name}") if name in there else None


def schema_of(row: type[msgspec.Struct]) -> pa.Schema:
    """The columns of a row type."""
    return pa.schema(list(_struct(row).arrow))


@cache
def _struct(row: type[msgspec.Struct]) -> Struct:
    return Struct(row)


@cache
def _spelled(dtype: np.dtype) -> str:
    return dtype.str


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _spelled(value.dtype), np.ascontiguousarray(value).data
    return list(value) if isinstance(value, Spans) else value


ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain)


class RowWriter:
    """Rows of one type into a Parquet file, a row group at a time.

    `digest` is of the logical rows: Parquet bytes differ between versions of Arrow, rows do not. `published`: for the
    dataset, with a digest that others may rely on (sha256), in pages that a later version of the file shares.
    """

    def __init__(self, path: Path, row: type[msgspec.Struct], *, published: bool = False):
        self.struct, self.schema = _struct(row), schema_of(row)
        # Ids do not repeat in a way that a dictionary could use, and zstd 1 costs the least time a token.
        # Pages that are cut by what they hold are the same pages where rows before them came or went: the Hub has them.
        # Statistics hold the least and the greatest value: of whole sessions, that is copies, and nobody asks for them.
        self.parquet = pq.ParquetWriter(
            path,
            self.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            use_content_defined_chunking=published,
            write_statistics=published,
            write_batch_size=BATCH,
        )
        self.hash, self.rows = sha256() if published else blake2b(digest_size=10), 0
        self.waiting: list[msgspec.Struct] = []
        self.told = bytearray()
        """What waits, as it is hashed."""
        self.threads, self.writing = ThreadPoolExecutor(2), list[Future[None]]()
        """A group is hashed and written while the next is made: that needs no interpreter."""

    @property
    def digest(self) -> str:
        return self.hash.hexdigest()

    def add(self, row: msgspec.Struct) -> None:
        ENCODER.encode_into(row, self.told, -1)
        self.rows += 1
        self.waiting.append(row)
        if len(self.told) >= GROUP_BYTES or len(self.waiting) >= GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Its rows are let go first: of a whole session, they are another copy."""
        if self.waiting:
            told, self.told = self.told, bytearray()
            large = len(told) > 2 * GROUP_BYTES
            if large:
                self.written()
                self.hash.update(told)
                told = b""
            packed, self.waiting = self.struct.pack(self.waiting), []
            self.written()
            group = pa.RecordBatch.from_struct_array(packed)
            self.writing = [
                self.threads.submit(self.hash.update, told),
                self.threads.submit(self.parquet.write_batch, group),
            ]
            if large:
                self.written()

    def written(self) -> None:
        """Waits for the group that is being written. Raises what went wrong with it."""
        while self.writing:
            self.writing.pop().result()

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        with self.parquet, self.threads:
            if not failed:
                self.flush()
                self.written()


def open_rows(path: Folder) -> pq.ParquetFile:
    """The file, open. `pre_buffer` would hold all of it in memory."""
    return pq.ParquetFile(path if isinstance(path, Path) else path.open("rb"), pre_buffer=False)


def read_rows(file: pq.ParquetFile, row: type[T], *, groups: Sequence[int] | None = None) -> Iterator[T]:
    """The rows of an open file, a few at a time. `groups`: of these row groups only."""
    struct = _struct(row)  # pyright: ignore[reportArgumentType]
    with file:
        for group in range(file.num_row_groups) if groups is None else groups:
            for batch in file.iter_batches(GROUP_ROWS, row_groups=[group]):
                yield from struct.unpack(batch.to_struct_array())


def find_rows(file: pq.ParquetFile, row: type[T], wanted: Callable[[int, str], bool]) -> Iterator[T]:
    """The rows of an open file whose number and id are wanted: of all others, no more is read than the id."""
    struct, before = _struct(row), 0  # pyright: ignore[reportArgumentType]
    with file:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["id"], use_threads=False).column(0).to_pylist()
            found = [at for at, name in enumerate(ids) if wanted(before + at, name)]
            before += len(ids)
            if found:
                held = file.read_row_group(group, use_threads=False)
                for at in found:
                    (one,) = held.slice(at, 1).to_batches()
                    alone = pa.ipc.read_record_batch(one.serialize(), one.schema)  # a slice holds the lists of all
                    yield from struct.unpack(alone.to_struct_array())


def write_rows(path: Path, rows: Iterable[msgspec.Struct], row: type[msgspec.Struct]) -> RowWriter:
    """All rows into a new file; the writer tells how many and their digest."""
    with RowWriter(path, row) as writer:
        for one in rows:
            writer.add(one)
    return writer
