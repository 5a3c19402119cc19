"""What is published is what was audited, opens with `datasets`, and is not written twice."""

import dataclasses
import json
import os
import re
import warnings
from collections import Counter
from pathlib import Path

import datasets
import msgspec
import numpy as np
import pytest
from huggingface_hub import DatasetCard
from msgspec.structs import replace

from pipeline.assets.publication import makers_of
from pipeline.columns import RowWriter
from pipeline.converting.messages import tell
from pipeline.errors import PublicationRefused, SettingsError
from pipeline.loading import load_tokenizer
from pipeline.publishing.folder import Folder
from pipeline.publishing.publish import publish
from pipeline.publishing.shards import Sourced, conversation_of, dialogs, split_of
from pipeline.publishing.verdict import require_verdict
from pipeline.records import Conversation, Finding, Ids, MaskedRow, Origin, Reject, RenderedRow, Row, Trace
from pipeline.resources.store import Store
from pipeline.targets import Project
from pipeline.training import load_traces, mask_data, prepare_data
from pipeline.verifying import verify
from renderers.hub import from_hub
from renderers.messages import Message, Part, text

BATCHES = ("codex_tasks", "pi_tasks")


def load(folder: Path, config: str, tmp_path: Path) -> datasets.Dataset:
    found = datasets.load_dataset(str(folder), config, split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(found, datasets.Dataset)
    return found


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


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_published_conversations_make_the_published_tensors_again(made: Project, folder: Path, tmp_path, suffix: str):
    published = load(folder, "qwen3", tmp_path)
    source = folder / "conversations"
    if suffix == "jsonl":
        source = tmp_path / "rows.jsonl"
        load(folder, "conversations", tmp_path).to_json(source, date_format="iso")
    target = made.targets["qwen3"]
    asked = {"renderer": target.renderer, "history": target.history, "max_length": target.max_length}
    tokenizer = load_tokenizer(target, folder=made.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labelled = mask_data(prepare_data(source, tokenizer, **asked, tokenize=True))
    assert labelled["input_ids"] == published["input_ids"]
    assert labelled["labels"] == published["labels"]


def test_content_with_a_picture_is_published_as_json_not_dropped():
    picture = (Part("text", "What is it?"), Part("image"))
    row = Conversation(id="c", trace_id="t", prompt_id="p", window=0, messages=(Message("user", picture),), format="pi")
    ((split, published),) = dialogs([Sourced(row, "raw", "train")])
    assert split == "train"
    assert json.loads(published.messages[0].content) == [{"type": "text", "text": "What is it?"}, {"type": "image"}]
    assert conversation_of(published).messages == row.messages
    (again,) = tell(json.loads(msgspec.json.encode(published)))
    assert again.messages == row.messages


def test_the_card_tells_configs_counts_and_what_left(store: Store, folder: Path):
    card = DatasetCard.load(folder / "README.md")
    configs = [config["config_name"] for config in card.data.to_dict()["configs"]]
    assert configs == ["chatml", "qwen3", "conversations", "traces"]
    manifests = [store.known("masked/qwen3", batch) for batch in BATCHES]
    tokens, trained = (sum(m.measures[name] for m in manifests) for name in ("tokens", "trained"))
    assert f"| {sum(m.rows for m in manifests)} | {tokens:,} | {trained:,} |" in card.text
    summaries = [json.loads((store.place("audits/qwen3", b) / "summary.json").read_bytes()) for b in BATCHES]
    turns = sum(summary["trained_turns"] for summary in summaries)
    assert f"**{turns} of {turns} trained turns: inference sees this exact prefix.**" in card.text
    rejected = sum(m.rejects.get("no_target", 0) for m in manifests)
    assert f"| masked/qwen3: no_target | {rejected} |" in card.text


def test_the_card_says_the_same_whenever_it_is_written(folder: Path, put, tmp_path: Path):
    for batch in BATCHES:
        put(batch, tmp_path / "again")
    assert (tmp_path / "again" / "README.md").read_text() == (folder / "README.md").read_text()


def test_publishing_the_same_again_writes_no_file(folder: Path, put):
    before = times(folder)
    put("pi_tasks", folder)
    assert times(folder) == before


def test_a_batch_touches_its_own_files_and_what_tells_of_the_whole(store: Store, made: Project, folder: Path, put):
    before = times(folder)
    *_, last = store.read("conversations", "pi_tasks", Conversation)
    kinds = {"conversations": Conversation, "rendered": RenderedRow, "masked": MaskedRow}
    for asset in ("conversations", *(f"{stage}/{name}" for stage in ("rendered", "masked") for name in made.targets)):
        was = store.known(asset, "pi_tasks")
        rows = list(store.read(asset, "pi_tasks", kinds[asset.partition("/")[0]]))
        fewer = [row for row in rows if last.id not in (row.id, getattr(row, "conversation_id", ""))]
        store.write(asset, "pi_tasks", fewer, code_version=was.code_version, inputs=was.inputs)
    accept(store, made, "pi_tasks")
    put("pi_tasks", folder)
    after = times(folder)
    changed = {name for name, time in after.items() if time != before[name]}
    tables = {f"{config}/train/pi_tasks.parquet" for config in (*made.targets, "conversations", "traces")}
    pictures = {f"{target}/pi_tasks.png" for target in made.targets}
    assert tables | {"README.md", "tracemill.json"} <= changed <= tables | pictures | {"README.md", "tracemill.json"}
    assert before.keys() == after.keys()


def accept(store: Store, made: Project, batch: str, *findings: Finding) -> None:
    """Write an audit of what the partitions hold now."""
    for target in made.targets:
        audited = ("conversations", f"rendered/{target}", f"masked/{target}")
        inputs = {asset: store.known(asset, batch).data_version for asset in audited}
        store.write(f"audits/{target}", batch, findings, code_version="v", inputs=inputs)


def finding(severity: str) -> Finding:
    return Finding(id="f", audit="stops", severity=severity, row="r1", detail="no stop")


def test_rows_that_no_audit_saw_are_refused(store: Store, made: Project):
    require_verdict(store, "pi_tasks", "qwen3")
    was = store.known("masked/qwen3", "pi_tasks")
    fewer = list(store.read("masked/qwen3", "pi_tasks", MaskedRow))[:-1]
    store.write("masked/qwen3", "pi_tasks", fewer, code_version=was.code_version, inputs=was.inputs)
    with pytest.raises(PublicationRefused, match="audited other rows than masked/qwen3 has now; materialize"):
        require_verdict(store, "pi_tasks", "qwen3")


def test_an_error_is_refused_and_a_warning_is_not(store: Store, made: Project, folder: Path, put):
    accept(store, made, "pi_tasks", finding("warning"))
    put("pi_tasks", folder)
    before = times(folder)
    accept(store, made, "pi_tasks", finding("warning"), finding("error"))
    with pytest.raises(PublicationRefused, match="1 stops; first: row r1: no stop"):
        put("pi_tasks", folder)
    assert times(folder) == before


def test_a_batch_of_which_nothing_is_left_is_refused(store: Store, made: Project):
    gone = [Reject(id="r", stage="masked", reason="too_long", detail="")]
    store.write("masked/chatml", "pi_tasks", gone, code_version="v")
    accept(store, made, "pi_tasks")
    with pytest.raises(PublicationRefused, match=re.escape("masked/chatml/pi_tasks: no row is left (1 too_long)")):
        require_verdict(store, "pi_tasks", "chatml")


def test_a_batch_that_was_not_audited_is_refused(store: Store):
    with pytest.raises(PublicationRefused, match="not audited; materialize audits/qwen3"):
        require_verdict(store, "another", "qwen3")


@pytest.mark.parametrize("died_after", range(4))
def test_a_publication_that_dies_leaves_whole_files(
    folder: Path, put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, died_after: int
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
        put("pi_tasks", fresh)
    monkeypatch.undo()
    for name in (str(p.relative_to(fresh)) for p in fresh.rglob("*.parquet") if not p.name.startswith(".")):
        assert (fresh / name).read_bytes() == (folder / name).read_bytes()
    put("pi_tasks", fresh)
    assert not [path for path in fresh.rglob(".*") if path.is_file()]


def test_sessions_are_published_without_what_must_not_leave(store: Store, made: Project, put, tmp_path: Path):
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    traces = list(store.read("traces", "pi_tasks", Trace))
    said = json.dumps({"type": "note", "text": f"token: {secret}\n“ü”"}).encode()
    told = [replace(t, files=(replace(t.files[0], data=t.files[0].data + said + b"\n\xff{"),)) for t in traces]
    was = store.known("traces", "pi_tasks")
    store.write("traces", "pi_tasks", told, code_version=was.code_version, inputs=was.inputs)
    put("pi_tasks", tmp_path / "set")
    found = {row["id"]: row["trace"] for row in load(tmp_path / "set", "traces", tmp_path)}
    kept = {c.trace_id for c in store.read("conversations", "pi_tasks", Conversation)}
    assert found.keys() == kept
    for trace in traces:
        if trace.id in kept:
            first, *_, note, broken = found[trace.id].split("\n")
            assert first == trace.files[0].data.decode().split("\n")[0]
            assert secret not in found[trace.id]
            assert json.loads(note)["text"].startswith("token: REDACTED_")
            assert broken == "\ufffd{"


def test_a_repository_or_a_prompt_is_in_one_split_only():
    splits = {"validation": 0.1, "test": 0.2}

    def drawn(prompt: str, repository: str | None = None) -> str:
        return split_of(replace(conversation(prompt), origin=Origin(repository=repository)), splits)

    found = Counter(drawn(f"p{n}") for n in range(4000))
    assert {name: round(n / 4000, 1) for name, n in found.items()} == {"train": 0.7, "test": 0.2, "validation": 0.1}
    assert len({drawn(f"p{n}", "owner/name") for n in range(50)}) == 1
    assert {split_of(conversation("p"), {}) for _ in range(2)} == {"train"}


def conversation(prompt: str) -> Conversation:
    return Conversation(id="c", trace_id="t", prompt_id=prompt, window=0, messages=(), format="pi")


def test_splits_are_files_of_their_own_and_nothing_is_in_two(store: Store, made: Project, tmp_path: Path):
    publication = made.settings.publish.model_copy(update={"splits": {"test": 0.4}})
    settings = made.settings.model_copy(update={"publish": publication})
    left: set[str] = set()
    for batch in BATCHES:
        beside, makers = store.place("publication", batch), makers_of(made, store, batch)
        where = Folder(tmp_path / "set")
        done = publish(store, batch, settings, publisher=where, beside=beside, makers=makers)
        left |= {one.id for one in done if isinstance(one, Reject)}
    split = {
        name: datasets.load_dataset(str(tmp_path / "set"), "qwen3", split=name, cache_dir=str(tmp_path / "cache"))
        for name in ("train", "test")
    }
    apart = {name: {row["conversation_id"] for row in rows} for name, rows in split.items()}
    assert apart["train"]
    assert apart["test"]
    assert not apart["train"] & apart["test"]
    every = {row.conversation_id for batch in BATCHES for row in store.read("masked/qwen3", batch, MaskedRow)}
    published = apart["train"] | apart["test"]
    assert published | left >= every
    assert not published & left
    rows = [row for name in split for row in split[name]]
    tokens = sum(len(row["input_ids"]) for row in rows)
    trained = sum(label != -100 for row in rows for label in row["labels"])
    card = (tmp_path / "set" / "README.md").read_text()
    assert f"| {len(rows)} | {tokens:,} | {trained:,} |" in card.partition("### qwen3\n")[2]
    assert f"| publication: leak | {len(left)} |" in card
    told = datasets.load_dataset(str(tmp_path / "set"), "conversations", cache_dir=str(tmp_path / "cache"))
    assert f"| codex | format | {sum(row['format'] == 'codex' for row in (*told['train'], *told['test']))} |" in card
    turns = verify(str(tmp_path / "set")).verdicts["qwen3"]
    assert f"**{turns}.**" in card.partition("### qwen3\n")[2]
    assert not turns.startswith("72 of 72")
    for name in ("train", "test"):
        assert set(load_traces(tmp_path / "set/conversations", split=name)["id"]) == set(told[name]["id"])
    with pytest.raises(SettingsError, match="no split 'dev'; it has test, train"):
        load_traces(tmp_path / "set/conversations", split="dev")


def test_what_a_split_may_not_have_is_in_no_config_and_says_why(store: Store, made: Project, tmp_path: Path):
    batch = BATCHES[0]
    makers, beside = makers_of(made, store, batch), store.place("publication", batch)
    told = list(store.read("conversations", batch, Conversation))
    (row, *_) = store.read("masked/qwen3", batch, MaskedRow)
    out = next(one for one in told if one.id == row.conversation_id)
    leak = Reject(id=out.id, stage="publication", reason="leak", detail="")
    places = {one.id: leak if one is out else "train" for one in told}
    where = Folder(tmp_path / "set")
    makers = dataclasses.replace(makers, places=lambda splits: places)
    *_, left = publish(store, batch, made.settings, publisher=where, beside=beside, makers=makers)
    assert left is leak
    for config, column in (("qwen3", "conversation_id"), ("conversations", "id"), ("traces", "id")):
        found = load(tmp_path / "set", config, tmp_path)[column]
        assert found
        assert {out.id, out.trace_id}.isdisjoint(found)


def test_a_later_version_of_a_file_shares_its_pages(tmp_path: Path):
    rng = np.random.default_rng(7)
    rows = [Numbers(id=str(n), values=rng.integers(0, 1 << 17, 2000).astype(np.int32)) for n in range(600)]
    fewer = [*rows[:50], *rows[55:]]

    def shared(published: bool) -> float:
        first, second = (written(tmp_path / name, some, published) for name, some in (("a", rows), ("b", fewer)))
        held = {first[k : k + 64] for k in range(len(first) - 63)}
        return sum(second[k : k + 64] in held for k in range(0, len(second) - 63, 64)) / (len(second) // 64)

    assert shared(True) > 0.6
    assert shared(False) < 0.4


class Numbers(Row, frozen=True, kw_only=True):
    values: Ids


def written(path: Path, rows: list[Numbers], published: bool) -> bytes:
    with RowWriter(path, Numbers, published=published) as writer:
        for row in rows:
            writer.add(row)
    return path.read_bytes()
