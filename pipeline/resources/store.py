"""Partitions: `<data>/<asset>/<batch>/manifest.json` names a file of rows and a file of rejects.

Files are named by what they hold, and the manifest is replaced last: whenever a writer dies, the partition is the old
one or the new one. Writing the same rows again changes no file but the manifest. `disks` says what that means where.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import TextIO, TypeVar

import msgspec
from pyarrow import ArrowInvalid
from pyarrow.parquet import ParquetFile

from pipeline.columns import Folder, RowWriter, find_rows, mismatch, open_rows, read_rows
from pipeline.errors import StoreError
from pipeline.records import (
    Conversation,
    Finding,
    Manifest,
    MaskedRow,
    MixedRow,
    Prompt,
    Reject,
    RenderedRow,
    Row,
    Shard,
    Trace,
)
from pipeline.resources.disks import MANIFEST, Draft, disk_of
from pipeline.resources.journal import Journal
from pipeline.targets import BATCH_NAME

R = TypeVar("R", bound=Row)
ROWS: Mapping[str, type[Row]] = {
    "prompts": Prompt,
    "traces": Trace,
    "conversations": Conversation,
    "rendered": RenderedRow,
    "masked": MaskedRow,
    "audits": Finding,
    "publication": Shard,
    "mixture": MixedRow,
}
"""What each asset holds; `rendered/<target>` is under `rendered`."""
COMPARED = ("rendered", "masked")
"""What keeps the rows that it replaces."""
NOTHING: Mapping[str, str] = MappingProxyType({})


class Store:
    """The partitions of a project."""

    def __init__(self, folder: Folder):
        self.folder, self.disk = folder, disk_of(folder)

    def write(
        self,
        asset: str,
        batch: str,
        rows: Iterable[Row | Reject],
        *,
        code_version: str,
        inputs: Mapping[str, str] = NOTHING,
        rows_in: int | None = None,
    ) -> Manifest:
        """Replace a partition, streaming. With `rows_in`, raises StoreError unless each was kept or rejected.

        One row may be kept as several, which follow each other (`Row.source`).
        """
        place = self.place(asset, batch)
        with self.disk.draft(place) as draft:
            fresh = Fresh(draft.work, asset)
            with fresh:
                for row in rows:
                    fresh.add(row)
            if rows_in is not None and rows_in != fresh.sources:
                gone = f"{rows_in} rows in, {fresh.sources - fresh.rejected} kept, {fresh.rejected} rejected"
                raise StoreError(f"{asset}/{batch}: {gone}: every row must be kept or rejected; nothing was written")
            rows_file, rejects_file = fresh.name_files(draft)
            manifest = Manifest(
                asset=asset,
                batch=batch,
                code_version=code_version,
                data_version=f"{code_version}.{fresh.digest}",
                inputs=dict(inputs),
                rows_in=rows_in,
                rows=fresh.kept.rows,
                rejects=dict(sorted(fresh.reasons.items())),
                measures=dict(fresh.measures),
                rows_file=rows_file,
                rejects_file=rejects_file,
                bytes=(place / rows_file).stat().st_size,
                previous=self.replaced(asset, batch, rows_file),
            )
            (draft.work / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
            draft.commit()
        return manifest

    def manifest(self, asset: str, batch: str) -> Manifest | None:
        """What is known of a partition; None if it was never written."""
        try:
            told = self.place(asset, batch, MANIFEST).read_bytes()
            return msgspec.json.decode(told, type=Manifest)
        except FileNotFoundError:
            return None
        except msgspec.ValidationError as error:
            raise _of_another_version(asset, batch, str(error)) from error
        except msgspec.DecodeError as error:
            raise _damaged(asset, batch, MANIFEST, error) from error

    def lacks(self, manifest: Manifest) -> bool:
        """Whether its rows are gone, or cut short. Nobody looks into an object store: thousands are asked for."""
        if not isinstance(self.folder, Path):
            return False
        try:
            size = os.stat(f"{self.folder}/{manifest.asset}/{manifest.batch}/{manifest.rows_file}").st_size
        except FileNotFoundError:
            return True
        return size != manifest.bytes

    def replaced(self, asset: str, batch: str, rows_file: str) -> Manifest | None:
        """What other rows stood there before, where there is something to compare: labels and what they are of."""
        was = self.readable(asset, batch)
        if asset.partition("/")[0] not in COMPARED or was is None:
            return None
        return was.previous if was.rows_file == rows_file else msgspec.structs.replace(was, previous=None)

    def readable(self, asset: str, batch: str) -> Manifest | None:
        """What is known of a partition; None, too, where that cannot be read."""
        with suppress(StoreError):
            return self.manifest(asset, batch)
        return None

    def known(self, asset: str, batch: str) -> Manifest:
        """The manifest of a partition that must be there."""
        manifest = self.manifest(asset, batch)
        if manifest is None:
            raise StoreError(f"{asset}/{batch} has not been materialized: `tracemill materialize {batch}` does it")
        return manifest

    def read(self, asset: str, batch: str, row: type[R], *, of: Manifest | None = None) -> Iterator[R]:
        """The rows of a partition as they are now: a write that comes later does not change what is read.

        of: a manifest of it, the present one or one that it replaced.
        """
        return read_rows(self._opened(asset, batch, row, of or self.known(asset, batch)), row)

    def find(self, asset: str, batch: str, row: type[R], wanted: Callable[[int, str], bool]) -> Iterator[R]:
        """The rows of a partition whose number and id are wanted."""
        return find_rows(self._opened(asset, batch, row, self.known(asset, batch)), row, wanted)

    def _opened(self, asset: str, batch: str, row: type[R], of: Manifest) -> ParquetFile:
        try:
            file = open_rows(self.place(asset, batch) / of.rows_file)
        except (ArrowInvalid, FileNotFoundError) as error:
            raise _damaged(asset, batch, of.rows_file, error) from error
        if wrong := mismatch(row, file.schema_arrow):
            file.close()
            raise _of_another_version(asset, batch, wrong)
        return file

    def rejects(self, asset: str, batch: str) -> Iterator[Reject]:
        """The rows that left in this partition, with their reasons."""
        decoder = msgspec.json.Decoder(Reject)
        with self.file(asset, batch, "rejects_file").open("rb") as lines:
            yield from map(decoder.decode, lines)

    def batches(self, asset: str) -> list[str]:
        """The batches of which this asset has a partition."""
        return sorted(path.parent.name for path in (self.folder / asset).glob(f"*/{MANIFEST}"))

    def place(self, asset: str, batch: str, *file: str) -> Folder:
        """The folder of a partition, or a file in it."""
        stage, _, target = asset.partition("/")
        if stage not in ROWS or not all(BATCH_NAME.fullmatch(name) for name in (batch, target or stage)):
            raise StoreError(f"{asset}/{batch} cannot be a partition: names are letters, digits, `.`, `_` and `-`")
        return self.folder.joinpath(asset, batch, *file)

    def file(self, asset: str, batch: str, which: str) -> Folder:
        return self.place(asset, batch, getattr(self.known(asset, batch), which))

    @contextmanager
    def attach(self, manifest: Manifest, name: str) -> Iterator[TextIO]:
        """A text file beside a partition, for people; there once it is whole."""
        place = self.place(manifest.asset, manifest.batch)
        with self.disk.work(place) as work:
            with (work / name).open("w", encoding="utf-8") as file:
                yield file
            self.disk.put(work / name, place / name)

    def beside(self, asset: str, batch: str) -> Path:
        """A folder of this machine for files on the way: the partition's own, where that is on a local disk."""
        place = self.place(asset, batch)
        return place if isinstance(place, Path) else Path(tempfile.gettempdir())

    def journal(self, asset: str, batch: str) -> Journal:
        """What is finished of a partition before all of it is. On this machine, wherever the partition is."""
        place = self.place(asset, batch)
        if isinstance(place, Path):
            return Journal(place / "journal")
        return Journal(Path.home() / ".cache" / "tracemill" / "journals" / place.protocol / place.path)

    def hold(self, asset: str) -> AbstractContextManager[None]:
        """One process of this machine at a time: for what is shared by an asset's partitions. Waits."""
        return self.disk.hold(self.folder / asset)


