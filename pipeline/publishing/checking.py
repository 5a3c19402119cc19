"""Is a dataset what it says? Every file, every row's own hashes, and every row made again from its conversation.

It believes nothing but the index: a change of any byte of any file shows.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from pipeline.columns import ENCODER, open_rows, read_rows, schema_of
from pipeline.errors import PublicationRefused
from pipeline.publishing.proofs import conversation_sha, ids_sha, mask_sha, root, sha
from pipeline.publishing.shards import (
    ABOUT,
    CONVERSATIONS,
    TRACES,
    Dialog,
    Session,
    Tensors,
    about,
    beside,
    conversation_of,
    shard_path,
)
from pipeline.records import Conversation, MaskedRow, Row, Shard
from renderers.messages import tojson

R = TypeVar("R", bound=Row)
Again = Callable[[Shard, Iterable[Conversation]], Iterator[MaskedRow]]
"""A shard of a target, conversations -> the rows that a trainer gets."""
BROKEN = (pa.ArrowException, msgspec.MsgspecError, ValidationError, PublicationRefused, OSError, ValueError, TypeError)
"""What reading says of a file that somebody changed."""


OFFERED = "tool "
KINDS: Mapping[str, type[Row]] = {TRACES: Session, CONVERSATIONS: Dialog}
"""Configs that are no targets."""


class Bad(NamedTuple):
    """What is wrong, and where."""

    file: str
    row: str
    """Its id; empty where it is the file that is wrong."""
    what: str

    def __str__(self) -> str:
        return f"{self.file}{f', row {self.row}' if self.row else ''}: {self.what}"


def check(folder: Path, shards: Iterable[Shard], again: Again) -> Iterator[Bad]:
    """What is wrong with these shards, whose files are below `folder`: bytes first. Conversations are among them."""
    every = list(shards)
    for shard in every:
        for bad in check_files(folder, shard.files):
            yield _first_row(folder, shard, bad) or bad
    for shard in every:
        yield from _rows(folder, shard, again)


def check_files(folder: Path, files: Mapping[str, str]) -> Iterator[Bad]:
    """Files that are gone, or are not the bytes that were published."""
    for path, told in files.items():
        if not (folder / path).is_file():
            yield Bad(path, "", "the file is not there")
        elif sha((folder / path).read_bytes()) != told:
            yield Bad(path, "", "these are not the bytes that were published")


def _first_row(folder: Path, shard: Shard, bad: Bad) -> Bad | None:
    """The row of a changed file that is not what its own hashes say."""
    if not bad.file.endswith(".parquet") or not (folder / bad.file).is_file():
        return None
    row = KINDS.get(shard.config, Tensors)
    try:
        found = ((one.id, _own(one)) for one in _read(folder / bad.file, row))
        return next((Bad(bad.file, name, what) for name, what in found if what), None)
    except BROKEN as error:
        return bad._replace(what=f"it cannot be read: {' '.join(str(error).split())}")


def _own(row: Row) -> str:
    """What is wrong with a row by itself."""
    if isinstance(row, Dialog):
        right = conversation_sha(conversation_of(row)) == row.conversation_sha
        return "" if right else "the conversation is not that of its conversation_sha"
    if isinstance(row, Tensors):
        wrong = (name for name, made in _hashes(row).items() if getattr(row, name) != made)
        return next((f"its {name} is of something else" for name in wrong), "")
    return ""


def _hashes(row: Tensors) -> dict[str, str]:
    return {"ids_sha": ids_sha(row.input_ids), "mask_sha": mask_sha(row.labels)}


def _rows(folder: Path, shard: Shard, again: Again) -> Iterator[Bad]:
    row, digests, found = KINDS.get(shard.config, Tensors), dict[str, str](), Counter[str]()
    for split, said in shard.rows.items():
        path = shard_path(shard.config, shard.batch, split)
        try:
            if row is Dialog:
                yield from _dialogs(folder / path, path, found)
            elif row is Tensors:
                yield from _tensors(folder, path, shard, split, again)
            digests[split], many = _digest(folder / path, row)
            if many != said:
                yield Bad(path, "", f"it is said to have {said} rows, counted again it has {many}")
        except BROKEN as error:
            yield Bad(path, "", f"it cannot be read: {' '.join(str(error).split())}")
            return
    known = {shard_path(shard.config, shard.batch, split) for split in shard.rows}
    for path in sorted(path for path in shard.files.keys() - known if path.endswith(".parquet")):
        yield Bad(path, "", "it is the table of no split that the index knows")
    if root(digests) != shard.root:
        yield Bad(shard.id, "", f"the root of its rows is {root(digests)}, published was {shard.root}")
    if row is Dialog:
        yield from _miscounted(shard, found)


def _dialogs(file: Path, path: str, found: Counter[str]) -> Iterator[Bad]:
    """Conversations that are not those of their hashes; what all of them come from and were offered is counted."""
    for one in _read(file, Dialog):
        found.update(about(one))
        found.update(OFFERED + tojson(tool) for tool in json.loads(one.tools))
        found["messages"] += len(one.messages)
        if what := _own(one):
            yield Bad(path, one.id, what)


def _miscounted(shard: Shard, found: Counter[str]) -> Iterator[Bad]:
    """What a shard says of where its conversations come from, or of what they were offered, and is not so."""
    if {name for name in found if name.startswith(OFFERED)} != {OFFERED + tojson(tool) for tool in shard.tools}:
        yield Bad(shard.id, "", "its conversations were offered other tools than it says")
    said = {name: n for name, n in shard.measured.items() if name == "messages" or name.startswith(ABOUT)}
    counted = {name: n for name, n in found.items() if n and not name.startswith(OFFERED)}
    for name in sorted(said.keys() | counted.keys()):
        if said.get(name, 0) != counted.get(name, 0):
            what = f"{shard.id} is said to have {name} {said.get(name)}, counted again it is {counted.get(name)}"
            yield Bad(shard.id, "", what)


def check_nothing_else(folder: Path, known: Iterable[str]) -> Iterator[Bad]:
    """Files that nobody published: a reader would take them for a part of the dataset."""
    names = set(known)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in names and not any(part.startswith(".") for part in Path(name).parts):
            yield Bad(name, "", "nobody published this file")


def _read(path: Path, row: type[R]) -> Iterator[R]:
    file = open_rows(path)
    if not file.schema_arrow.equals(schema_of(row)):
        file.close()
        raise PublicationRefused("its columns are not those that this version of Tracemill publishes")
    return read_rows(file, row)


def _digest(path: Path, row: type[Row]) -> tuple[str, int]:
    """The hash of its rows, and how many there are."""
    told, many = sha256(), 0
    for one in _read(path, row):
        told.update(ENCODER.encode(one))
        many += 1
    return told.hexdigest(), many


def _tensors(folder: Path, path: str, shard: Shard, split: str, again: Again) -> Iterator[Bad]:
    told = folder / shard_path(CONVERSATIONS, shard.batch, split)
    made = again(shard, map(conversation_of, _read(told, Dialog)))
    rows = beside(_read(folder / path, Tensors), _read(told, Dialog), "conversation_id")
    for pair, wanted in zip_longest(rows, made):
        if pair is None:
            yield Bad(path, wanted.id, "the row is missing")
        elif wanted is None:
            yield Bad(path, pair[0].id, "no conversation makes this row")
        elif what := _differs(pair[0], pair[1], wanted, shard.renderer):
            yield Bad(path, pair[0].id, what)


def _differs(row: Tensors, told: Dialog, wanted: MaskedRow, renderer: str) -> str:
    """What is wrong with a row; nothing, if all is right."""
    if row.id != wanted.id:
        return f"row {wanted.id} should be here"
    for name in ("input_ids", "labels", "attention_mask"):
        if (at := _where(getattr(row, name), getattr(wanted, name))) >= 0:
            return f"rendered again, {name} differs at token {at}"
    made_of = {"raw_sha": told.raw_sha, "conversation_sha": told.conversation_sha, "renderer": renderer}
    claims = {**_hashes(row), **made_of}
    return next(
        (f"its {name} is of something else" for name, value in claims.items() if getattr(row, name) != value), ""
    )


def _where(got: np.ndarray, wanted: np.ndarray) -> int:
    """The first place where two arrays differ; -1 if they are equal."""
    same = min(len(got), len(wanted))
    apart = np.flatnonzero(got[:same] != wanted[:same])
    return int(apart[0]) if len(apart) else (-1 if len(got) == len(wanted) else same)
