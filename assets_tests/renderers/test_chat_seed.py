"""Every code block of the chat-bricks document runs, with only the import root changed and its ellipses filled in."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

from renderers import Chat, ToolPolicy

CODE = re.compile(r"(from \w+(\.\w+)* import|class \w+\(|chat = |inputs = )")
MESSAGES = [
    {"role": "user", "content": "What's 3 times 5?"},
    {"role": "assistant", "content": "15."},
    {"role": "user", "content": "Now plus 2?"},
    {"role": "assistant", "content": "17."},
]
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}]
FILLED = {"messages=[...]": "messages=MESSAGES", "messages=...": "messages=MESSAGES", "tools=[...]": "tools=TOOLS"}
FILLED |= {", ...}}]": "}}]", "chat_bricks.utils": "renderers", "chat_bricks": "renderers"}


def blocks(document: str) -> Iterator[str]:
    """The Python in a page without fences: from each line that begins code, as far as it parses."""
    lines, at = document.split("\n"), 0
    while at < len(lines):
        ends = range(min(len(lines), at + 40), at, -1) if CODE.match(lines[at]) else ()
        end = next((end for end in ends if parses("\n".join(lines[at:end]))), None)
        if end:
            yield "\n".join(lines[at:end])
        at = end or at + 1


def parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


@pytest.fixture
def document(shared) -> str:
    text = (shared / "seeds" / "chat-bricks.md").read_text(encoding="utf-8")
    for ellipsis, filling in FILLED.items():
        text = text.replace(ellipsis, filling)
    return text


@pytest.fixture
def told(official, monkeypatch) -> dict[str, Any]:
    """The names that blocks run in; the model's tokenizer comes from the reference instead of the Hub."""
    load = transformers.AutoTokenizer.from_pretrained
    folders = {"Qwen/Qwen2.5-3B-Instruct": "qwen2.5"}
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda name: load(official(folders[name])))
    return {"MESSAGES": MESSAGES, "TOOLS": TOOLS}


def test_every_block_is_found(document):
    found = list(blocks(document))
    assert len(found) == 8
    code = "\n".join(found)
    assert all(
        line in code for line in document.split("\n") if re.search(r"^from .* import|^\w+ = |^assert |^class", line)
    )


def test_every_block_runs(document, told, capsys):
    own, model, tensors, conventions, formatter, skills, last, verify = blocks(document)
    exec(own, told)
    shown = document.split("Renders:\n")[1].split("\nEvery visible piece")[0]
    assert compact(capsys.readouterr().out) == compact(shown)

    exec(model, told)
    assert told["chat"].prompt().endswith("<|im_start|>assistant\n17.<|im_end|>\n")

    exec(tensors, told)
    assert set(told["inputs"]) == {"input_ids", "labels", "action_mask", "attention_mask"}
    assert trained(told) == "15.<|im_end|>17.<|im_end|>"  # and the stops, which a model must learn

    exec(conventions, told)
    assert json.dumps(TOOLS[0]) in Chat("qwen2.5", MESSAGES, TOOLS).prompt()
    assert Chat("qwen2.5-no-system-tool", MESSAGES, TOOLS).prompt() == Chat("qwen2.5", MESSAGES).prompt()

    exec(formatter, told)
    written = told["XmlToolFormatter"]().format([*TOOLS, *TOOLS])
    assert written == '<tool name="add">Add.</tool>\n<tool name="add">Add.</tool>'

    exec(skills, told)
    listed = "- add-numbers: Adds two integers.\n- word-count: Counts words in text."
    assert f"<skills>\n{listed}\n</skills>" in told["chat"].prompt()

    told["chat"] = Chat("Qwen/Qwen2.5-3B-Instruct", MESSAGES)
    exec(last, told)
    assert trained(told) == "17.<|im_end|>"

    exec(verify, told)
    assert told["is_equal"]


def trained(told: dict[str, Any]) -> str:
    ids, learned = told["inputs"]["input_ids"], told["inputs"]["action_mask"] == 1
    assert (told["inputs"]["labels"] == np.where(learned, ids, -100)).all()
    assert told["inputs"]["attention_mask"].all()
    return told["tok"].decode(ids[learned])


def compact(text: str) -> str:
    return "".join(text.split())


def test_the_custom_formatter_of_the_page_exports(document, told):
    """Its Jinja has a newline after a block, which transformers trims: an export keeps it."""
    own, _, _, _, formatter, *_ = blocks(document)
    exec(own, told)
    exec(formatter, told)
    template = replace(told["template"], tool_policy=ToolPolicy(formatter=told["XmlToolFormatter"]()))
    (theirs,), _ = render_jinja_template([MESSAGES], tools=[*TOOLS, *TOOLS], chat_template=template.jinja_template())
    assert '<tool name="add">Add.</tool>\n<tool name="add">Add.</tool>' in theirs
    assert theirs == Chat(template, MESSAGES, [*TOOLS, *TOOLS]).prompt()