class Fresh:
    """A partition being written: its files, and what is counted on the way."""

    def __init__(self, work: Path, asset: str):
        self.asset = asset
        self.kept = RowWriter(work / "rows.parquet", ROWS[asset.partition("/")[0]])
        self.rejects = (work / "rejects.jsonl").open("wb")
        self.rejects_hash = blake2b(digest_size=10)
        self.reasons: Counter[str] = Counter()
        self.measures: Counter[str] = Counter()
        self.sources = 0
        """Rows of the stage above that were kept, as one or several, or rejected."""
        self.source: str | None = None
        """The last of them."""

    @property
    def rejected(self) -> int:
        return self.reasons.total()

    @property
    def digest(self) -> str:
        return blake2b(f"{self.kept.digest} {self.rejects_hash.hexdigest()}".encode(), digest_size=10).hexdigest()

    def add(self, row: Row | Reject) -> None:
        self.sources += row.source != self.source
        self.source = row.source
        if isinstance(row, Reject):
            self.reject(row)
            return
        try:
            self.kept.add(row)
        except UnicodeEncodeError as error:
            detail = f"{self.asset}: half of a surrogate pair at {error.start} of a text: no UTF-8 file can hold it"
            self.reject(Reject(id=row.source, stage=self.asset, reason="not_unicode", detail=detail))
        else:
            self.measures.update(row.measures())

    def reject(self, row: Reject) -> None:
        line = msgspec.json.encode(row) + b"\n"
        self.rejects.write(line)
        self.rejects_hash.update(line)
        self.reasons[row.reason] += 1

    def name_files(self, draft: Draft) -> tuple[str, str]:
        """Give both files the names of what they hold. One that is there already, and whole, stays."""
        rows_file, rejects_file = f"rows-{self.kept.digest}.parquet", f"rejects-{self.rejects_hash.hexdigest()}.jsonl"
        for written, name in (("rows.parquet", rows_file), ("rejects.jsonl", rejects_file)):
            if draft.lacks(written, name):
                draft.keep(written, name)
        return rows_file, rejects_file

    def __enter__(self) -> None:
        self.kept.__enter__()

    def __exit__(self, *failed: object) -> None:
        self.kept.__exit__(*failed)
        self.rejects.close()


def _damaged(asset: str, batch: str, file: str, error: Exception) -> StoreError:
    why = "is gone" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
    return StoreError(f"{asset}/{batch}: {file} {why}; {_again(asset, batch)}")


def _again(asset: str, batch: str) -> str:
    """How such a partition is made anew: what was paid for, only by who says so."""
    if asset in ("prompts", "traces"):
        return f"`tracemill materialize {batch}` makes it anew once its folder is deleted, and runs its prompts again"
    return f"`tracemill backfill {batch}` makes it anew"


def _of_another_version(asset: str, batch: str, why: str) -> StoreError:
    return StoreError(f"{asset}/{batch} was written by another version of Tracemill: {why}; {_again(asset, batch)}")
