"""A dataset proves itself: every row is made again, and a change of any byte shows."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from pipeline import cli
from pipeline.columns import open_rows, read_rows
from pipeline.errors import PublicationRefused
from pipeline.publishing.index import INDEX, Index, read_index, write_index
from pipeline.publishing.proofs import ids_sha, mask_sha, root, sha
from pipeline.publishing.publisher import Change
from pipeline.publishing.shards import Dialog, Tensors, conversation_of, write_table
from pipeline.records import Conversation, MaskedRow, RenderedRow, Shard
from pipeline.resources.store import Store
from pipeline.targets import Project
from pipeline.verifying import verify

ROOT = Path(__file__).parents[3]
FILE = "qwen3/train/pi_tasks.parquet"


def test_what_was_published_passes(folder: Path):
    found = verify(str(folder))
    assert found.bad is None
    assert found.notes == ()
    assert found.rows == {"chatml": 27, "conversations": 27, "qwen3": 42, "traces": 25}


def test_the_command_says_pass_or_the_first_bad_row(folder: Path):
    passed = CliRunner().invoke(cli.app, ["verify", str(folder)])
    assert (passed.exit_code, passed.output.split()[0]) == (0, "PASS")
    row = forged(folder, lambda row: replace(row, labels=np.where(row.labels == -100, -100, 7).astype(np.int32)))
    failed = CliRunner().invoke(cli.app, ["verify", str(folder)])
    assert failed.exit_code == 1
    assert failed.output.startswith(f"FAIL qwen3/train/pi_tasks.parquet, row {row}: rendered again, labels differs")
    told = json.loads(CliRunner().invoke(cli.app, ["verify", str(folder), "--json"]).output)
    assert (told["passed"], told["bad"][1]) == (False, row)


def test_a_change_of_any_byte_shows(folder: Path, examples: int, tmp_path: Path):
    rng = random.Random(7)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in files]
    unseen = []
    for _ in range(examples):
        path = rng.choices(files, sizes)[0] if rng.random() < 0.5 else rng.choice(files)
        whole = path.read_bytes()
        at, by = rng.randrange(len(whole)), rng.randrange(1, 256)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ by]) + whole[at + 1 :])
        if verify(str(folder)).passed:
            unseen.append((path.name, at, by))
        path.write_bytes(whole)
    assert not unseen
    assert verify(str(folder)).passed


def claimed(folder: Path, shard: str, claim: Callable[[Shard], dict[str, Any]]) -> None:
    """Makes the index say something else of a shard; its own hash fits."""
    index = read_index((folder / INDEX).read_bytes())
    shards = tuple(replace(one, **claim(one)) if one.id == shard else one for one in index.shards)
    (folder / INDEX).write_bytes(write_index(Index(shards=shards, files=index.files)))


def rewritten(folder: Path, rows: Sequence[Tensors]) -> None:
    """Writes other rows of a shard; hashes of the file and of all rows fit."""
    table = write_table(folder, (("train", row) for row in rows), Tensors, config="qwen3", batch="pi_tasks")
    held = {FILE: sha((folder / FILE).read_bytes())}
    claimed(folder, "qwen3/pi_tasks", lambda shard: {"root": table.root, "files": {**shard.files, **held}})


def forged(folder: Path, change: Callable[[Tensors], Tensors], *, at: int = 3) -> str:
    """A row changed, with every hash made to fit: those of the row, of the file, the root, and of the index."""
    rows = list(read_rows(open_rows(folder / FILE), Tensors))
    changed = change(rows[at])
    rows[at] = replace(changed, ids_sha=ids_sha(changed.input_ids), mask_sha=mask_sha(changed.labels))
    rewritten(folder, rows)
    return changed.id


FORGERIES = {
    "a token": lambda row: replace(row, input_ids=with_other(row.input_ids, 5)),
    "a label": lambda row: replace(row, labels=with_other(row.labels, 0, 9)),
    "a mask": lambda row: replace(row, attention_mask=with_other(row.attention_mask, 0, 0)),
    "a shorter row": lambda row: replace(
        row, input_ids=row.input_ids[:-1], labels=row.labels[:-1], attention_mask=row.attention_mask[:-1]
    ),
    "another session": lambda row: replace(row, raw_sha="0" * 64),
    "another conversation": lambda row: replace(row, conversation_sha="0" * 64),
    "another renderer": lambda row: replace(row, renderer="0"),
    "another name": lambda row: replace(row, id=f"{row.id}x"),
}


def with_other(values: np.ndarray, at: int, value: int = 1) -> np.ndarray:
    changed = values.copy()
    changed[at] = value if value != values[at] else value + 1
    return changed


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_row_whose_hashes_were_made_to_fit_is_found_by_rendering_it_again(folder: Path, forgery: str):
    row = forged(folder, FORGERIES[forgery])
    bad = verify(str(folder)).bad
    assert bad is not None
    assert (bad.file, bad.row) == (FILE, row)


CLAIMS = {
    "proved_turns": lambda shard: {"summary": {**shard.summary, "proved_turns": 41_203}},
    "trained_turns": lambda shard: {"summary": {**shard.summary, "trained_turns": 41_203}},
    "tokens": lambda shard: {"measured": {**shard.measured, "tokens": 41_203}},
    "trained answer": lambda shard: {"measured": {**shard.measured, "trained answer": 41_203}},
    "trained user": lambda shard: {"measured": {**shard.measured, "trained user": 41_203}},
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_verdict_or_a_count_that_rows_do_not_bear_out_is_found_though_every_hash_fits(folder: Path, claim: str):
    claimed(folder, "qwen3/pi_tasks", CLAIMS[claim])
    found = verify(str(folder))
    assert found.bad is not None
    assert found.bad.what.startswith(f"qwen3/pi_tasks is said to have {claim} 41203, counted again it is ")
    assert found.verdicts == {}


ABOUT = ("messages", "agent pi", "format pi", "format codex", "model gpt-6", "status ok", "status error")


@pytest.mark.parametrize("name", ABOUT)
def test_where_conversations_come_from_is_counted_again(folder: Path, name: str):
    claimed(folder, "conversations/pi_tasks", lambda shard: {"measured": {**shard.measured, name: 41_203}})
    found = verify(str(folder)).bad
    assert found is not None
    assert found.what.startswith(f"conversations/pi_tasks is said to have {name} 41203, counted again it is ")


def test_a_count_of_where_conversations_come_from_cannot_be_left_out(folder: Path):
    claimed(
        folder,
        "conversations/pi_tasks",
        lambda shard: {"measured": {name: n for name, n in shard.measured.items() if name != "format pi"}},
    )
    found = verify(str(folder)).bad
    assert found is not None
    assert "format pi None, counted again it is " in found.what


@pytest.mark.parametrize("config", ["conversations", "qwen3", "traces"])
def test_rows_are_counted_again(folder: Path, config: str):
    claimed(folder, f"{config}/pi_tasks", lambda _: {"rows": {"train": 41_203}})
    found = verify(str(folder)).bad
    assert found is not None
    assert str(found).startswith(f"{config}/train/pi_tasks.parquet: it is said to have 41203 rows, counted again")


def test_a_split_that_the_index_does_not_know_is_found_though_its_files_are_there(folder: Path):
    claimed(folder, "traces/pi_tasks", lambda _: {"rows": {}, "root": root({})})
    assert str(verify(str(folder)).bad) == (
        "traces/train/pi_tasks.parquet: it is the table of no split that the index knows"
    )


def test_tools_that_nobody_was_offered_are_found_though_every_hash_fits(folder: Path):
    made_up = {"type": "function", "function": {"name": "rm", "parameters": {}}}
    claimed(folder, "conversations/pi_tasks", lambda shard: {"tools": (*shard.tools, made_up)})
    bad = verify(str(folder)).bad
    assert bad is not None
    assert str(bad) == "conversations/pi_tasks: its conversations were offered other tools than it says"


def test_what_was_proved_is_proved_again_and_told(folder: Path):
    card = (folder / "README.md").read_text()
    for target, verdict in verify(str(folder)).verdicts.items():
        assert f"**{verdict}.**" in card.partition(f"### {target}\n")[2].partition("###")[0]
    told = CliRunner().invoke(cli.app, ["verify", str(folder)]).output
    assert "\nqwen3: 72 of 72 trained turns: inference sees this exact prefix\n" in told


def test_a_file_that_was_added_or_taken_away_is_found(folder: Path):
    shutil.copyfile(folder / "qwen3/train/pi_tasks.parquet", folder / "qwen3/train/more.parquet")
    assert str(verify(str(folder)).bad) == "qwen3/train/more.parquet: nobody published this file"
    (folder / "qwen3/train/more.parquet").unlink()
    (folder / "chatml/train/pi_tasks.parquet").unlink()
    assert str(verify(str(folder)).bad) == "chatml/train/pi_tasks.parquet: the file is not there"


def test_a_row_that_is_missing_or_doubled_is_found(folder: Path):
    rows = list(read_rows(open_rows(folder / FILE), Tensors))
    for some, what in ((rows[:-1], "the row is missing"), ([*rows, rows[-1]], "no conversation makes this row")):
        rewritten(folder, some)
        bad = verify(str(folder)).bad
        assert bad is not None
        assert (bad.row, bad.what) == (rows[-1].id, what)


def test_a_conversation_is_published_with_all_that_is_rendered_of_it(store: Store, folder: Path):
    for batch in ("codex_tasks", "pi_tasks"):
        told = read_rows(open_rows(folder / f"conversations/train/{batch}.parquet"), Dialog)
        for row, conversation in zip(told, store.read("conversations", batch, Conversation), strict=True):
            again = conversation_of(row)
            for name in ("id", "messages", "tools", "date", "flaws"):
                assert getattr(again, name) == getattr(conversation, name)


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path):
    with pytest.raises(PublicationRefused, match="was not published by Tracemill"):
        verify(str(tmp_path))


def test_a_dataset_of_the_hub_is_verified_at_a_revision(hub, publisher, put, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HUGGINGFACE_HUB_TOKEN", hub.token)  # whose client does not know it any more
    put("pi_tasks", publisher())
    first = hub.repos["me/set"].at("main").oid
    assert verify("me/set").passed
    publisher().swap("x", lambda _: Change(put={"qwen3/train/pi_tasks.parquet": b"PAR1"}), message="by hand")
    bad = verify("me/set").bad
    assert bad is not None
    assert bad.file == "qwen3/train/pi_tasks.parquet"
    assert verify(f"me/set@{first}").passed


def test_a_dataset_that_waits_in_a_pull_request_is_verified_there(publisher, put, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    put("pi_tasks", publisher(create_pr=True))
    with pytest.raises(PublicationRefused, match=r"me/set has no .*; a pull request is me/set@refs/pr/NUMBER"):
        verify("me/set")
    assert verify("me/set@refs/pr/1").passed


CHANGES = {
    "conversations": lambda row: replace(row, model="another"),
    "masked/qwen3": lambda row: replace(row, labels=with_other(row.labels, 0, 9)),
}


@pytest.mark.parametrize("asset", CHANGES)
def test_a_stored_row_that_was_tampered_with_stops_publication(store: Store, put, folder: Path, asset: str):
    before = (folder / INDEX).read_bytes()
    place = store.file(asset, "pi_tasks", "rows_file")
    row = Conversation if asset == "conversations" else MaskedRow
    rows = list(store.read(asset, "pi_tasks", row))
    was = store.known(asset, "pi_tasks")
    elsewhere = Store(store.folder.with_name("elsewhere"))
    elsewhere.write(asset, "pi_tasks", [CHANGES[asset](rows[0]), *rows[1:]], code_version=was.code_version)
    shutil.copyfile(elsewhere.file(asset, "pi_tasks", "rows_file"), place)
    with pytest.raises(PublicationRefused, match=f"{asset}/pi_tasks holds other rows than were written"):
        put("pi_tasks", folder)
    assert (folder / INDEX).read_bytes() == before


def test_rows_that_the_renderer_would_not_write_today_stop_publication(store: Store, made: Project, put, folder: Path):
    before = (folder / INDEX).read_bytes()
    for asset, row in (("rendered/qwen3", RenderedRow), ("masked/qwen3", MaskedRow)):
        was = store.known(asset, "pi_tasks")
        first, *rest = store.read(asset, "pi_tasks", row)
        other = replace(first, input_ids=with_other(first.input_ids, 0, 1))
        store.write(asset, "pi_tasks", [other, *rest], code_version=was.code_version, inputs=was.inputs)
    audited = ("conversations", "rendered/qwen3", "masked/qwen3")
    inputs = {asset: store.known(asset, "pi_tasks").data_version for asset in audited}
    store.write("audits/qwen3", "pi_tasks", [], code_version="v", inputs=inputs)
    with pytest.raises(
        PublicationRefused, match=r"pi_tasks\.parquet, row .*: rendered again, input_ids differs at token 0"
    ):
        put("pi_tasks", folder)
    assert (folder / INDEX).read_bytes() == before


AGAIN = """if True:
    import sys
    from pathlib import Path
    from pipeline.assets.publication import makers_of
    from pipeline.publishing.folder import Folder
    from pipeline.publishing.publish import publish
    from pipeline.resources.store import Store
    from pipeline.targets import load_project
    project = load_project(Path(sys.argv[1]))
    store = Store(project.data)
    for batch in store.batches("conversations"):
        makers, beside = makers_of(project, store, batch), store.place("publication", batch)
        where = Folder(Path(sys.argv[2]))
        list(publish(store, batch, project.settings, publisher=where, beside=beside, makers=makers))
"""


def test_another_process_publishes_the_same_bytes(made: Project, folder: Path, tmp_path: Path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-c", AGAIN, str(made.folder), str(tmp_path / "again")]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=240)
    assert (tmp_path / "again" / INDEX).read_bytes() == (folder / INDEX).read_bytes()
