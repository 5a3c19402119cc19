"""Conversations that are sampled turn by turn, and the examples of the docs, with servers and with a model in here."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import pytest

from assets_tests.pipeline.sampling.engine import MODEL
from pipeline.sampling.client import Server
from pipeline.sampling.generation import Generation
from pipeline.sampling.rollout import converse
from pipeline.targets import EXAMPLE
from renderers import Parsed, TemplateError, Tokenizer, create_renderer

ROOT = Path(__file__).parents[3]
TOKENIZER = str(EXAMPLE / "tokenizer")
TORCH = "2.13.0"
CALL = '<think>\nI look.\n</think>\n\n<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call><|im_end|>'
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
GREET = [{"role": "user", "content": "Look."}]


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode_batch([text], added=True)[0]


def test_a_conversation_is_sampled_in_ids_all_along(server, engine, tokenizer):
    renderer = create_renderer(tokenizer, "qwen3")
    spelled = CALL.replace('", "', '",  "')  # not as the template would spell it
    engine.script = [ids_of(tokenizer, text) for text in (spelled, "<think>\nSeen.\n</think>\n\nA cat.<|im_end|>")]
    answers = iter([[{"role": "tool", "content": "a cat"}], []])
    first, last = converse(renderer, server, GREET, lambda parsed: next(answers), tools=TOOLS)
    assert (first.bridged, last.bridged) == (False, True)
    sampled = [*first.prompt_ids, *first.generation.token_ids]
    assert last.prompt_ids[: len(sampled)] == sampled
    assert first.parsed.tool_calls[0]["function"]["name"] == "look"
    assert (last.parsed.reasoning_content, last.parsed.content) == ("Seen.", "A cat.")
    stops = renderer.get_stop_token_ids()
    assert all(asked.get("sampling_params", asked)["stop_token_ids"] == stops for asked in engine.asked)


def test_a_step_that_cannot_be_bridged_is_rendered_and_says_so(server, engine, tokenizer):
    renderer = create_renderer(tokenizer, "qwen3")
    thought = "<think>\nHm.\n</think>\n\nYes?<|im_end|>"  # history drops it
    engine.script = [ids_of(tokenizer, thought)] * 2
    answers = iter([[{"role": "user", "content": "And?"}], []])
    _, last = converse(renderer, server, GREET, lambda parsed: next(answers))
    told = [*GREET, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "And?"}]
    assert last.prompt_ids == renderer.render_ids(told, add_generation_prompt=True)
    assert not last.bridged


def test_a_conversation_that_ids_do_not_show_is_bridged_too(engine, official):
    """DeepSeek V3.2 tells developers in the words of users: from the ids alone, nobody knows who spoke."""
    renderer = create_renderer(official("deepseek-v3.2"), "deepseek-v3.2")
    said = [{"role": "developer", "content": "Be brief."}, *GREET]
    stop = ids_of(renderer.tokenizer, "A cat.<｜end▁of▁sentence｜>")
    engine.script, answers = [stop, stop], iter([[{"role": "user", "content": "And?"}], []])
    first, last = converse(renderer, Server(engine.url, MODEL), said, lambda parsed: next(answers), tools=TOOLS)
    assert renderer.bridge_to_next_turn(first.prompt_ids, stop, [{"role": "user", "content": "And?"}]) is None
    assert last.bridged


def test_a_world_that_has_nothing_to_say_may_say_nothing(server, engine, tokenizer):
    renderer = create_renderer(tokenizer, "qwen3")
    engine.script = [ids_of(tokenizer, "Hi.<|im_end|>")]
    (only,) = converse(renderer, server, GREET, lambda parsed: None)
    assert only.parsed.content == "Hi."


class Silent:
    """A sampler that says nothing, again and again."""

    def __init__(self, *says: int):
        self.says, self.asked = says, 0

    def generate(self, prompt_ids, sampling) -> Generation:
        self.asked += 1
        return Generation(self.says, (-0.1,) * len(self.says), "abort")


FAMILY_OF = {"mistral-small-3.2": False, "ministral-3": False, "mistral-nemo": True, "qwen3": True, "gpt-oss": True}
"""Whether the template has words for a turn in which nothing is said."""


@pytest.mark.parametrize("family", FAMILY_OF)
@pytest.mark.parametrize("stopped", [False, True])
def test_an_empty_completion_is_a_step_and_never_a_crash(official, family, stopped):
    renderer, asked = create_renderer(official(family), today=date(2025, 7, 1)), list[Parsed]()
    sampler = Silent(*renderer.get_stop_token_ids()[:1] * stopped)

    def world(parsed: Parsed) -> list[dict[str, str]]:
        asked.append(parsed)
        return [{"role": "user", "content": "And?"}]

    steps = list(converse(renderer, sampler, GREET, world, turns=3))
    assert [bool(step.ended) for step in steps] == ([False] * 3 if FAMILY_OF[family] else [True])
    assert sampler.asked == len(steps)
    if not FAMILY_OF[family]:
        assert steps[0].ended.startswith("an empty completion: an assistant message must say something")
        assert not asked, "nobody waits for an answer of the world"


def test_a_renderer_that_reads_nothing_is_refused_before_anything_is_sampled(tokenizer):
    sampler = Silent()
    with pytest.raises(TemplateError, match="reading back needs a declared family"):
        next(converse(create_renderer(tokenizer, "traced"), sampler, GREET, lambda parsed: []))
    assert not sampler.asked


def test_the_example_for_servers_runs(engine, dialect, tokenizer):
    call = CALL.replace('"look"', '"add"').replace("{}", '{"a": 17.5, "b": 24.5}')
    engine.script = [ids_of(tokenizer, call), ids_of(tokenizer, "<think>\nEasy.\n</think>\n\n42.<|im_end|>")]
    told = run_example(
        "server_multi_turn.py", "--dialect", dialect, "--url", engine.url, "--model", MODEL, "--tokenizer", TOKENIZER
    )
    assert re.findall(r"^(\w+): \d+ ids", told, re.MULTILINE) == ["rendered", "bridged"]
    assert "42." in told
    prompt = engine.asked[-1].get("token_ids") or engine.asked[-1].get("input_ids") or engine.asked[-1]["prompt"]
    assert "<tool_response>\n42.0\n</tool_response>" in tokenizer.decode(prompt)


def run_example(name: str, *arguments: str, **environment: str) -> str:
    command = [sys.executable, str(ROOT / "docs" / "examples" / name), "--renderer", "qwen3", *arguments]
    path = os.pathsep.join([str(ROOT), *filter(None, [environment.pop("PYTHONPATH", "")])])
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path, **environment})
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="session")
def torch_path() -> str:
    """Where torch is, in a place of its own: installed once, because nothing else here wants its gigabyte."""
    place = ROOT / ".cache" / f"torch-{TORCH}"
    if not place.is_dir():
        fresh = tempfile.mkdtemp(dir=place.parent)
        python = Path(sys.base_prefix) / "bin" / "python3"
        command = [str(python), "-m", "pip", "install", "--quiet", "--target", fresh, f"torch=={TORCH}"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
            Path(fresh).rename(place)
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(fresh, ignore_errors=True)
            if not place.is_dir():
                pytest.skip(f"torch cannot be installed here: {error}")
    return str(place)


TINY_MODEL = """
import sys, torch
from transformers import Qwen3Config, Qwen3ForCausalLM
torch.manual_seed(0)
sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1)
config = Qwen3Config(vocab_size=int(sys.argv[2]), head_dim=16, max_position_embeddings=512, **sizes)
Qwen3ForCausalLM(config).save_pretrained(sys.argv[1])
from transformers import AutoModelForCausalLM
from pipeline.errors import OverlongPrompt
from pipeline.sampling.generation import Sampling
from pipeline.sampling.local import LocalModel
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
for warmth in (0.0, 1.0):
    prompt = [1, 2, 3, 4]
    made = LocalModel(model).generate(prompt, Sampling(max_tokens=6, temperature=warmth, seed=3))
    logits = model(torch.tensor([[*prompt, *made.token_ids]])).logits[0].log_softmax(-1)
    told = [logits[3 + k, token].item() for k, token in enumerate(made.token_ids)]
    assert made.finish == "length" and len(made.token_ids) == 6
    assert torch.allclose(torch.tensor(told), torch.tensor(made.logprobs), atol=1e-4), (told, made)
    stop = made.token_ids[2]
    cut = LocalModel(model).generate(prompt, Sampling(max_tokens=6, temperature=warmth, seed=3, stop_token_ids=(stop,)))
    assert cut.finish == "stop" and cut.token_ids == made.token_ids[: made.token_ids.index(stop) + 1]
try:
    LocalModel(model).generate([1] * 512, Sampling())
except OverlongPrompt as refusal:
    print(refusal)
"""


def test_a_model_in_this_process_tells_the_logprobs_of_what_it_samples(torch_path, tmp_path):
    """A tiny random one, with the example vocabulary; then the example runs with it."""
    shutil.copytree(TOKENIZER, tmp_path, dirs_exist_ok=True)
    size = max(create_renderer(TOKENIZER, "qwen3").tokenizer.added.values()) + 1
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), torch_path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TINY_MODEL, str(tmp_path), str(size)]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert run.returncode == 0, run.stderr
    assert "leaves no room" in run.stdout
    arguments = ("--model", str(tmp_path), "--max-tokens", "8")
    told = run_example("transformers_multi_turn.py", *arguments, PYTHONPATH=torch_path, OMP_NUM_THREADS="1")
    assert len(re.findall(r"^(?:rendered|bridged): \d+ ids, sampled [1-8]:", told, re.MULTILINE)) == 3
