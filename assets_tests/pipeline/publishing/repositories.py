"""What a small Hub keeps: repositories of commits, and what points at them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

MAIN = "refs/heads/main"
LFS_SUFFIXES = (".parquet", ".arrow", ".png", ".zst")
"""What a dataset's .gitattributes sends to LFS."""
WHEN = "2026-01-01T00:00:00.000Z"


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, told: str, code: str = ""):
        super().__init__(told)
        self.status, self.told, self.code = status, told, code


@dataclass(frozen=True)
class Blob:
    """A file of a commit."""

    data: bytes
    lfs: bool

    @property
    def git(self) -> str:
        told = self.data if not self.lfs else f"version 1\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(told) + told).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git


@dataclass
class Commit:
    oid: str
    parent: str | None
    title: str
    files: Mapping[str, Blob]


@dataclass
class PullRequest:
    number: int
    title: str
    status: str = "open"


@dataclass
class Repo:
    """Commits, and what points at them."""

    name: str
    private: bool
    gated: str | bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    pulls: list[PullRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.add(MAIN, None, "initial commit", {".gitattributes": Blob(b"*.parquet filter=lfs\n", lfs=False)})

    def add(self, ref: str, parent: str | None, title: str, files: Mapping[str, Blob]) -> Commit:
        told = json.dumps([parent, title, len(self.commits), sorted((p, b.git) for p, b in files.items())])
        commit = Commit(hashlib.sha1(told.encode()).hexdigest(), parent, title, dict(files))
        self.commits[commit.oid] = commit
        self.refs[ref] = commit.oid
        return commit

    def ref(self, revision: str) -> str:
        return revision if revision.startswith("refs/") else f"refs/heads/{revision}"

    def at(self, revision: str) -> Commit:
        oid = self.refs.get(self.ref(revision), revision)
        if oid not in self.commits:
            raise Refused(404, f"no revision {revision}", "RevisionNotFound")
        return self.commits[oid]

    @property
    def files(self) -> dict[str, bytes]:
        """What is on main."""
        return {path: blob.data for path, blob in self.at("main").files.items()}

    @property
    def history(self) -> list[str]:
        """Titles on main, the oldest first."""
        found, oid = [], self.refs[MAIN]
        while oid:
            found.append(self.commits[oid].title)
            oid = self.commits[oid].parent
        return found[::-1]
