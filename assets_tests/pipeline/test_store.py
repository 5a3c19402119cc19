"""Whatever happens to a writer, a partition is the old one or the new one."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from assets_tests.pipeline.test_columns import GONE, ROW
from pipeline.errors import StoreError
from pipeline.records import Prompt, Reject, RenderedRow, Trace
from pipeline.resources.store import Store


def prompt(number: int, text: str = "x") -> Prompt:
    return Prompt(id=str(number), prompt=text)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def write(store: Store, *rows: Prompt | Reject, **options) -> str:
    return store.write("prompts", "b", rows, code_version="v1", **options).data_version


def read(store: Store) -> list[Prompt]:
    return list(store.read("prompts", "b", Prompt))


def test_the_manifest_counts_what_is_there(store: Store):
    manifest = store.write(
        "masked/t", "b", [ROW["masked"], GONE, ROW["masked"]], code_version="v1", inputs={"rendered/t": "v0.x"}
    )
    assert (manifest.rows, manifest.rejects, manifest.inputs) == (2, {"invalid_json": 1}, {"rendered/t": "v0.x"})
    assert manifest.measures == {"tokens": 6, "trained": 4, "trained answer": 4}
    assert store.manifest("masked/t", "b") == manifest
    assert manifest.data_version.startswith("v1.")


def test_a_row_that_is_neither_kept_nor_rejected_stops_the_write(store: Store):
    write(store, prompt(1))
    with pytest.raises(StoreError, match="3 rows in, 1 kept, 1 rejected"):
        write(store, prompt(2), GONE, rows_in=3)
    assert read(store) == [prompt(1)]
    write(store, prompt(2), GONE, rows_in=2)


def test_a_row_that_is_kept_as_several_is_counted_once(store: Store):
    told = [msgspec.structs.replace(ROW["rendered"], id=name, conversation_id=name[0]) for name in ("c", "c/3", "d")]
    gone = Reject(id="e", stage="rendered", reason="refused", detail="no")
    manifest = store.write("rendered/t", "b", [*told, gone], code_version="v1", rows_in=3)
    assert (manifest.rows, manifest.rows_in, manifest.rejects) == (3, 3, {"refused": 1})
    assert manifest.measures["assistant messages"] == 2
    with pytest.raises(StoreError, match="4 rows in, 2 kept, 1 rejected"):
        store.write("rendered/t", "b", [*told, gone], code_version="v1", rows_in=4)


def test_the_same_rows_again_write_no_file(store: Store):
    first = write(store, prompt(1), GONE)
    before = {path: path.stat().st_mtime_ns for path in store.place("prompts", "b").glob("r*")}
    assert write(store, prompt(1), GONE) == first
    assert {path: path.stat().st_mtime_ns for path in store.place("prompts", "b").glob("r*")} == before


def test_the_data_version_is_of_rows_and_rejects_in_their_order(store: Store):
    rows = [(prompt(1), prompt(2)), (prompt(2), prompt(1)), (prompt(1),), (prompt(1), prompt(2), GONE), ()]
    assert len({write(store, *some) for some in rows}) == len(rows)


def test_what_is_being_read_stays_readable_when_it_is_replaced(store: Store):
    write(store, *(prompt(n) for n in range(3)))
    reading = store.read("prompts", "b", Prompt)
    next(reading)
    write(store, prompt(9))
    write(store, prompt(10))
    assert [row.id for row in reading] == ["1", "2"]


def test_a_stage_that_raises_leaves_the_old_partition(store: Store):
    def rows() -> Iterator[Prompt]:
        yield prompt(2)
        raise RuntimeError("a bug")

    write(store, prompt(1))
    with pytest.raises(RuntimeError, match="a bug"):
        store.write("prompts", "b", rows(), code_version="v2")
    assert read(store) == [prompt(1)]
    assert not list(store.place("prompts", "b").glob(".new-*"))


def test_two_writers_of_one_partition_do_not_meet(store: Store):
    def rows() -> Iterator[Prompt]:
        with pytest.raises(StoreError, match="another process"):
            write(store, prompt(2))
        yield prompt(1)

    store.write("prompts", "b", rows(), code_version="v1")
    assert read(store) == [prompt(1)]


def test_text_that_no_file_can_hold_is_a_reject_not_a_crash(store: Store):
    manifest = store.write("prompts", "b", [prompt(1), prompt(2, "half \ud83d"), prompt(3)], code_version="v1")
    assert (manifest.rows, manifest.rejects) == (2, {"not_unicode": 1})


def test_superseded_files_are_swept_by_the_next_write(store: Store):
    for number in range(5):
        write(store, prompt(number))
    assert len(list(store.place("prompts", "b").glob("rows-*"))) <= 2


@pytest.mark.parametrize("batch", ["", ".", "..", "a/b", "../x", ".hidden", "a b", "a\0", "é", "a..b"])
def test_a_batch_cannot_leave_its_folder(store: Store, batch: str):
    with pytest.raises(StoreError, match="cannot be a partition"):
        store.write("prompts", batch, [], code_version="v1")
    with pytest.raises(StoreError, match="cannot be a partition"):
        store.manifest(f"rendered/{batch or '.'}", "b")


def test_a_partition_that_is_not_there_says_so(store: Store):
    assert store.manifest("prompts", "b") is None
    assert store.batches("prompts") == []
    with pytest.raises(StoreError, match="prompts/b has not been materialized"):
        read(store)


def test_a_partition_of_another_version_says_so(store: Store):
    write(store, prompt(1))
    with pytest.raises(StoreError, match="another version"):
        store.read("prompts", "b", Trace)
    manifest = store.place("prompts", "b") / "manifest.json"
    manifest.write_text("{}")
    with pytest.raises(StoreError, match="another version"):
        store.manifest("prompts", "b")


def test_a_damaged_partition_says_what_makes_it_anew_and_that_does(store: Store):
    rows = [ROW["rendered"]]
    was = store.write("rendered/t", "b", rows, code_version="v1")
    place = store.place("rendered/t", "b")
    for name in ("manifest.json", was.rows_file):
        (place / name).write_bytes((place / name).read_bytes()[:50])
        with pytest.raises(StoreError, match=rf"rendered/t/b: {name} cannot be read: .*`tracemill backfill b` makes"):
            list(store.read("rendered/t", "b", RenderedRow))
        assert store.write("rendered/t", "b", rows, code_version="v1").data_version == was.data_version
        assert [row.id for row in store.read("rendered/t", "b", RenderedRow)] == [rows[0].id]
    (place / was.rows_file).unlink()
    with pytest.raises(StoreError, match=rf"{was.rows_file} is gone"):
        list(store.find("rendered/t", "b", RenderedRow, lambda at, name: True))
    write(store, prompt(1))
    (store.place("prompts", "b") / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match=r"`tracemill materialize b` makes it anew once its folder is deleted"):
        store.manifest("prompts", "b")


def test_rows_that_were_tampered_with_are_replaced_by_those_that_are_made_again(store: Store):
    store.write("prompts", "b", [Prompt(id="a", prompt="x")], code_version="1")
    place = store.file("prompts", "b", "rows_file")
    table = pq.ParquetFile(place).read()
    pq.write_table(table.set_column(table.schema.get_field_index("prompt"), "prompt", [["y"]]), place)
    assert [row.prompt for row in store.read("prompts", "b", Prompt)] == ["y"]
    store.write("prompts", "b", [Prompt(id="a", prompt="x")], code_version="1")
    assert [row.prompt for row in store.read("prompts", "b", Prompt)] == ["x"]


def test_columns_of_another_version_are_written_anew(store: Store):
    path = store.place("prompts", "b") / store.write("prompts", "b", [prompt(1)], code_version="v1").rows_file
    pq.write_table(pq.read_table(path).drop_columns(["prompt"]), path)
    with pytest.raises(StoreError, match="another version"):
        read(store)
    write(store, prompt(1))
    assert read(store) == [prompt(1)]
