"""Spans in columns are the spans that they are made of, wherever they are looked at, told or stored."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from pipeline.columns import ENCODER, open_rows, read_rows, write_rows
from pipeline.records import RenderedRow, RowSpan, Spans
from renderers.segments import Kind

PLAIN = tuple(RowSpan(3 * n, kind, n - 1) for n, kind in enumerate(Kind))


def row(number: int, spans: tuple[RowSpan, ...] | Spans) -> RenderedRow:
    return RenderedRow(
        id=str(number), conversation_id=str(number), input_ids=np.arange(30, dtype=np.int32), spans=spans, proofs=()
    )


ROWS = [row(number, PLAIN[:number]) for number in range(len(PLAIN) + 1)]
"""The first has none."""


def test_they_are_a_sequence_of_what_they_were_made_of():
    spans = Spans.of(PLAIN)
    assert (len(spans), list(spans), tuple(reversed(spans))) == (len(PLAIN), list(PLAIN), PLAIN[::-1])
    assert [spans[n] for n in range(-len(PLAIN), len(PLAIN))] == [*PLAIN, *PLAIN]
    assert {type(value) for span in spans for value in (span.start, span.kind, span.message)} == {int, Kind}
    assert spans[2:5] == PLAIN[2:5]
    assert spans == Spans.of(spans)
    assert spans != PLAIN[1:]
    assert not spans[:0]
    assert pickle.loads(pickle.dumps(spans[3:])) == PLAIN[3:]
    with pytest.raises(IndexError):
        spans[len(PLAIN)]


def test_a_row_is_told_alike_whichever_it_holds():
    for one in ROWS:
        assert ENCODER.encode(replace(one, spans=Spans.of(one.spans))) == ENCODER.encode(one)


def test_rows_are_stored_alike_and_read_back_as_they_were(tmp_path: Path):
    columns = [replace(one, spans=Spans.of(one.spans)) for one in ROWS]
    told = [write_rows(tmp_path / name, rows, RenderedRow).digest for name, rows in (("a", ROWS), ("b", columns))]
    assert told[0] == told[1]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert [one.spans for one in read_rows(open_rows(tmp_path / "a"), RenderedRow)] == [one.spans for one in ROWS]
