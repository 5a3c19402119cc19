"""What is published is what was audited, opens with `datasets`, and is not written twice."""

import base64
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import huggingface_hub.constants
import numpy as np
import pytest
from huggingface_hub import DatasetCard, HfApi

from pipeline.errors import PublicationRefused, SettingsError
from pipeline.publishing.folder import Folder
from pipeline.publishing.hub import Hub
from pipeline.publishing.publish import publish
from pipeline.publishing.shards import dialogs
from pipeline.publishing.verdict import verify
from pipeline.records import Conversation, Finding, MaskedRow, Reject, Shard
from pipeline.resources.hub import publisher_of
from pipeline.resources.store import Store
from pipeline.targets import Project, Publication
from renderers.messages import Message, Part, from_hub, text

BATCHES = ("codex_tasks", "pi_tasks")


@pytest.fixture
def folder(made: Project) -> Path:
    return made.folder / "dataset"


def load(folder: Path, config: str, tmp_path: Path) -> datasets.Dataset:
    found = datasets.load_dataset(str(folder), config, split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(found, datasets.Dataset)
    return found


def put(store: Store, made: Project, batch: str, folder: Path) -> list[Shard]:
    beside = store.place("publication", batch)
    return list(publish(store, batch, made.settings, publisher=Folder(folder), beside=beside))


def times(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("target", ["qwen3", "chatml"])
def test_a_trainer_gets_the_tensors_that_were_audited(store: Store, folder: Path, tmp_path: Path, target: str):
    found = load(folder, target, tmp_path).with_format("numpy")
    rows = [row for batch in BATCHES for row in store.read(f"masked/{target}", batch, MaskedRow)]
    assert found.num_rows == len(rows) > 0
    for got, row in zip(found, rows, strict=True):
        assert got["id"] == row.id
        for name in ("input_ids", "labels", "attention_mask"):
            assert np.array_equal(got[name], getattr(row, name))
    assert str(found.features["labels"].feature.dtype) == "int32"


def test_conversations_are_published_in_the_shape_of_the_hub(store: Store, folder: Path, tmp_path: Path):
    found = load(folder, "conversations", tmp_path)
    rows = [row for batch in BATCHES for row in store.read("conversations", batch, Conversation)]
    for got, row in zip(found, rows, strict=True):
        assert from_hub(got["messages"]) == tuple(m.but(content=text(m.content)) for m in row.messages)
        assert json.loads(got["tools"]) == list(row.tools)
        assert got["prompt_id"] == row.prompt_id


def test_content_with_a_picture_is_published_as_json_not_dropped():
    picture = (Part("text", "What is it?"), Part("image"))
    row = Conversation(id="c", trace_id="t", prompt_id="p", window=0, messages=(Message("user", picture),), format="pi")
    (published,) = dialogs([row])
    assert json.loads(published.messages[0].content) == [{"type": "text", "text": "What is it?"}, {"type": "image"}]


def test_the_card_tells_configs_counts_and_what_left(store: Store, folder: Path):
    card = DatasetCard.load(folder / "README.md")
    assert [config["config_name"] for config in card.data.to_dict()["configs"]] == ["qwen3", "chatml", "conversations"]
    manifests = [store.known("masked/qwen3", batch) for batch in BATCHES]
    tokens, trained = (sum(m.measures[name] for m in manifests) for name in ("tokens", "trained"))
    assert f"| {sum(m.rows for m in manifests)} | {tokens:,} | {trained:,} |" in card.text
    assert "**No audit found an error.**" in card.text
    rejected = sum(m.rejects.get("no_target", 0) for m in manifests)
    assert f"| masked/qwen3: no_target | {rejected} |" in card.text


def test_the_card_says_the_same_whenever_it_is_written(store: Store, made: Project, folder: Path, tmp_path: Path):
    for batch in BATCHES:
        put(store, made, batch, tmp_path / "again")
    assert (tmp_path / "again" / "README.md").read_text() == (folder / "README.md").read_text()


def test_publishing_the_same_again_writes_no_file(store: Store, made: Project, folder: Path):
    before = times(folder)
    put(store, made, "pi_tasks", folder)
    assert times(folder) == before


def test_a_batch_touches_its_own_shards_and_the_card_only(store: Store, made: Project, folder: Path):
    before = times(folder)
    rows = list(store.read("conversations", "pi_tasks", Conversation))[:-1]
    for asset, kept in (("conversations", rows), ("masked/qwen3", None), ("masked/chatml", None)):
        was = store.known(asset, "pi_tasks")
        fewer = kept or list(store.read(asset, "pi_tasks", MaskedRow))[:-1]
        store.write(asset, "pi_tasks", fewer, code_version=was.code_version, inputs=was.inputs)
    accept(store, made, "pi_tasks")
    put(store, made, "pi_tasks", folder)
    changed = {name for name, time in times(folder).items() if time != before[name]}
    assert changed == {"README.md", *(f"{c}/train/pi_tasks.parquet" for c in ("qwen3", "chatml", "conversations"))}


def accept(store: Store, made: Project, batch: str, *findings: Finding) -> None:
    """Write an audit of what the partitions hold now."""
    for target in made.targets:
        audited = ("conversations", f"rendered/{target}", f"masked/{target}")
        inputs = {asset: store.known(asset, batch).data_version for asset in audited}
        store.write(f"audits/{target}", batch, findings, code_version="v", inputs=inputs)


def finding(severity: str) -> Finding:
    return Finding(id="f", audit="stops", severity=severity, row="r1", detail="no stop")


def test_rows_that_no_audit_saw_are_refused(store: Store, made: Project):
    verify(store, "pi_tasks", "qwen3")
    was = store.known("masked/qwen3", "pi_tasks")
    fewer = list(store.read("masked/qwen3", "pi_tasks", MaskedRow))[:-1]
    store.write("masked/qwen3", "pi_tasks", fewer, code_version=was.code_version, inputs=was.inputs)
    with pytest.raises(PublicationRefused, match="audited other rows than masked/qwen3 has now; materialize"):
        verify(store, "pi_tasks", "qwen3")


def test_an_error_is_refused_and_a_warning_is_not(store: Store, made: Project, folder: Path):
    accept(store, made, "pi_tasks", finding("warning"))
    put(store, made, "pi_tasks", folder)
    before = times(folder)
    accept(store, made, "pi_tasks", finding("warning"), finding("error"))
    with pytest.raises(PublicationRefused, match="1 stops; first: row r1: no stop"):
        put(store, made, "pi_tasks", folder)
    assert times(folder) == before


def test_a_batch_of_which_nothing_is_left_is_refused(store: Store, made: Project):
    gone = [Reject(id="r", stage="masked", reason="too_long", detail="")]
    store.write("masked/chatml", "pi_tasks", gone, code_version="v")
    accept(store, made, "pi_tasks")
    with pytest.raises(PublicationRefused, match=re.escape("masked/chatml/pi_tasks: no row is left (1 too_long)")):
        verify(store, "pi_tasks", "chatml")


def test_a_batch_that_was_not_audited_is_refused(store: Store):
    with pytest.raises(PublicationRefused, match="not audited; materialize audits/qwen3"):
        verify(store, "another", "qwen3")


@pytest.mark.parametrize("died_after", range(4))
def test_a_publication_that_dies_leaves_whole_files(
    store: Store, made: Project, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, died_after: int
):
    replaced, replace = [], os.replace

    def dying(source: Path, place: Path) -> None:
        if len(replaced) == died_after:
            raise KeyboardInterrupt
        replaced.append(place)
        replace(source, place)

    monkeypatch.setattr(os, "replace", dying)
    fresh = tmp_path / "fresh"
    with pytest.raises(KeyboardInterrupt):
        put(store, made, "pi_tasks", fresh)
    monkeypatch.undo()
    for name in (str(p.relative_to(fresh)) for p in fresh.rglob("*.parquet") if not p.name.startswith(".")):
        assert (fresh / name).read_bytes() == (folder / name).read_bytes()
    put(store, made, "pi_tasks", fresh)
    assert not [path for path in fresh.rglob(".*") if path.is_file()]


def test_the_hub_needs_a_repository(made: Project):
    settings = made.settings.model_copy(update={"publish": Publication(to="hub")})
    with pytest.raises(SettingsError, match=r"publish\.repo: name it"):
        publisher_of(Project(made.folder, settings))


class FakeHub(BaseHTTPRequestHandler):
    """One dataset repository: commits are JSON lines, a commit must name the one before it."""

    files: dict[str, bytes]
    commits: list[str]

    @property
    def address(self) -> str:
        return f"http://{self.headers['Host']}/datasets/me/set"

    def do_GET(self) -> None:
        self.answer({"id": "me/set", "sha": self.commits[-1]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != "Bearer right":
            self.answer({"error": "who are you?"}, status=401)
        elif self.path.endswith("/repos/create"):
            self.answer({"url": self.address})
        elif self.path.endswith("/validate-yaml"):
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            told = json.loads(body)["files"]
            self.answer({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in told]})
        else:
            self.commit([json.loads(line) for line in body.splitlines()])

    def commit(self, lines: list[dict]) -> None:
        head = lines[0]["value"]
        if head["parentCommit"] != self.commits[-1]:
            self.answer({"error": "A commit has happened since"}, status=412)
            return
        for line in lines[1:]:
            self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        self.commits.append(f"{len(self.commits):040x}")
        oid = self.commits[-1]
        self.answer({"commitUrl": f"{self.address}/commit/{oid}", "commitOid": oid, "success": True})

    def answer(self, told: dict, status: int = 200) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[type[FakeHub], Callable[[str], Hub]]]:
    """A Hub on this machine, and (token) -> the publisher that goes there."""
    handler = type("OwnHub", (FakeHub,), {"files": {}, "commits": ["0" * 40]})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)  # as HF_ENDPOINT sets it
    yield handler, lambda token: Hub(HfApi(endpoint=address, token=token), "me/set", private=True)
    server.shutdown()
    server.server_close()


def test_a_batch_is_one_commit_on_the_hub(store: Store, made: Project, folder: Path, hub):
    handler, publisher = hub
    for batch in BATCHES:
        beside = store.place("publication", batch)
        list(publish(store, batch, made.settings, publisher=publisher("right"), beside=beside))
    assert len(handler.commits) == 1 + len(BATCHES)
    assert handler.files == {name: (folder / name).read_bytes() for name in times(folder)}


def test_a_hub_that_refuses_is_told_with_the_cure(store: Store, made: Project, hub):
    handler, publisher = hub
    beside = store.place("publication", "pi_tasks")
    with pytest.raises(PublicationRefused, match="is HF_TOKEN set, with write access"):
        list(publish(store, "pi_tasks", made.settings, publisher=publisher("wrong"), beside=beside))
    assert handler.files == {}
