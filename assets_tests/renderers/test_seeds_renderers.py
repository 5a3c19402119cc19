"""What the README of Prime Intellect's renderers shows runs here: only the model's name becomes a folder."""

import inspect
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

import renderers
from renderers import (
    Chat,
    Parsed,
    Rendered,
    Renderer,
    TemplateError,
    Tokenizer,
    TokenizerError,
    build_training_sample,
    create_renderer,
)
from renderers.pooling import create_renderer_pool

MESSAGES = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "reasoning_content": "A greeting.", "content": "Hello."},
]
CALL = '<think>\nI look.\n</think>\n\n<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call><|im_end|>'


@pytest.fixture(scope="session")
def qwen3_folder(official) -> str:
    return str(official("qwen3"))


@pytest.fixture
def shown(shared, qwen3_folder) -> list[str]:
    """The Python blocks of the README, in order; the page that holds it has lost the indentation."""
    page = (shared / "seeds" / "renderers.diff.txt").read_text(encoding="utf-8")
    readme = page[page.index("@@ -0,0 +1,143 @@") : page.index("@@ -0,0 +1,72 @@")]
    lines = "\n".join(line[2:] for line in readme.splitlines() if line.startswith("+"))
    blocks = re.findall(r"^```python\n(.*?)^```", lines, re.MULTILINE | re.DOTALL)
    return ["\n".join(indented(block)).replace("Qwen/Qwen3-8B", qwen3_folder) for block in blocks]


def indented(block: str) -> Iterator[str]:
    inside = False
    for line in block.splitlines():
        inside = inside and bool(line)
        yield "    " * inside + line
        inside = inside or line.endswith(":")


@pytest.fixture
def told(shown, qwen3_folder) -> dict[str, Any]:
    """What the blocks leave behind, run one after the other."""
    (completion,) = create_renderer(qwen3_folder).tokenizer.encode_batch([CALL], added=True)
    names = {"RenderedTokens": Rendered, "ParsedResponse": Parsed, "Protocol": Protocol}
    namespace: dict[str, Any] = {**names, "completion_ids": completion, "messages": MESSAGES}
    for number, block in enumerate(shown):
        exec(compile(block, f"README, block {number}", "exec"), namespace)
    return namespace


def test_every_block_runs_and_does_what_is_said_of_it(told, shown):
    assert len(shown) == 6
    prompt, completion, bridged = told["prompt_ids"], told["completion_ids"], told["next_prompt_ids"]
    parsed, renderer = told["parsed"], told["r"]
    assert (parsed.content, parsed.reasoning_content) == ("", "I look.")
    assert parsed.tool_calls[0]["function"] == {"name": "look", "arguments": "{}"}
    assert bridged[: len(prompt + completion)] == prompt + completion
    assert renderer.tokenizer.decode(bridged).endswith("...\n</tool_response><|im_end|>\n<|im_start|>assistant\n")
    assert told["ids"] == renderer.render_ids(MESSAGES)
    assert (told["preserve_all_thinking"], told["preserve_thinking_between_tool_calls"]) == (False, False)


def test_every_method_that_is_shown_is_there(told):
    shown = {name: f for name, f in vars(told["Renderer"]).items() if inspect.isfunction(f) and name[0] != "_"}
    assert set(shown) >= {"render", "render_ids", "parse_response", "get_stop_token_ids", "bridge_to_next_turn"}
    for name in set(shown) - {"_no_init_or_replace_init"}:
        asked = inspect.signature(shown[name]).parameters.values()
        given = {p.name: None for p in asked if p.kind is p.KEYWORD_ONLY}
        by_place = [None for p in asked if p.kind is p.POSITIONAL_OR_KEYWORD]
        inspect.signature(getattr(Renderer, name)).bind(None, *by_place, **given)


@pytest.mark.parametrize("flag", ["preserve_all_thinking", "preserve_thinking_between_tool_calls"])
def test_renderers_and_pools_take_the_flags_of_compaction(qwen3_folder, flag):
    with create_renderer_pool(qwen3_folder, renderer="auto", size=2, **{flag: True}).checkout() as renderer:
        text = renderer.render([*MESSAGES, {"role": "user", "content": "Sum it up."}]).text
    assert ("A greeting." in text) == (flag == "preserve_all_thinking")


