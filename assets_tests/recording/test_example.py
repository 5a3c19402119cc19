"""The example that ships: complete, small, and silent about the machine it was recorded on."""

import json
import re
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from pipeline.targets import EXAMPLE, parse_settings

PROMPTS = EXAMPLE / "prompts"
BATCHES = ["codex_tasks", "pi_tasks"]
CASES = Path(__file__).parent / "cases"
OURS = ("/tmp/tracemill-example/work", "/bin/bash")
"""Paths that say nothing: where the agents were made to work, and the shell."""


def rows(batch):
    return [json.loads(line) for line in (PROMPTS / f"{batch}.jsonl").read_text(encoding="utf-8").splitlines()]


def readable(line):
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@pytest.mark.parametrize("batch", BATCHES)
def test_every_case_has_a_session_and_every_session_a_row(batch):
    sessions = {path.stem for path in (PROMPTS / "sessions" / batch).iterdir()}
    assert sessions == {path.stem for path in (CASES / batch).iterdir()} | {"damaged"}
    assert {row["session"] for row in rows(batch)} == {f"sessions/{batch}/{name}.jsonl" for name in sessions}


@pytest.mark.parametrize("batch", BATCHES)
def test_a_session_is_damaged_only_where_its_row_says_so(batch):
    for row in rows(batch):
        lines = (PROMPTS / row["session"]).read_bytes().rstrip(b"\n").split(b"\n")
        unreadable = [f"line {at} is cut in half" for at, line in enumerate(lines, start=1) if not readable(line)]
        assert unreadable == [told for key, told in row["metadata"].items() if key == "damage"], row["session"]


@pytest.mark.parametrize(
    "path", sorted(PROMPTS.glob("sessions/*/*.jsonl")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_a_session_tells_nothing_of_the_machine(path):
    text = path.read_text(encoding="utf-8")
    folders = re.findall(r"(?<![\w.<+])/(?:[\w.-]+/)+[\w.-]*", text)
    assert {folder for folder in folders if not folder.startswith(OURS)} == set()
    assert re.findall(r"https?://\S+|\b\d+(?:\.\d+){3}\b|[\w.]+@[\w.]+", text) == []


def test_the_example_is_small():
    assert sum(path.stat().st_size for path in EXAMPLE.rglob("*") if path.is_file()) < 1_000_000


def test_its_settings_name_two_targets():
    assert list(parse_settings(EXAMPLE / "tracemill.yaml").targets) == ["qwen3", "chatml"]


def test_its_vocabulary_has_the_control_tokens_of_qwen3(official):
    def added(folder):
        tokens = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
        return [{key: token[key] for key in token.keys() - {"id"}} for token in tokens]

    assert added(EXAMPLE / "tokenizer") == added(official("qwen3"))


def test_its_template_rewrites_nothing_that_was_said():
    tokenizer = AutoTokenizer.from_pretrained(EXAMPLE / "tokenizer")
    call = {"type": "function", "function": {"name": "shell", "arguments": '{"cmd":  "ls"}'}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is here?"},
        {"role": "assistant", "reasoning_content": "Look.", "content": "", "tool_calls": [call, call]},
        {"role": "tool", "content": "README"},
        {"role": "assistant", "content": "A README."},
        {"role": "user", "content": "Thanks."},
    ]

    def told(count, prompt):
        settings = {"tools": [call], "tokenize": False, "add_generation_prompt": prompt}
        return tokenizer.apply_chat_template(messages[:count], **settings)

    whole = told(len(messages), False)
    assert all(whole.startswith(told(count, False)) for count in range(1, len(messages)))
    assert all(
        whole.startswith(told(at, True)) for at, message in enumerate(messages) if message["role"] == "assistant"
    )
    assert '{"name": "shell", "arguments": {"cmd":  "ls"}}' in whole
