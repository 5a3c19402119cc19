"""A batch file's lines become prompts, or rejects that say where and how to mend them."""

import json
from pathlib import Path

import pytest

from pipeline.errors import PromptFileError
from pipeline.records import Prompt, Reject
from pipeline.sourcing.files import read_batch


@pytest.fixture
def batch(tmp_path: Path):
    """Writes a batch file of these lines, and reads it."""

    def read(*lines: dict | bytes) -> list[Prompt | Reject]:
        path = tmp_path / "batch.jsonl"
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
        return list(read_batch(path))

    return read


def test_a_line_is_a_prompt_with_its_place(batch):
    (prompt,) = batch(b"", {"prompt": "Fix it.", "format": "pi", "session": "s.jsonl", "metadata": {"a": [1, None]}})
    assert prompt == Prompt(
        id=prompt.id, prompt="Fix it.", format="pi", session="s.jsonl", metadata={"a": [1, None]}, line=2
    )
    assert prompt.id.startswith("p-")
    assert len(prompt.id) == 14


def test_the_id_is_everything_that_makes_a_run_differ(batch):
    lines = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a", "model": "m"}, {"prompt": "a", "session": "s"}]
    ids = [row.id for row in batch(*lines)]
    assert len(set(ids)) == 4
    assert [row.id for row in batch(*reversed(lines))] == ids[::-1]


def test_defaults_may_be_written_down(batch):
    (told,) = batch({"agent": "replay", "model": None, "prompt": "a"})
    (left,) = batch({"prompt": "a"})
    assert told == left


def test_a_task_is_run_once_whatever_its_metadata(batch):
    first, again = batch({"prompt": "a", "metadata": {"x": 1}}, {"prompt": "a", "metadata": {"x": 2}})
    assert isinstance(first, Prompt)
    assert again == Reject(
        id="batch.jsonl:2",
        stage="prompts",
        reason="duplicate",
        detail="batch.jsonl:2: the same task as line 1; drop one of them",
    )


@pytest.mark.parametrize(
    ("line", "reason", "where"),
    [
        (b'{"prompt": "a"', "invalid_json", "batch.jsonl:2: "),
        (b'["a"]', "invalid_json", "batch.jsonl:2: "),
        (b'{"prompt": "\xff"}', "invalid_json", "batch.jsonl:2: "),
        (b'{"prompt": "\\ud800"}', "invalid_json", "batch.jsonl:2: "),
        (b"[" * 100_000, "invalid_json", "batch.jsonl:2: "),
        (b'{"prompt": "a", "promt": "b"}', "unknown_field", "batch.jsonl:2:promt: "),
        (b'{"prompt": "a", "id": "b"}', "unknown_field", "batch.jsonl:2:id: "),
        (b'{"prompt": 1}', "invalid_field", "batch.jsonl:2:prompt: "),
        (b'{"prompt": "a", "metadata": []}', "invalid_field", "batch.jsonl:2:metadata: "),
        (b"{}", "invalid_field", "batch.jsonl:2: "),
    ],
)
def test_a_bad_line_is_a_reject_and_its_neighbours_live(batch, line, reason, where):
    before, bad, after = batch({"prompt": "before"}, line, {"prompt": "after"})
    assert (before.prompt, after.prompt) == ("before", "after")
    assert bad.reason == reason
    assert bad.detail.startswith(where)
    assert "; " in bad.detail, "names the cure"


def test_lines_end_with_lf_only(batch):
    (prompt,) = batch('{"prompt": "one\u2028two\u0085three"}\r'.encode())
    assert prompt.prompt == "one\u2028two\u0085three"


def test_a_byte_order_mark_is_no_harm(batch):
    (prompt,) = batch(b'\xef\xbb\xbf{"prompt": "a"}')
    assert prompt.prompt == "a"


@pytest.mark.parametrize("data", [b"PK\x03\x04\0\0\0", '{"prompt": "a"}'.encode("utf-16")])
def test_what_is_no_text_is_no_batch(tmp_path, data):
    path = tmp_path / "batch.jsonl"
    path.write_bytes(data)
    with pytest.raises(PromptFileError, match=r"batch\.jsonl:1: no text; write it as UTF-8"):
        list(read_batch(path))


def test_a_missing_file_and_a_folder_are_no_batch(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(PromptFileError, match=str(path)):
            list(read_batch(path))
