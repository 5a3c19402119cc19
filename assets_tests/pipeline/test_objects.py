"""Partitions in an object store: a real server on loopback, asked as any S3 is asked."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from upath import UPath

from pipeline.errors import SettingsError, StoreError
from pipeline.records import Prompt, Reject
from pipeline.resources import disks
from pipeline.resources.salt import salt_of
from pipeline.resources.store import Store
from pipeline.staleness import stale, upstream
from pipeline.targets import SETTINGS, Project, load_project

GONE = Reject(id="gone", stage="prompts", reason="invalid_json", detail="-")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 of its own; what finds it is in the environment, as where the project is deployed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < end
            assert running.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(10)


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    told = {"AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    for name, value in {**told, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{os.getpid()}-{random.randrange(10**9)}"
    UPath(f"s3://{name}", skip_instance_cache=True).fs.mkdir(name)
    return f"s3://{name}/some/prefix"


@pytest.fixture
def project(project: Project, bucket: str) -> Project:
    """The example, its partitions in the bucket."""
    path = project.folder / SETTINGS
    path.write_text(f"{path.read_text()}\ndata: {bucket}\n")
    return load_project(project.folder)


@pytest.fixture
def store(project: Project) -> Store:
    return Store(project.data)


def write(store: Store, *words: str, version: str = "v1") -> str:
    rows = [*(Prompt(id=word, prompt=word) for word in words), GONE]
    return store.write("prompts", "b", rows, code_version=version).data_version


def read(store: Store) -> list[str]:
    return [row.prompt for row in store.read("prompts", "b", Prompt)]


def test_a_project_is_materialized_there_and_holds_the_same_rows_as_here(
    project: Project, store: Store, made: Project, materialize: Callable, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRACEMILL_SALT", salt_of(made.data).decode())
    assert materialize(project, "pi_tasks").success
    here = Store(made.data)
    for asset in upstream(project):
        assert store.known(asset, "pi_tasks").rows == here.known(asset, "pi_tasks").rows
        if asset != "publication":
            assert store.known(asset, "pi_tasks").rows_file == here.known(asset, "pi_tasks").rows_file
    assert {one.batch for one in stale(project, store)} == {"codex_tasks"}
    assert not (project.folder / "data").exists()
    assert (project.folder / "dataset" / "README.md").exists()


def test_what_is_written_is_read_and_the_same_again_uploads_no_rows(store: Store):
    first = write(store, "a", "b")
    assert read(store) == ["a", "b"]
    assert [row.id for row in store.rejects("prompts", "b")] == ["gone"]
    place = store.place("prompts", "b") / store.known("prompts", "b").rows_file
    before = place.stat().st_mtime
    time.sleep(1.1)
    assert write(store, "a", "b") == first
    assert place.stat().st_mtime == before
    assert store.batches("prompts") == ["b"]


def test_of_two_writers_the_one_that_ends_second_is_refused(store: Store):
    def rows(meanwhile: str) -> Iterator[Prompt]:
        yield Prompt(id="1", prompt="slow")
        write(store, meanwhile)

    for quick in ("where there was no partition", "where there was one"):
        with pytest.raises(StoreError, match="another process wrote it meanwhile; nothing was replaced"):
            store.write("prompts", "b", rows(quick), code_version="v1")
        assert read(store) == [quick]


def test_what_is_being_read_stays_readable_and_is_swept_a_day_after(store: Store, monkeypatch: pytest.MonkeyPatch):
    write(store, "old")
    reading = store.read("prompts", "b", Prompt)
    write(store, "new")
    write(store, "newer")
    assert [row.prompt for row in reading] == ["old"]
    place = store.place("prompts", "b")
    assert len([file for file in place.iterdir() if file.name.startswith("rows-")]) == 3
    monkeypatch.setattr(disks, "DAY", -60)
    write(store, "newest")
    assert len([file for file in place.iterdir() if file.name.startswith("rows-")]) == 2
    assert read(store) == ["newest"]


def test_the_salt_is_one_whoever_makes_it(project: Project):
    assert salt_of(project.data) == salt_of(project.data) != b""


def test_an_address_that_nothing_reads_is_refused_with_the_cure(project: Project):
    path = project.folder / SETTINGS
    path.write_text(path.read_text().replace("data: s3://", "data: nowhere://"))
    with pytest.raises(SettingsError, match=r"tracemill.yaml: data: nowhere://.*s3fs"):
        _ = load_project(project.folder).data


WRITER = """
import sys
from upath import UPath
from pipeline.records import Prompt
from pipeline.resources.store import Store

store = Store(UPath(sys.argv[1], use_listings_cache=False))
print("ready", flush=True)
while True:
    for word, many in (("new", 500), ("old", 300)):
        store.write("prompts", "b", [Prompt(id=str(n), prompt=word) for n in range(many)], code_version=word)
"""


def test_a_writer_killed_at_any_moment_leaves_the_old_partition_or_the_new_one(store: Store, bucket: str):
    store.write("prompts", "b", [Prompt(id=str(n), prompt="old") for n in range(300)], code_version="old")
    chance, found = random.Random(7), set()
    for _ in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, bucket], stdout=subprocess.PIPE)
        assert writer.stdout
        writer.stdout.readline()
        time.sleep(chance.uniform(0.1, 1))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        word, rows = store.known("prompts", "b").code_version, read(store)
        assert (set(rows), len(rows)) == ({word}, {"old": 300, "new": 500}[word])
        found.add(word)
    assert not list(Path.cwd().glob("tracemill-*"))
