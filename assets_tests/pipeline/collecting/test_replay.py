"""Sessions are imported byte for byte, from below the batch file's folder and from nowhere else."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.collecting.agent import World
from pipeline.collecting.collect import Finished, collect
from pipeline.collecting.replay import LARGEST
from pipeline.converting import FORMATS
from pipeline.records import Prompt, Reject, Trace
from pipeline.resources.journal import Journal
from pipeline.resources.sites import Sites
from pipeline.settings import Collection

RAW = b'{"type":"session"}\n\xff\0 not even text'


def fork(thread: str, base: str | None = None) -> bytes:
    history = f',"history_base":{{"thread_id":"{base}","end_ordinal_exclusive":1}}' if base else ""
    return f'{{"type":"session_meta","payload":{{"id":"{thread}"{history}}}}}\n'.encode()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of prompts with one session in it, and a file beside it that is nobody's business."""
    folder = tmp_path / "prompts"
    (folder / "sessions").mkdir(parents=True)
    (folder / "sessions" / "a.jsonl").write_bytes(RAW)
    (tmp_path / "secret.jsonl").write_bytes(RAW)
    return folder


def collected(folder: Path, **fields) -> list[Trace | Reject]:
    prompt = Prompt(**{"id": "p-1", "prompt": "Do it.", "format": "pi", "line": 3, **fields})
    return imported([prompt], folder)


def imported(prompts: list[Prompt], folder: Path) -> list[Trace | Reject]:
    settings = Collection()
    finished = Finished.of(Journal(folder / "journal"), (), None)
    return list(collect(prompts, World(folder, FORMATS, settings), finished, Sites(settings).open))


def test_a_session_is_imported_byte_for_byte(project):
    (trace,) = collected(project, session="sessions/a.jsonl", metadata={"k": 1})
    assert isinstance(trace, Trace)
    assert [(file.name, file.data) for file in trace.files] == [("sessions/a.jsonl", RAW)]
    assert (trace.prompt_id, trace.prompt, trace.agent, trace.format) == ("p-1", "Do it.", "replay", "pi")
    assert trace.metadata == {"k": 1}


def test_a_traces_id_comes_from_its_prompt_and_its_bytes(project):
    def identity(**fields):
        return collected(project, session="sessions/a.jsonl", **fields)[0].id

    before = identity()
    assert identity() == before
    assert identity(id="p-2") != before
    (project / "sessions" / "a.jsonl").write_bytes(RAW + b"\n")
    assert identity() != before


def test_a_folder_is_all_of_its_sessions_by_name(project):
    (project / "sessions" / "2026" / "11").mkdir(parents=True)
    (project / "sessions" / "2026" / "11" / "b.jsonl").write_bytes(b"b")
    (project / "sessions" / "notes.txt").write_bytes(b"no session")
    traces = collected(project, session="sessions")
    assert [trace.files[0].name for trace in traces] == ["sessions/2026/11/b.jsonl", "sessions/a.jsonl"]
    assert len({trace.id for trace in traces}) == 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"session": None}, "no_session"),
        ({"session": "sessions/none.jsonl"}, "missing_session"),
        ({"session": "sessions/\0"}, "missing_session"),
        ({"session": "s" * 5000}, "missing_session"),
        ({"session": "empty"}, "missing_session"),
        ({"session": "../secret.jsonl"}, "outside"),
        ({"session": "sessions/../../secret.jsonl"}, "outside"),
        ({"session": "/etc/passwd"}, "outside"),
        ({"session": "link.jsonl"}, "outside"),
        ({"session": "linked"}, "outside"),
        ({"session": "holds_link"}, "outside"),
        ({"session": "sessions/a.jsonl", "format": None}, "no_format"),
        ({"session": "sessions/a.jsonl", "format": "claude"}, "unknown_format"),
        ({"session": "sessions/a.jsonl", "agent": "nobody"}, "unknown_agent"),
    ],
)
def test_what_cannot_be_imported_is_a_reject_with_its_cure(project, fields, reason):
    (project / "empty").mkdir()
    (project / "holds_link").mkdir()
    (project / "holds_link" / "link.jsonl").symlink_to(project.parent / "secret.jsonl")
    (project / "link.jsonl").symlink_to(project.parent / "secret.jsonl")
    (project / "linked").symlink_to(project.parent)
    (reject,) = collected(project, **fields)
    assert isinstance(reject, Reject)
    assert (reject.id, reject.stage, reject.reason) == ("p-1", "traces", reason)
    assert reject.detail.startswith("line 3:")
    assert "; " in reject.detail, "names the cure"


