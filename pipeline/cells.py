"""Values of one type as a column of Arrow's, derived from the type.

A number, a text, a struct and a list of them are Arrow's own; an array of one number a token is a list built without a
loop over tokens, and so are spans; what has no fixed shape (`dict`, `Any`, a union) is JSON text, because Arrow would
pad it with nulls.
"""

import types
from collections.abc import Callable, Sequence
from datetime import date
from enum import StrEnum
from functools import cache
from itertools import chain, pairwise
from operator import attrgetter
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.records import Row, RowSpan, Spans
from renderers.pieces import CODE, KINDS, sums
from renderers.segments import Kind

FEW = 4096
"""Spans that are read as fast without what Arrow computes with."""
SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    date: pa.date32(),
}


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


class RowSpans(Many):
    """The spans of a row."""

    def __init__(self):
        super().__init__(column_of(RowSpan))

    def pack(self, values: Sequence[Sequence[RowSpan]]) -> pa.Array:
        rows = list(map(Spans.of, values))
        starts, kinds, messages = (
            np.concatenate([np.empty(0, dtype), *(getattr(spans, name) for spans in rows)])
            for name, dtype in (("starts", np.int64), ("kinds", np.int8), ("messages", np.int64))
        )
        names = pa.array(KINDS, pa.string()).take(pa.array(kinds))
        flat = pa.StructArray.from_arrays([pa.array(starts), names, pa.array(messages)], fields=list(self.item.arrow))
        return pa.ListArray.from_arrays(_offsets(values), flat)

    def unpack(self, array: Any) -> Sequence[Any]:
        starts, kinds, messages = (array.values.field(name) for name in ("start", "kind", "message"))
        columns = np.from_dlpack(starts), _codes(kinds), np.from_dlpack(messages)
        return [Spans(*cells) for cells in zip(*(_cut(array, column) for column in columns), strict=True)]


def _codes(kinds: Any) -> np.ndarray:
    """int8. What Arrow computes with takes a tenth of a second to load: a few are looked up one by one."""
    if len(kinds) <= FEW:
        return np.array([CODE[Kind(name)] for name in kinds.to_pylist()], np.int8)
    named = kinds.dictionary_encode()
    codes = np.array([CODE[Kind(name)] for name in named.dictionary.to_pylist()], np.int8)
    return codes[np.from_dlpack(named.indices).astype(np.intp)]


class Struct:
    """A msgspec struct a row."""

    def __init__(self, of: type[msgspec.Struct]):
        hints = get_type_hints(of, include_extras=True)
        self.of = of
        self.columns = {name: column_of(hints[name]) for name in of.__struct_fields__}
        self.arrow = pa.struct([(name, column.arrow) for name, column in self.columns.items()])

    def pack(self, values: Sequence[Any]) -> pa.Array:
        arrays = [column.pack(list(map(attrgetter(name), values))) for name, column in self.columns.items()]
        return pa.StructArray.from_arrays(arrays, fields=list(self.arrow))

    def unpack(self, array: Any) -> Sequence[Any]:
        """A field that the file does not have is what it is by default."""
        stored = {field.name for field in array.type}
        held = {name: column.unpack(array.field(name)) for name, column in self.columns.items() if name in stored}
        if issubclass(self.of, Row) or len(held) < len(self.columns):
            return [self.of(**dict(zip(held, cells, strict=True))) for cells in zip(*held.values(), strict=True)]
        return list(map(self.of, *held.values()))


def _offsets(values: Sequence[Any]) -> pa.Array:
    return pa.array(sums(map(len, values), np.int32))


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
    if of == Sequence[RowSpan]:
        return RowSpans()
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
