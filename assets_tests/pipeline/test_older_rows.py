"""Partitions that an earlier version stored: what came since is filled in, what went or changed is named."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.errors import StoreError
from pipeline.records import Ids, Row, Trace, TraceFile
from pipeline.resources.store import ROWS, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


class OlderFile(msgspec.Struct, frozen=True):
    name: str


class OlderUsage(msgspec.Struct, frozen=True):
    input: int = 0


class Older(Row, frozen=True, kw_only=True):
    """A record of before: `Newer` has come to have more, at every depth and in the middle."""

    files: tuple[OlderFile, ...]
    usage: OlderUsage = OlderUsage()


class NewerFile(msgspec.Struct, frozen=True):
    name: str
    data: bytes = b"-"
    tags: tuple[str, ...] = ("none",)


class Renamed(msgspec.Struct, frozen=True):
    title: str = ""


class NewerUsage(msgspec.Struct, frozen=True):
    cached: int = 7
    input: int = 0


class Newer(Row, frozen=True, kw_only=True):
    told: tuple[dict[str, Any], ...] = ()
    files: tuple[NewerFile, ...]
    usage: NewerUsage = NewerUsage()
    ids: Ids = np.zeros(0, np.int32)


def stored_as(store: Store, monkeypatch: pytest.MonkeyPatch, *rows: Row) -> None:
    monkeypatch.setattr("pipeline.resources.store.ROWS", {**ROWS, "prompts": type(rows[0])})
    store.write("prompts", "b", rows, code_version="v1")


def test_fields_that_came_since_are_what_they_are_by_default(store: Store, monkeypatch: pytest.MonkeyPatch):
    first = Older(id="a", files=(OlderFile("x"), OlderFile("y")), usage=OlderUsage(3))
    stored_as(store, monkeypatch, first, Older(id="b", files=()))
    held, other = store.read("prompts", "b", Newer)
    assert held.files == (NewerFile("x"), NewerFile("y"))
    assert (held.usage, held.told, held.ids.tolist()) == (NewerUsage(cached=7, input=3), (), [])
    assert (other.id, other.files) == ("b", ())


def test_a_trace_of_before_the_recorder_is_read(store: Store, monkeypatch: pytest.MonkeyPatch):
    """As the first version stored it."""
    fields = ["prompt_id", "prompt", "agent", "format"]
    old = msgspec.defstruct(
        "FirstTrace",
        [*((name, str) for name in fields), ("files", tuple[TraceFile, ...]), ("metadata", dict[str, Any], {})],
        bases=(Row,),
        frozen=True,
        kw_only=True,
    )
    told = {**dict.fromkeys(fields, "x"), "files": (TraceFile("s.jsonl", b"{}"),), "metadata": {"a": 1}}
    stored_as(store, monkeypatch, old(id="t", **told))
    assert list(store.read("prompts", "b", Trace)) == [Trace(id="t", **told)]


FILES = tuple[OlderFile, ...]


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ({"files": FILES}, "usage is stored, and is no more"),
        ({"files": tuple[str, ...], "usage": OlderUsage}, "files is stored as struct<name: string>, and now is string"),
        ({"files": FILES, "usage": int}, "usage is stored as struct<input: int64>, and now is int64"),
        ({"files": FILES, "usage": OlderUsage, "more": str}, "more is not stored, and has no default"),
        ({"files": tuple[Renamed, ...], "usage": OlderUsage}, "files.name is stored, and is no more"),
    ],
)
def test_fields_that_went_or_changed_are_named_with_the_cure(store: Store, monkeypatch, now, why):
    stored_as(store, monkeypatch, Older(id="a", files=(OlderFile("x"),)))
    with pytest.raises(StoreError, match="makes it anew") as refused:
        store.read("prompts", "b", msgspec.defstruct("Now", now.items(), bases=(Row,), frozen=True, kw_only=True))
    assert "prompts/b was written by another version" in str(refused.value)
    assert why in str(refused.value)