def test_an_unknown_format_names_the_known_ones(project):
    (reject,) = collected(project, session="sessions/a.jsonl", format="claude")
    assert all(name in reject.detail for name in FORMATS)


def test_a_bad_prompt_spoils_no_other(project):
    prompts = [
        Prompt(id="p-1", prompt="", format="pi", session="none"),
        Prompt(id="p-2", prompt="", format="pi", session="sessions/a.jsonl"),
    ]
    assert [type(row) for row in imported(prompts, project)] == [Reject, Trace]


def test_a_fork_brings_its_parents_along(project):
    sessions = project / "sessions"
    (sessions / "rollout-1-old.jsonl").write_bytes(fork("old"))
    (sessions / "rollout-2-mid.jsonl").write_bytes(fork("mid", "old"))
    (sessions / "rollout-3-new.jsonl").write_bytes(fork("new", "mid"))
    (trace,) = collected(project, session="sessions/rollout-3-new.jsonl", format="codex")
    names = ["sessions/rollout-3-new.jsonl", "sessions/rollout-2-mid.jsonl", "sessions/rollout-1-old.jsonl"]
    assert [file.name for file in trace.files] == names


def test_compressed_sessions_are_sessions_and_parents(project):
    sessions = project / "sessions"
    (sessions / "a.jsonl").unlink()
    (sessions / "rollout-1-old.jsonl.zst").write_bytes(pa.compress(fork("old"), "zstd", asbytes=True))
    (sessions / "rollout-2-mid.jsonl.gz").write_bytes(gzip.compress(fork("mid", "old")))
    (sessions / "rollout-3-new.jsonl.zst").write_bytes(pa.compress(fork("new", "mid"), "zstd", asbytes=True))
    traces = collected(project, session="sessions", format="codex")
    names = [[file.name.removeprefix("sessions/rollout-") for file in trace.files] for trace in traces]
    old, mid, new = "1-old.jsonl.zst", "2-mid.jsonl.gz", "3-new.jsonl.zst"
    assert names == [[old], [mid, old], [new, mid, old]]
    assert traces[0].files[0].data == (sessions / "rollout-1-old.jsonl.zst").read_bytes()
    assert collected(project, session="sessions/rollout-3-new.jsonl.zst", format="codex")[0].files == traces[2].files


def test_a_parent_is_no_way_out_of_the_folder(project):
    (project.parent / "rollout-1-old.jsonl").write_bytes(fork("old"))
    (project / "sessions" / "rollout-1-old.jsonl").symlink_to(project.parent / "rollout-1-old.jsonl")
    (project / "sessions" / "rollout-2-new.jsonl").write_bytes(fork("new", "old"))
    (trace,) = collected(project, session="sessions/rollout-2-new.jsonl", format="codex")
    assert len(trace.files) == 1


def test_a_fork_without_its_parent_or_in_a_ring_is_still_imported(project):
    sessions = project / "sessions"
    (sessions / "rollout-1-a1.jsonl").write_bytes(fork("a1", "b2"))
    (sessions / "rollout-2-b2.jsonl").write_bytes(fork("b2", "a1"))
    (sessions / "rollout-3-c3.jsonl").write_bytes(fork("c3", "gone"))
    traces = collected(project, session="sessions", format="codex")
    imported = {trace.files[0].name.removeprefix("sessions/"): len(trace.files) for trace in traces}
    assert imported == {"a.jsonl": 1, "rollout-1-a1.jsonl": 2, "rollout-2-b2.jsonl": 2, "rollout-3-c3.jsonl": 1}


def test_a_session_that_no_row_can_hold_is_a_reject_that_is_never_read(project, monkeypatch):
    with (project / "sessions" / "b.jsonl").open("wb") as file:
        file.write(RAW)
        file.truncate(LARGEST + 1)
    trace, reject = collected(project, session="sessions")
    assert (type(trace), reject.reason) == (Trace, "too_large")
    assert "tracemill convert" in reject.detail


def test_a_session_that_cannot_be_read_spoils_no_other(project, monkeypatch):
    (project / "sessions" / "b.jsonl").write_bytes(b"b")
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "a.jsonl":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    reject, trace = collected(project, session="sessions")
    assert (reject.reason, type(trace)) == ("unreadable", Trace)
