"""Renderings of a partition to compare: as it is stored, as it was stored before, as code would make it now or then."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

import msgspec

from pipeline.columns import mismatch, open_rows, read_rows
from pipeline.comparing.changes import Side
from pipeline.errors import StoreError
from pipeline.loading import load_renderer
from pipeline.masking import mask
from pipeline.records import Conversation, Manifest, MaskedRow, Reject, RenderedRow, Row
from pipeline.rendering import render
from pipeline.targets import Project

R = TypeVar("R", bound=Row)
Pair = tuple[Side | None, Side | None]
ROOT = Path(__file__).parents[2]
THEN = """
import sys
from pathlib import Path
import msgspec
from pipeline.columns import write_rows
from pipeline.masking import mask
from pipeline.records import Conversation, MaskedRow, Reject, RenderedRow
from pipeline.rendering import render
from pipeline.targets import load_project
try:
    from pipeline.loading import load_renderer
except ImportError:  # where it was before
    from pipeline.rendering import load_renderer

folder, name, work = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
target = load_project(folder).targets[name]
decode = msgspec.json.Decoder(Conversation).decode
with (work / "conversations.jsonl").open("rb") as lines:
    told = render(map(decode, lines), load_renderer(target, folder=folder), history=target.history)
    rows = [row for row in told if not isinstance(row, Reject)]
write_rows(work / "rendered.parquet", rows, RenderedRow)
masked = (row for row in mask(rows, target) if not isinstance(row, Reject))
write_rows(work / "masked.parquet", masked, MaskedRow)
"""
"""What a revision's own code does with the conversations that are stored now."""


class Partitions(Protocol):
    """Stored partitions."""

    def manifest(self, asset: str, batch: str) -> Manifest | None: ...

    def known(self, asset: str, batch: str) -> Manifest: ...

    def lacks(self, manifest: Manifest) -> bool: ...

    def read(self, asset: str, batch: str, row: type[R], *, of: Manifest | None = None) -> Iterator[R]: ...


def stored(store: Partitions, batch: str, name: str) -> Iterator[Side]:
    """The rows of a target as they are stored."""
    rendered, masked = store.known(f"rendered/{name}", batch), store.known(f"masked/{name}", batch)
    return _read(store, rendered, masked)


def before(store: Partitions, batch: str, name: str) -> tuple[str, Iterator[Side]] | None:
    """What the masked partition replaced, and the code version that made it; None where nothing was replaced."""
    masked = store.known(f"masked/{name}", batch)
    was = masked.previous or masked
    side = as_it_was(store, was)
    return None if side is None or (was is masked and not _rerendered(store, masked)) else (was.code_version, side)


def as_it_was(store: Partitions, masked: Manifest) -> Iterator[Side] | None:
    """Masked rows of now or before, with what they were made of; None where that is not kept any more."""
    rendered = store.known(masked.asset.replace("masked", "rendered", 1), masked.batch)
    of = _rows_of(masked.inputs.get(rendered.asset, ""))
    source = next((one for one in (rendered, rendered.previous) if one and _rows_of(one.data_version) == of), None)
    return None if source is None or store.lacks(source) or store.lacks(masked) else _read(store, source, masked)


def _rerendered(store: Partitions, masked: Manifest) -> bool:
    """Whether the labels are of rows that have been replaced since."""
    now = store.known(masked.asset.replace("masked", "rendered", 1), masked.batch)
    return _rows_of(masked.inputs.get(now.asset, "")) != _rows_of(now.data_version)


def _rows_of(data_version: str) -> str:
    """The hash of the rows, whatever code made them."""
    return data_version.rpartition(".")[2]


def present(project: Project, store: Partitions, batch: str, name: str) -> Iterator[Side]:
    """What the code of now makes of the stored conversations; nothing is written."""
    target = project.targets[name]
    conversations = store.read("conversations", batch, Conversation)
    told = render(conversations, load_renderer(target, folder=project.folder), history=target.history)
    for row in told:
        if not isinstance(row, Reject):
            yield Side(row, [one for one in mask([row], target) if not isinstance(one, Reject)])


def revision(project: Project, store: Partitions, batch: str, name: str, at: str) -> Iterator[Side]:
    """What the code of a git revision makes of the stored conversations, in a process of its own.

    Raises StoreError where there is no such revision, or its code cannot do it.
    """
    with TemporaryDirectory() as folder:
        work = Path(folder)
        _checkout(at, work)
        with (work / "conversations.jsonl").open("wb") as lines:
            for row in store.read("conversations", batch, Conversation):
                lines.write(msgspec.json.encode(row) + b"\n")
        _run([sys.executable, "-c", THEN, str(project.folder), name, str(work)], cwd=work, at=at)
        rendered = _rows(work / "rendered.parquet", RenderedRow, at)
        yield from _joined(rendered, _rows(work / "masked.parquet", MaskedRow, at))


def is_revision(at: str) -> bool:
    """Whether the checkout that this code runs from knows such a commit."""
    command = ["git", "rev-parse", "--verify", "--quiet", f"{at}^{{commit}}"]
    return (
        not at.startswith("-") and subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    )


def pairs(old: Iterable[Side], new: Iterable[Side]) -> Iterator[Pair]:
    """Rows of the same name. The old side is held in memory: its order may be another."""
    was = {side.row.id: side for side in old}
    for side in new:
        yield was.pop(side.row.id, None), side
    yield from ((side, None) for side in was.values())


def _read(store: Partitions, rendered: Manifest, masked: Manifest) -> Iterator[Side]:
    rows = store.read(rendered.asset, rendered.batch, RenderedRow, of=rendered)
    return _joined(rows, store.read(masked.asset, masked.batch, MaskedRow, of=masked))


def _joined(rendered: Iterable[RenderedRow], masked: Iterable[MaskedRow]) -> Iterator[Side]:
    """Rendered rows with what was made of each: the same order, and masking may have rejected some."""
    made = groupby(masked, lambda one: one.source)
    name, parts = next(made, (None, ()))
    for row in rendered:
        mine = name == row.id
        yield Side(row, list(parts) if mine else ())
        name, parts = next(made, (None, ())) if mine else (name, parts)


def _checkout(at: str, work: Path) -> None:
    archive = _run(["git", "archive", "--format=tar", at, "pipeline", "renderers"], cwd=ROOT, at=at)
    subprocess.run(["tar", "-x"], input=archive, cwd=work, check=True)


def _run(command: list[str], *, cwd: Path, at: str) -> bytes:
    done = subprocess.run(command, cwd=cwd, capture_output=True, check=False)
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise StoreError(f"{at}: {told[-1] if told else 'failed'}; compare with a revision whose code runs here")
    return done.stdout


def _rows(path: Path, row: type[R], at: str) -> Iterator[R]:
    file = open_rows(path)
    if wrong := mismatch(row, file.schema_arrow):
        raise StoreError(f"{at}: its rows are not ours: {wrong}; compare with a later revision")
    return read_rows(file, row)
