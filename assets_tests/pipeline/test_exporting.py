"""Sessions and rows of any kind of file become rows; sessions of this machine become a batch."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.converting import FORMATS
from pipeline.errors import SettingsError
from pipeline.exporting import export
from pipeline.extracting import extract, sessions
from pipeline.gathering import read, read_files
from pipeline.records import REPEATED, Conversation, Prompt, Reject
from pipeline.resources.machine import names_of_this_machine
from pipeline.sourcing.files import read_batch
from pipeline.targets import EXAMPLE
from renderers.hub import from_hub

SESSIONS = EXAMPLE / "prompts" / "sessions"
CALLS = [{"id": "c", "type": "function", "function": {"name": "sh", "arguments": '{"a":  1}'}}]
ROW = {
    "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": CALLS},
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
        {"role": "assistant", "content": "y"},
    ]
}
GITHUB = "ghp_" + "q7Kd92mXw0aLr5TzUv1YbN8cEh3sJf4gPi6o"
WHERE = {"split": "train", "revision": None, "token": None}


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_every_kind_of_file_in_a_folder_is_recognised_and_read(tmp_path: Path):
    line = json.dumps(ROW)
    (tmp_path / "a.jsonl").write_text(f"{line}\n{line}\n")
    (tmp_path / "b.json").write_text(json.dumps([ROW], indent=2))
    Dataset.from_list([{**ROW, "id": "mine"}, ROW]).to_parquet(tmp_path / "sub.parquet")
    (tmp_path / "c.jsonl.zst").write_bytes(pa.compress(line.encode(), "zstd", asbytes=True))
    (tmp_path / "notes.md").write_text("nothing")
    (tmp_path / "d.json").write_text('{"a": 1}')
    told = list(read(tmp_path, **WHERE))
    assert [row.id for row in told] == [
        "a.jsonl:1",
        "a.jsonl:2",
        "b.json:1/0",
        "c.jsonl.zst:1",
        "d.json",
        "mine",
        "sub.parquet:2",
    ]
    assert isinstance(told[4], Reject)
    assert told[4].reason == "unknown_format"
    kept = [row for row in told if isinstance(row, Conversation)]
    assert {row.messages for row in kept} == {from_hub(ROW["messages"])}, "nothing is padded, arguments are verbatim"


def test_a_damaged_table_leaves_with_a_reason(tmp_path: Path):
    Dataset.from_list([ROW]).to_parquet(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:-9])
    (reject,) = read(tmp_path, **WHERE)
    assert isinstance(reject, Reject)
    assert (reject.id, reject.reason) == ("a.parquet", "unreadable")


def test_raw_sessions_of_the_hub_are_read_with_their_format(monkeypatch):
    asked = []

    def snapshot(name: str, **where) -> Path:
        asked.append((name, where["revision"], where["repo_type"]))
        return SESSIONS / "pi_tasks"

    monkeypatch.setattr("pipeline.sourcing.rows.snapshot_download", snapshot)
    told = list(read("me/traces", format="pi", split="train", revision="abc", token=None))
    assert asked == [("me/traces", "abc", "dataset")]
    assert sum(isinstance(row, Conversation) for row in told) > 10


def test_data_sets_are_read_by_their_splits():
    data = DatasetDict({"train": Dataset.from_list([ROW]), "test": Dataset.from_list([ROW, ROW])})
    assert len(list(read(data, split="test", revision=None, token=None))) == 2
    with pytest.raises(SettingsError, match="it has train, test"):
        list(read(data, split="dev", revision=None, token=None))


def test_a_folder_of_a_data_set_is_read_by_its_splits(tmp_path: Path):
    """As the Hub keeps it, and as `save_to_disk` does."""
    data = DatasetDict({"train": Dataset.from_list([ROW] * 3), "test": Dataset.from_list([ROW, ROW])})
    (tmp_path / "hub/data").mkdir(parents=True)
    for split, rows in data.items():
        rows.to_parquet(tmp_path / f"hub/data/{split}-00000-of-00001.parquet")
    data.save_to_disk(tmp_path / "saved")
    data["test"].save_to_disk(tmp_path / "one")
    for name, train, test in (("hub", 3, 2), ("saved", 3, 2), ("one", 2, 2)):
        told = {split: list(read(tmp_path / name, **{**WHERE, "split": split})) for split in ("train", "test")}
        assert [len(rows) for rows in told.values()] == [train, test]
        assert all(isinstance(row, Conversation) for rows in told.values() for row in rows)
    for name in ("hub", "saved"):
        with pytest.raises(SettingsError, match=r"no split 'dev'; it has t\w+, t\w+"):
            list(read(str(tmp_path / name), **{**WHERE, "split": "dev"}))


@pytest.mark.parametrize("told", [None, "pi"])
def test_a_source_that_is_none_is_refused_with_its_name(monkeypatch, told):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SettingsError, match=r"no/where: .*; name a file, a folder, or a dataset of the Hub"):
        list(read("no/where", format=told, **WHERE))


def test_a_format_that_is_none_is_refused():
    with pytest.raises(SettingsError, match="codex, claude-code"):
        read("x", format="word", **WHERE)


def test_sessions_become_rows_with_where_they_come_from(tmp_path: Path):
    out = tmp_path / "rows.jsonl"
    counted = export([str(SESSIONS)], out, scrubbing="off")
    told = rows(out)
    assert counted["conversations"] == len(told) > 20
    for row in told:
        assert set(row) == {"messages", "tools", "metadata"}
        assert row["metadata"]["format"] in ("codex", "pi")
        assert row["metadata"]["origin"]["session"]
        assert row["metadata"]["checked"] == "unrecorded"
        flawed = [at for at, message in enumerate(row["messages"]) if message.get("weight") == 0]
        assert list(map(str, flawed)) == list(row["metadata"]["flaws"])
    repeated = [row for row in told if REPEATED in row["metadata"]["flaws"].values()]
    assert repeated, "a branch tells again what another told"


def test_what_cannot_be_told_stands_beside_with_its_reason(tmp_path: Path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text(json.dumps(ROW) + "\n{broken\n")
    assert export([str(bad)], tmp_path / "out.jsonl", scrubbing="off") == {"conversations": 1, "invalid_json": 1}
    (reject,) = rows(tmp_path / "out.rejects.jsonl")
    assert (reject["id"], reject["reason"]) == ("bad.jsonl:2", "invalid_json")
    export([str(bad)], tmp_path / "out.jsonl", format="atif", scrubbing="off")
    assert rows(tmp_path / "out.jsonl") == []


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "pretty.json"])
def test_a_file_of_windows_loses_no_row_to_its_mark(tmp_path: Path, name: str):
    text = {"rows.jsonl": f"{json.dumps(ROW)}\n" * 2, "rows.json": json.dumps([ROW] * 2)}
    windows = text.get(name, json.dumps([ROW] * 2, indent=1)).replace("\n", "\r\n")
    (tmp_path / name).write_text(windows, encoding="utf-8-sig", newline="")
    assert export([str(tmp_path / name)], tmp_path / "out.jsonl", scrubbing="off") == {"conversations": 2}


def test_a_session_of_windows_loses_no_line_to_its_mark(tmp_path: Path):
    for session in sorted(SESSIONS.glob("*/*.jsonl"))[:3]:
        counted = export([str(session)], tmp_path / "as-it-is.jsonl", scrubbing="off")
        (tmp_path / session.name).write_bytes(b"\xef\xbb\xbf" + session.read_bytes().replace(b"\n", b"\r\n"))
        assert export([str(tmp_path / session.name)], tmp_path / "out.jsonl", scrubbing="off") == counted
        assert rows(tmp_path / "out.jsonl") == rows(tmp_path / "as-it-is.jsonl")


BAD_ROWS = {"broken": ["{broken"], "cut": ['{"messages": [{"role": "us'], "two": ["{broken", '{"x": é}']}


@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_first_row_takes_no_other_with_it(tmp_path: Path, bad: str):
    lines = [*BAD_ROWS[bad], json.dumps(ROW), json.dumps(ROW)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="latin-1")
    counted = export([str(tmp_path / "rows.jsonl")], tmp_path / "out.jsonl", scrubbing="off")
    assert counted == {"conversations": 2, "invalid_json": len(BAD_ROWS[bad])}


def test_half_a_pair_of_surrogates_in_the_first_row_is_repaired(tmp_path: Path):
    half = json.dumps(ROW)[:-1] + ', "note": "\\ud800"}\n'
    (tmp_path / "rows.jsonl").write_text(half * 2)
    assert export([str(tmp_path / "rows.jsonl")], tmp_path / "out.jsonl", scrubbing="off") == {"conversations": 2}


def test_simple_traces_are_read_as_what_was_converted(tmp_path: Path):
    folder = SESSIONS / "pi_tasks"
    export([str(folder)], tmp_path / "traces", simple=True, scrubbing="off")
    told = {row.id: row for row in read_files(sorted(folder.rglob("*.jsonl"))) if isinstance(row, Conversation)}
    again = [row for row in read(tmp_path / "traces", **WHERE) if isinstance(row, Conversation)]
    assert {row.origin.session for row in again} == set(told)
    for row in again:
        assert row.messages == told[row.origin.session or ""].messages
        assert row.tools == told[row.origin.session or ""].tools


def test_a_command_says_what_it_did_and_fails_where_nothing_is_left(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TRACEMILL_SALT", "x")
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text(json.dumps({"messages": [*ROW["messages"][:1], {"role": "assistant", "content": GITHUB}]}))
    bad.write_text("{broken\n")
    done = CliRunner().invoke(app, ["convert", str(good), "--out", str(tmp_path / "o.jsonl"), "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"conversations": 1})
    assert "ghp_" not in (tmp_path / "o.jsonl").read_text(), "secrets do not leave"
    failed = CliRunner().invoke(app, ["convert", str(bad), "--out", str(tmp_path / "o.jsonl")])
    assert (failed.exit_code, "1 invalid_json" in failed.stdout) == (1, True)


def test_what_tells_of_this_machine_does_not_leave(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TRACEMILL_SALT", "x")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "git"))
    (tmp_path / "git").write_text("[user]\nemail = jo@smith.example.net\n")
    monkeypatch.setattr("socket.gethostname", lambda: "jos-laptop")
    said = "it runs on jos-laptop, ask jo@smith.example.net or me@example.org"
    told = {"messages": [*ROW["messages"][:1], {"role": "assistant", "content": said}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(told))
    export([str(tmp_path / "a.jsonl")], tmp_path / "o.jsonl")
    (row,) = rows(tmp_path / "o.jsonl")
    words = row["messages"][1]["content"].split()
    assert words[3].startswith("REDACTED_identity_")
    assert words[5].startswith("REDACTED_identity_")
    assert words[7] == "me@example.org"
    for name in ("sandbox", "localhost", "85cf1c7f7e63"):
        monkeypatch.setattr("socket.gethostname", lambda name=name: name)
        assert names_of_this_machine() == ("jo@smith.example.net",)


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    """A home with sessions of three agents; one of Codex is archived, one has nothing said in it."""
    for variable in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "PI_CODING_AGENT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    places = {name: tmp_path / "home" / FORMATS[name].home for name in ("codex", "pi", "claude-code")}
    codex = SESSIONS / "codex_tasks" / "one_command.jsonl"
    for folder in ("sessions/2026/01/02", "archived_sessions"):
        (places["codex"] / folder).mkdir(parents=True)
    (places["codex"] / "sessions/2026/01/02" / f"rollout-{codex.name}").write_bytes(codex.read_bytes())
    packed = pa.compress(codex.read_bytes(), "zstd", asbytes=True)
    (places["codex"] / "archived_sessions" / f"rollout-old-{codex.name}.zst").write_bytes(packed)
    empty = places["claude-code"] / "projects" / "-work"
    empty.mkdir(parents=True)
    (empty / "a.jsonl").write_text('{"type":"summary","summary":"x","leafUuid":"y"}\n')
    return tmp_path / "home"


def test_sessions_of_this_machine_become_a_batch_that_is_replayed(home: Path, tmp_path: Path):
    batch = tmp_path / "project" / "prompts" / "mine.jsonl"
    files = [(name, file) for name in ("codex", "claude-code", "pi") for file in sessions(name, home)]
    assert extract(files, batch) == {"extracted": 2, "empty": 1}
    prompts = list(read_batch(batch))
    assert [isinstance(prompt, Prompt) for prompt in prompts] == [True, True]
    for prompt, (_, file) in zip(prompts, files, strict=False):
        assert isinstance(prompt, Prompt)
        assert (batch.parent / str(prompt.session)).read_bytes() == file.read_bytes()
        assert prompt.format == "codex"
        assert not prompt.prompt.startswith("<")
    before = batch.read_bytes()
    extract(files, batch)
    assert batch.read_bytes() == before


def test_the_environment_says_where_an_agents_home_is(home: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("CODEX_HOME", str(home / ".codex"))
    assert len(sessions("codex", tmp_path / "nowhere")) == 2
    with pytest.raises(SettingsError, match="codex, claude-code, pi"):
        sessions("chat", home)


def test_the_command_that_extracts_names_what_it_looked_for(tmp_path: Path, home: Path):
    out = tmp_path / "prompts" / "x.jsonl"
    words = ["extract", "codex", "claude", "--home", str(home), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"extracted": 2, "empty": 1})
    failed = CliRunner().invoke(app, ["extract", "pi", "--home", str(tmp_path / "empty"), "--out", str(out)])
    assert "no sessions of pi" in str(failed.exception)
