"""Rows as columns of a Parquet file, derived from their struct types.

A number, a text, a struct and a list of them are Arrow's own; an array of one number a token is a list built without a
loop over tokens; what has no fixed shape (`dict`, `Any`, a union) is JSON text, because Arrow would pad it with nulls.
"""

import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from enum import StrEnum
from functools import cache
from hashlib import blake2b, sha256
from itertools import chain, pairwise
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.records import Row

if TYPE_CHECKING:
    from upath import UPath

T = TypeVar("T")
Folder = Union[Path, "UPath"]
"""On this machine, or in an object store."""
SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    date: pa.date32(),
}
GROUP_BYTES = 16 << 20
"""A row group is written when its rows are about as large; so much is in memory at a time."""
GROUP_ROWS = 4096
BATCH = 1 << 16
"""Values that are encoded at a time: of a thousand, as Arrow has it, the calls are a quarter of the cost."""


class Column(Protocol):
    """How values of one type stand in Arrow."""

    arrow: pa.DataType

    def pack(self, values: Sequence[Any]) -> pa.Array: ...

    def unpack(self, array: Any) -> Sequence[Any]: ...


class Scalar:
    """A number, a text, a member of a StrEnum; or None."""

    def __init__(self, arrow: pa.DataType, made: Callable[[Any], Any] | None = None):
        self.arrow, self.made = arrow, made

    def pack(self, values: Sequence[Any]) -> pa.Array:
        return pa.array(values, self.arrow)

    def unpack(self, array: Any) -> Sequence[Any]:
        values = array.to_pylist()
        return list(map(self.made, values)) if self.made else values


class Bytes(Scalar):
    """Bytes, never None. One value, a whole session perhaps, is not copied."""

    def pack(self, values: Sequence[Any]) -> pa.Array:
        data = values[0] if len(values) == 1 else b"".join(values)
        buffers = [None, _offsets(values).buffers()[1], pa.py_buffer(data)]
        return pa.Array.from_buffers(self.arrow, len(values), buffers)


class Json:
    """Whatever has no fixed shape, as JSON text."""

    arrow = pa.string()

    def __init__(self, of: Any):
        self.decoder = msgspec.json.Decoder(of)

    def pack(self, values: Sequence[Any]) -> pa.Array:
        return pa.array([msgspec.json.encode(value).decode() for value in values], self.arrow)

    def unpack(self, array: Any) -> Sequence[Any]:
        return [self.decoder.decode(text) for text in array.to_pylist()]


class Numbers:
    """A numpy array a row."""

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype
        self.arrow = pa.list_(pa.from_numpy_dtype(dtype))

    def pack(self, values: Sequence[np.ndarray]) -> pa.Array:
        flat = np.concatenate(values) if len(values) else np.empty(0)
        return pa.ListArray.from_arrays(_offsets(values), pa.array(flat.astype(self.dtype, copy=False)))

    def unpack(self, array: Any) -> Sequence[np.ndarray]:
        return _cut(array, np.from_dlpack(array.values))  # `to_numpy` would import pandas


class Many:
    """A tuple a row."""

    def __init__(self, item: Column):
        self.item, self.arrow = item, pa.list_(item.arrow)

    def pack(self, values: Sequence[Sequence[Any]]) -> pa.Array:
        return pa.ListArray.from_arrays(_offsets(values), self.item.pack(list(chain.from_iterable(values))))

    def unpack(self, array: Any) -> Sequence[tuple[Any, ...]]:
        return [tuple(part) for part in _cut(array, self.item.unpack(array.values))]


class Struct:
    """A msgspec struct a row."""

    def __init__(self, of: type[msgspec.Struct]):
        hints = get_type_hints(of, include_extras=True)
        self.of = of
        self.columns = {name: column_of(hints[name]) for name in of.__struct_fields__}
        self.arrow = pa.struct([(name, column.arrow) for name, column in self.columns.items()])

    def pack(self, values: Sequence[Any]) -> pa.Array:
        arrays = [column.pack([getattr(value, name) for value in values]) for name, column in self.columns.items()]
        return pa.StructArray.from_arrays(arrays, fields=list(self.arrow))

    def unpack(self, array: Any) -> Sequence[Any]:
        """A field that the file does not have is what it is by default."""
        stored = {field.name for field in array.type}
        held = {name: column.unpack(array.field(name)) for name, column in self.columns.items() if name in stored}
        if issubclass(self.of, Row) or len(held) < len(self.columns):
            return [self.of(**dict(zip(held, cells, strict=True))) for cells in zip(*held.values(), strict=True)]
        return list(map(self.of, *held.values()))


def _offsets(values: Sequence[Any]) -> pa.Array:
    return pa.array(np.cumsum([0, *map(len, values)], dtype=np.int32))


def _cut(array: Any, flat: Any) -> list[Any]:
    ends = array.offsets.to_pylist()
    return [flat[start:end] for start, end in pairwise(ends)]


@cache
def column_of(of: Any) -> Column:
    """The column for a type."""
    if get_origin(of) is Annotated and get_args(of)[0] is np.ndarray:
        return Numbers(np.dtype(get_args(of)[1]))
    wanted = _unless_none(of)
    if get_origin(wanted) is Literal:
        return Scalar(pa.string())
    if of is bytes:
        return Bytes(SCALARS[of])
    if wanted in SCALARS:
        return Scalar(SCALARS[wanted])
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        return Scalar(pa.string(), wanted)
    if wanted is of and get_origin(of) is tuple and get_args(of)[1:] == (...,):
        return _many(of)
    if wanted is of and isinstance(of, type) and issubclass(of, msgspec.Struct):
        return Struct(of)
    return Json(of)


def _many(of: Any) -> Column:
    item = column_of(get_args(of)[0])
    return Json(of) if isinstance(item, Json) else Many(item)


def _unless_none(of: Any) -> Any:
    options = get_args(of) if get_origin(of) in (Union, types.UnionType) else ()
    return next((o for o in options if o is not type(None)), of) if len(options) == 2 and type(None) in options else of


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


def _plain(value: Any) -> Any:
    return (value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else value


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
        self.size = 0

    @property
    def digest(self) -> str:
        return self.hash.hexdigest()

    def add(self, row: msgspec.Struct) -> None:
        told = ENCODER.encode(row)
        self.hash.update(told)
        self.rows += 1
        self.waiting.append(row)
        self.size += len(told)
        del told  # of a whole session, that is a copy
        if self.size >= GROUP_BYTES or len(self.waiting) >= GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Its rows are let go first: of a whole session, they are another copy."""
        if self.waiting:
            packed, self.waiting, self.size = self.struct.pack(self.waiting), [], 0
            self.parquet.write_batch(pa.RecordBatch.from_struct_array(packed))

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if not failed:
            self.flush()
        self.parquet.close()


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


def write_rows(path: Path, rows: Iterable[msgspec.Struct], row: type[msgspec.Struct]) -> RowWriter:
    """All rows into a new file; the writer tells how many and their digest."""
    with RowWriter(path, row) as writer:
        for one in rows:
            writer.add(one)
    return writer