def test_tokens_know_their_message_and_whether_the_model_writes_them(example):
    rendered = create_renderer(example, "qwen3").render(MESSAGES)
    pieces = list(zip(rendered.token_ids, rendered.message_indices, rendered.sampled_mask, strict=True))
    said = {m: example.decode(t for t, index, _ in pieces if index == m) for m in (-1, 0, 1)}
    header = "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n\n"
    assert said == {-1: header, 0: "hi", 1: "<think>\nA greeting.\n</think>\n\nHello.<|im_end|>"}
    assert example.decode(token for token, _, sampled in pieces if sampled) == said[1]


def test_a_training_sample_learns_what_is_asked_of_what_may_be_learned(example):
    renderer = create_renderer(example, "qwen3")

    def learned(messages: list[dict], **asked: Any) -> str:
        ids, mask = build_training_sample(renderer, messages, **asked)
        return example.decode(token for token, yes in zip(ids, mask, strict=True) if yes)

    assert learned(MESSAGES) == "<think>\nA greeting.\n</think>\n\nHello.<|im_end|>"
    assert learned(MESSAGES, role_to_mask=lambda m: m["role"] == "user") == "hi"
    assert learned(MESSAGES, role_to_mask=lambda m: False) == ""
    assert learned([*MESSAGES, *MESSAGES]) == learned(MESSAGES)  # of the first turn, history has lost the thought


def test_a_renderer_checked_out_is_nobody_elses(example):
    pool, waits = create_renderer_pool(example, "qwen3", size=1), threading.Event()
    with pool.checkout():
        later = threading.Thread(target=lambda: pool.free.put(pool.free.get()) or waits.set())
        later.start()
        assert not waits.wait(0.05)
    later.join(5)
    assert waits.is_set()
    with pytest.raises(ValueError, match="at least"):
        create_renderer_pool(example, "qwen3", size=0)


def test_a_tokenizer_comes_from_a_folder_from_transformers_or_as_it_is(qwen3_folder, tmp_path, load):
    from transformers import AutoTokenizer

    ids = create_renderer(load("qwen3")).render_ids(MESSAGES)
    assert create_renderer(Path(qwen3_folder)).render_ids(MESSAGES) == ids
    assert create_renderer(AutoTokenizer.from_pretrained(qwen3_folder)).render_ids(MESSAGES) == ids
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(TokenizerError, match="save_pretrained"):
        create_renderer(tmp_path)


def test_of_several_templates_of_a_tokenizer_the_default_one_is_told(qwen3_folder):
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(qwen3_folder)
    told = create_renderer(tokenizer).render_ids(MESSAGES)
    tokenizer.chat_template = {"default": tokenizer.chat_template, "tool_use": "{{ 'no' }}"}
    renderer = create_renderer(tokenizer)
    assert (renderer.name, renderer.render_ids(MESSAGES)) == ("qwen3", told)


@pytest.mark.parametrize("what", [None, 3, object()])
def test_what_is_no_tokenizer_is_refused_with_the_cure(what):
    with pytest.raises(TokenizerError, match="cannot be used here: give a folder, a model's name on the Hub"):
        create_renderer(what)


@pytest.mark.parametrize("tools", ['[{"name": "f"}]', {"name": "f"}, [None], ["f"], [print]])
def test_what_are_no_tools_is_refused_with_the_cure(example, tools):
    renderer = create_renderer(example, "qwen3")
    for told in (lambda: renderer.render(MESSAGES, tools), lambda: Chat("qwen3", MESSAGES, tools).prompt()):
        with pytest.raises(
            TemplateError, match=r"^tools(\[0\] is .*: of a function, .*get_json_schema| are a list of)"
        ):
            told()


def test_a_name_that_nobody_knows_is_refused_with_the_cure(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TokenizerError, match="name a folder, or an owner/name"):
        create_renderer("nobody/knows-this")


def test_importing_renderers_imports_no_hub_and_no_torch():
    heavy = {"torch", "transformers", "huggingface_hub", "datasets", "dagster", "pipeline", "httpx"}
    said = subprocess.run(
        [sys.executable, "-c", "import sys, renderers; print(*{m.partition('.')[0] for m in sys.modules})"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(renderers.__file__).parents[1],
    )
    assert not heavy & set(said.stdout.split())
    assert Tokenizer.__module__ == "renderers.tokenizer"
