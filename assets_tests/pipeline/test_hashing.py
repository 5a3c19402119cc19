"""Hashes of large files: each read once, and never believed where the disk cannot tell."""

import os
import random
from pathlib import Path

import pytest

from pipeline import hashing
from pipeline.hashing import digest_of

AN_HOUR = 3_600_000_000_000
"""Nanoseconds."""


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read, in order. None counts as just written."""
    found: list[str] = []
    digest = hashing.file_digest

    def noted(file, name):
        found.append(Path(file.name).name)
        return digest(file, name)

    monkeypatch.setattr(hashing, "file_digest", noted)
    monkeypatch.setattr(hashing, "GRANULE", -AN_HOUR)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data" / "more").mkdir(parents=True)
    for name in ("a.jsonl", "b.jsonl", "more/c.jsonl"):
        (tmp_path / "data" / name).write_text(f"rows of {name}")
    return tmp_path / "data"


def test_files_are_read_once_while_they_stay_as_they_are(folder: Path, tmp_path: Path, reads: list[str]):
    first = digest_of(folder, tmp_path / "notes")
    assert reads == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert digest_of(folder, tmp_path / "notes") == first
    assert len(reads) == 3
    (folder / "b.jsonl").write_text("rows of others")
    other = digest_of(folder, tmp_path / "notes")
    assert (other != first, reads[3:]) == (True, ["b.jsonl"])
    assert digest_of(folder, tmp_path / "other notes") == other


def test_a_change_that_hides_behind_size_and_time_is_seen(folder: Path, tmp_path: Path, reads: list[str]):
    path = folder / "a.jsonl"
    for swapped in (False, True):
        first, was = digest_of(path, tmp_path / "notes"), path.stat()
        said = path.read_text()[::-1]
        if swapped:
            (folder / "new").write_text(said)
            os.replace(folder / "new", path)
        else:
            path.write_text(said)
        while path.stat().st_ctime_ns == was.st_ctime_ns or path.stat().st_mtime_ns != was.st_mtime_ns:
            os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
        now = path.stat()
        assert (now.st_size, now.st_mtime_ns) == (was.st_size, was.st_mtime_ns)
        assert digest_of(path, tmp_path / "notes") != first


def test_a_file_that_was_just_written_is_not_remembered(folder: Path, tmp_path: Path):
    """Here the clock is true: writes follow upon reads within what a disk can tell apart, and each one is seen."""
    path, chance, seen = folder / "a.jsonl", random.Random(1), {}
    for _ in range(300):
        path.write_text(said := f"{chance.randrange(50):04}")
        seen.setdefault(said, set()).add(digest_of(path, tmp_path / "notes"))
    assert len(set().union(*seen.values())) == len(seen)
    assert all(len(found) == 1 for found in seen.values())


def test_a_memo_that_is_cut_short_is_read_again(folder: Path, tmp_path: Path, reads: list[str]):
    first = digest_of(folder, tmp_path / "notes")
    (memo,) = (tmp_path / "notes").iterdir()
    memo.write_bytes(memo.read_bytes()[:9])
    assert digest_of(folder, tmp_path / "notes") == first
    assert len(reads) == 6


def test_a_file_that_goes_or_comes_makes_another_hash(folder: Path, tmp_path: Path, reads: list[str]):
    first = digest_of(folder, tmp_path / "notes")
    (folder / "a.jsonl").rename(folder / "z.jsonl")
    second = digest_of(folder, tmp_path / "notes")
    (folder / "z.jsonl").unlink()
    assert len({first, second, digest_of(folder, tmp_path / "notes")}) == 3
