"""Prompt files in every format: the same records, and every fault with its file, line and field."""

import json
from pathlib import Path

import pytest

from pipeline.errors import PromptFileError
from pipeline.records import Decoding, Prompt, Reject
from pipeline.sourcing.files import read_batch
from pipeline.sourcing.tables import READERS
from pipeline.targets import BATCH_FILES, EXAMPLE, Project, example_settings

DEFAULTS = {"agent": "chat", "model": "m", "system": None, "sampling": {"temperature": 0.5, "seed": 1}}


@pytest.fixture
def batch(tmp_path: Path):
    """Writes a batch file of this name and text, and reads it."""

    def read(name: str, text: str) -> list[Prompt | Reject]:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return list(read_batch(path, DEFAULTS))

    return read


ROWS = [
    {"prompt": "One, with a comma", "follow_up_prompts": ["And?", "So?"], "category": "easy"},
    {"prompt": "Two\nlines", "github_repo": "owner/name", "ref": "v1.0", "sampling": {"top_p": 0.9}},
]
CSV = (
    "prompt,follow_up_prompts,category,github_repo,ref,sampling\r\n"
    '"One, with a comma","[""And?"", ""So?""]",easy,,,\r\n'
    '"Two\r\nlines",,,owner/name,v1.0,"{""top_p"": 0.9}"\r\n'
)


def test_every_format_tells_the_same_prompts(batch):
    told = [
        batch("a.jsonl", "\n".join(map(json.dumps, ROWS))),
        batch("a.ndjson", "\n".join(map(json.dumps, ROWS))),
        batch("a.json", json.dumps(ROWS)),
        batch("b.json", json.dumps({"prompts": ROWS}, indent=2)),
        batch("a.csv", "\ufeff" + CSV),
    ]
    ids = [[row.id for row in rows] for rows in told]
    assert all(one == ids[0] for one in ids)
    first, second = told[-1]
    assert (first.follow_up_prompts, first.metadata) == (("And?", "So?"), {"category": "easy"})
    assert (second.prompt, second.github_repo, second.ref) == ("Two\nlines", "owner/name", "v1.0")


def test_plain_text_is_a_prompt_a_line(batch):
    rows = batch("a.txt", "# for a start\nFix it.\n\n  Test it.  \n")
    assert [(row.prompt, row.line) for row in rows] == [("Fix it.", 2), ("Test it.", 4)]


def test_lines_are_counted_in_every_format(batch):
    assert [row.line for row in batch("b.json", json.dumps({"prompts": ROWS}, indent=1))] == [3, 11]
    assert [row.line for row in batch("a.csv", CSV)] == [2, 3]
    assert [row.line for row in batch("a.json", '[\n"One",\n\n "Two"]')] == [2, 4]


def test_a_prompt_that_does_not_say_is_run_as_the_project_says(batch):
    (one, other) = batch("a.jsonl", '{"prompt": "a"}\n{"prompt": "a", "model": "n", "sampling": {"seed": 2}}')
    assert (one.agent, one.model, one.sampling) == ("chat", "m", Decoding(temperature=0.5, seed=1))
    assert (other.model, other.sampling) == ("n", Decoding(temperature=0.5, seed=2))
    assert one.id != other.id


def test_a_session_that_is_there_is_replayed_whatever_the_project_runs(batch):
    (one,) = batch("a.jsonl", '{"prompt": "a", "session": "s.jsonl"}')
    assert (one.agent, one.model, one.sampling) == ("replay", None, Decoding())


@pytest.mark.parametrize(
    "fields",
    [
        {"system": "Be brief."},
        {"github_repo": "o/n"},
        {"github_repo": "o/n", "ref": "main"},
        {"follow_up_prompts": ["b"]},
        {"agent": "codex"},
        {"model": "n"},
        {"sampling": {"seed": 2}},
    ],
)
def test_everything_that_makes_a_run_differ_makes_another_prompt(batch, fields):
    rows = batch("a.jsonl", '{"prompt": "a"}\n' + json.dumps({"prompt": "a", **fields}))
    assert [type(row) for row in rows] == [Prompt, Prompt]
    assert rows[0].id != rows[1].id


