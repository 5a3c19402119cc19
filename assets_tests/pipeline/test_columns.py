"""What is written as columns is read as it was: rows of every stage, whole or some, without holding all of them."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import columns
from pipeline.assets.stage import preview
from pipeline.errors import StoreError
from pipeline.records import (
    Conversation,
    Finding,
    MaskedRow,
    MixedRow,
    Place,
    Prompt,
    Reject,
    RenderedRow,
    RowProof,
    RowSpan,
    Shard,
    Trace,
    TraceFile,
)
from pipeline.resources.store import ROWS, Store
from renderers.messages import Message, Part, ToolCall
from renderers.segments import Kind

CALL = ToolCall("shell", '{"cmd": 1e3,\n "x":"\\u00e9"}', "c1")
ROW = {
    "prompts": Prompt(id="p", prompt="Do\0 it.\u2028", metadata={"a": [1, None, {"b": 2.5}]}, line=3),
    "traces": Trace(
        id="t", prompt_id="p", prompt="x", agent="replay", format="pi", files=(TraceFile("a", b"\x00\xff"),)
    ),
    "conversations": Conversation(
        id="c",
        trace_id="t",
        prompt_id="p",
        window=0,
        messages=(
            Message("user", (Part("text", "é"), Part("image"))),
            Message("assistant", "", reasoning="", tool_calls=(CALL, CALL)),
            Message("tool", "[]", tool_call_id="c1"),
        ),
        places=(Place("a", 1), Place("a", 2), Place("a", 9)),
        tools=({"type": "function", "function": {"name": "shell", "parameters": {"x": None, "z": 1, "a": 2}}},),
        format="pi",
        uncounted={"weird": 2},
    ),
    "rendered": RenderedRow(
        id="r",
        conversation_id="c",
        input_ids=np.arange(7, dtype=np.int32),
        spans=(RowSpan(0, Kind.USER, 0), RowSpan(3, Kind.TOOL_CALL, -1)),
        proofs=(RowProof(1, "proved", "a note"),),
        lost=("messages/1/reasoning",),
        trainable=(1, 3),
        asked=2,
        weights={1: 1.0, 3: 0.5},
    ),
    "masked": MaskedRow(
        id="m",
        conversation_id="c",
        input_ids=np.arange(3, dtype=np.int32),
        labels=np.array([-100, 1, 2], np.int32),
        attention_mask=np.ones(3, np.int8),
        trained={"answer": 2},
    ),
    "audits": Finding(id="f", audit="stops", severity="error", row="r", detail="no stop"),
    "mixture": MixedRow(
        id="x",
        split="train",
        rows=("m", "n"),
        sources=("batches", "batches"),
        input_ids=np.arange(3, dtype=np.int32),
        labels=np.array([-100, 1, 2], np.int32),
        position_ids=np.array([0, 1, 0], np.int32),
        seq_lengths=np.array([2, 1], np.int32),
    ),
    "publication": Shard(
        id="a/b",
        config="a",
        batch="b",
        rows={"train": 1},
        root="d",
        files={"a/train/b.parquet": "e"},
        target={"model": "m", "flags": {"x": 0.5}},
        tools=({"name": "t"},),
        sources={"x": "y"},
        measured={"n": 1},
    ),
}
GONE = Reject(id="gone", stage="prompts", reason="invalid_json", detail="line 1:\nno JSON\u2028")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.mark.parametrize("stage", ROWS)
def test_a_row_of_every_stage_is_read_as_it_was_written(store: Store, stage: str):
    row, asset = ROW[stage], stage if stage in ("prompts", "traces", "conversations", "publication") else f"{stage}/t"
    store.write(asset, "b", [row, GONE, row], code_version="v1")
    found = list(store.read(asset, "b", ROWS[stage]))
    assert [columns.ENCODER.encode(one) for one in found] == [columns.ENCODER.encode(row)] * 2
    assert type(found[0]) is ROWS[stage]
    assert list(store.rejects(asset, "b")) == [GONE]


def test_arrays_keep_their_types_and_hold_their_own_row_only(store: Store):
    rows = [
        MaskedRow(
            id=str(n),
            conversation_id="c",
            input_ids=np.full(n, n, np.int32),
            labels=np.full(n, -100, np.int32),
            attention_mask=np.ones(n, np.int8),
            trained={},
        )
        for n in (3, 0, 5)
    ]
    store.write("masked/t", "b", rows, code_version="v1")
    found = list(store.read("masked/t", "b", MaskedRow))
    assert [row.input_ids.tolist() for row in found] == [[3, 3, 3], [], [5] * 5]
    assert {row.input_ids.dtype for row in found} == {np.dtype("int32")}
    assert {row.attention_mask.dtype for row in found} == {np.dtype("int8")}


def test_rows_are_found_by_number_and_id_wherever_they_stand(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(columns, "GROUP_ROWS", 3)
    rows = [
        RenderedRow(
            id=f"r{n}",
            conversation_id="c",
            input_ids=np.full(n, n, np.int32),
            spans=tuple(RowSpan(k, Kind.USER, k) for k in range(n)),
            proofs=(RowProof(n, "proved"),),
            weights={n: 0.5},
        )
        for n in range(8)
    ]
    store.write("rendered/t", "b", rows, code_version="v1")
    for wanted in ([], [0], [7], [1, 2], [2, 3, 6], list(range(8))):
        pairs = {(n, f"r{n}") for n in wanted}
        found = store.find("rendered/t", "b", RenderedRow, lambda *pair, pairs=pairs: pair in pairs)
        assert [columns.ENCODER.encode(one) for one in found] == [columns.ENCODER.encode(rows[n]) for n in wanted]
    with pytest.raises(StoreError, match="written by another version"):
        list(store.find("rendered/t", "b", MaskedRow, lambda at, name: True))


def test_an_empty_partition_has_the_columns_of_a_full_one(store: Store):
    empty = store.write("masked/t", "empty", [], code_version="v1")
    full = store.write("masked/t", "full", [ROW["masked"]], code_version="v1")
    schemas = [pq.read_schema(store.place("masked/t", m.batch) / m.rows_file) for m in (empty, full)]
    assert schemas[0].equals(schemas[1])
    assert list(store.read("masked/t", "empty", MaskedRow)) == []


def test_memory_does_not_grow_with_the_partition(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(columns, "GROUP_BYTES", 1 << 20)

    def rows(count: int) -> Iterator[RenderedRow]:
        for n in range(count):
            ids = np.full(100_000, n, np.int32)
            yield RenderedRow(id=str(n), conversation_id="c", input_ids=ids, spans=(), proofs=())

    def peak(count: int) -> int:
        tracemalloc.start()
        store.write("rendered/t", "b", rows(count), code_version="v1")
        assert sum(len(row.input_ids) for row in store.read("rendered/t", "b", RenderedRow)) == count * 100_000
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(200) < 1.5 * peak(40)


def test_what_people_are_shown_of_a_large_session_is_no_copy_of_it(tmp_path):
    store, size = Store(tmp_path), 8 << 20
    trace = msgspec.structs.replace(ROW["traces"], files=(TraceFile("s.jsonl", b"a" * size),))
    manifest = store.write("traces", "b", [trace], code_version="1")
    tracemalloc.start()
    shown = preview(store, manifest)
    read = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read < 1.5 * size, "it is read, and that is all"
    (cells,) = (record.data for record in shown.records)
    assert str(cells["files"]).startswith('1, last: {"name":"s.jsonl","data":"YWFhYWFh')
    assert next(store.read("traces", "b", Trace)) == trace