@pytest.mark.parametrize(
    ("name", "text", "reason", "where"),
    [
        ("a.jsonl", '{"prompt": "a", "github_repo": "../etc"}', "invalid_field", "a.jsonl:1:github_repo: "),
        ("a.jsonl", '{"prompt": "a", "github_repo": "https://x/y/z"}', "invalid_field", "a.jsonl:1:github_repo: "),
        ("a.jsonl", '{"prompt": "a", "github_repo": "--upload-pack=x/y"}', "invalid_field", "a.jsonl:1:github_repo: "),
        ("a.jsonl", '{"prompt": "a", "github_repo": "o/n", "ref": "-x"}', "invalid_field", "a.jsonl:1:ref: "),
        ("a.jsonl", '{"prompt": "a", "github_repo": "o/n", "ref": "a..b"}', "invalid_field", "a.jsonl:1:ref: "),
        ("a.jsonl", '{"prompt": "a", "ref": "main"}', "invalid_field", "a.jsonl:1:ref: "),
        ("a.jsonl", '{"prompt": "a", "sampling": {"heat": 1}}', "invalid_field", "a.jsonl:1:sampling: "),
        ("a.jsonl", '{"prompt": "a", "sampling": {"seed": "x"}}', "invalid_field", "a.jsonl:1:sampling.seed: "),
        ("a.jsonl", '{"prompt": "a", "follow_up_prompts": "b"}', "invalid_field", "a.jsonl:1:follow_up_prompts: "),
        ("a.jsonl", '{"prompt": "a", "follow_up_prompts": [1]}', "invalid_field", "a.jsonl:1:follow_up_prompts[0]: "),
        ("a.csv", "prompt,metadata\na,{", "invalid_field", "a.csv:2:metadata: "),
        ("a.csv", "prompt\na,b", "invalid_field", "a.csv:2: "),
        ("a.csv", "prompt,promt\na,b", "unknown_field", "a.csv:2:promt: "),
        ("a.json", '["a",\n 7]', "invalid_json", "a.json:2: "),
    ],
)
def test_a_fault_names_file_line_field_and_cure(batch, name, text, reason, where):
    bad = batch(name, text)[-1]
    assert isinstance(bad, Reject)
    assert bad.reason == reason
    assert bad.detail.startswith(where)
    assert "; " in bad.detail, "names the cure"


@pytest.mark.parametrize(
    ("name", "data", "where"),
    [
        ("a.json", b'[{"prompt": "a"},\n{"prompt": }]', r"a\.json:2: no JSON"),
        ("a.json", b'{"a": 1}', r"a\.json:1: no list of prompts"),
        ("a.json", b"[1", r"a\.json:1: no JSON"),
        ("a.csv", b'prompt\n"a" b"\n', r"a\.csv:2: no CSV"),
        ("a.txt", b"one\n\xff", r"a\.txt:2: no text"),
    ],
)
def test_a_file_that_is_none_names_the_line(tmp_path, name, data, where):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PromptFileError, match=where):
        list(read_batch(tmp_path / name))


def test_what_is_read_is_what_a_batch_may_be_called():
    assert tuple(READERS) == BATCH_FILES


def test_two_files_of_one_batch_are_refused(tmp_path):
    (tmp_path / "prompts").mkdir()
    for name in ("a.jsonl", "a.csv"):
        (tmp_path / "prompts" / name).touch()
    with pytest.raises(PromptFileError, match="are one batch"):
        Project(tmp_path, example_settings()).batch_files()
    assert Project(EXAMPLE, example_settings()).batch_file("codex_tasks").name == "codex_tasks.jsonl"


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.jsonl", "\n \n"), ("a.jsonl", ""), ("a.json", "[]"), ("a.csv", "prompt\n"), ("a.txt", "# nothing yet\n")],
)
def test_a_file_without_a_prompt_names_itself_and_the_cure(batch, name, text):
    with pytest.raises(PromptFileError, match=rf"{name}: it holds no prompt; write one into it, or remove the file"):
        batch(name, text)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("more.jsonl.gz", "unpack it"),
        ("more.ZIP", "unpack it"),
        ("more.parquet", r"write it as \.jsonl"),
        ("more.yaml", r"write it as \.jsonl"),
        ("more.JSONL", r"end its name in \.jsonl"),
    ],
)
def test_what_is_meant_as_a_batch_and_is_not_read_is_refused(tmp_path, name, cure):
    (tmp_path / "prompts" / "sessions.zip").mkdir(parents=True)
    for other in ("README.md", "a.jsonl", "a.jsonl.bak", "a.jsonl~", ".a.jsonl.swp"):
        (tmp_path / "prompts" / other).touch()
    project = Project(tmp_path, example_settings())
    assert list(project.batch_files()) == ["a"]
    (tmp_path / "prompts" / name).touch()
    with pytest.raises(PromptFileError, match=rf"{name}: no batch file; {cure}, or keep it out of this folder"):
        project.batch_files()
