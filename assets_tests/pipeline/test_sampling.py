"""Going on from ids, over real HTTP: a small server speaks every dialect, fails, dawdles and lies."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import OverlongPrompt, SamplingError
from pipeline.sampling import DIALECTS
from pipeline.sampling.client import Server
from pipeline.sampling.generation import Generation, Sampling
from pipeline.sampling.rollout import converse
from renderers import Tokenizer, create_renderer

ROOT = Path(__file__).parents[2]
TOKENIZER = str(ROOT / "pipeline" / "example" / "tokenizer")
TORCH = "2.13.0"
MODEL = "tiny"
CALL = '<think>\nI look.\n</think>\n\n<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call><|im_end|>'
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
GREET = [{"role": "user", "content": "Look."}]


class Engine(ThreadingHTTPServer):
    """Answers with scripted completions, in the dialect in which it is asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[list[int]] = []
        self.asked: list[dict[str, Any]] = []
        self.failures: list[tuple[int, dict[str, str]]] = []
        self.change: Callable[[Any], Any] = lambda answer: answer
        self.context: int | None = None
        self.models: Any = None
        self.dawdle = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        known = {} if self.server.context is None else {"max_model_len": self.server.context}
        models = {"data": [{"id": MODEL, **known}]} if self.server.models is None else self.server.models
        self.say(200 if self.path == "/v1/models" else 404, models)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, **body})
        time.sleep(self.server.dawdle)
        if self.server.failures:
            status, headers = self.server.failures.pop(0)
            self.say(status, {"error": {"message": "busy"}}, headers)
            return
        tell = {"/inference/v1/generate": vllm, "/generate": sglang, "/v1/completions": completions}[self.path]
        self.say(200, self.server.change(tell(self.server.script.pop(0))))

    def say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        told = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *said: Any) -> None:
        pass


def logprob(token: int) -> float:
    return -(token % 97) / 100


def vllm(ids: list[int]) -> dict:
    content = [{"token": f"token_id:{token}", "logprob": logprob(token), "top_logprobs": []} for token in ids]
    choice = {"index": 0, "token_ids": ids, "logprobs": {"content": content}, "finish_reason": "stop"}
    return {"request_id": "1", "choices": [choice]}


def sglang(ids: list[int]) -> dict:
    told = [[logprob(token), token, None] for token in ids]
    finish = {"type": "stop", "matched": ids[-1]}
    return {"text": "", "output_ids": ids, "meta_info": {"output_token_logprobs": told, "finish_reason": finish}}


def completions(ids: list[int]) -> dict:
    told = {"tokens": [f"token_id:{t}" for t in ids], "token_logprobs": list(map(logprob, ids))}
    choice = {"index": 0, "text": "…", "token_ids": ids, "logprobs": told, "finish_reason": "stop"}
    return {"object": "text_completion", "choices": [choice]}


@pytest.fixture
def engine() -> Iterator[Engine]:
    server = Engine()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(params=DIALECTS)
def dialect(request) -> str:
    return request.param


@pytest.fixture
def server(engine, dialect) -> Server:
    return Server(engine.url, MODEL, dialect=dialect, timeout=5, retries=2)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return create_renderer(TOKENIZER, "qwen3").tokenizer


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode_batch([text], added=True)[0]


def test_ids_go_out_and_come_back_with_their_logprobs(server, engine):
    engine.script = [[5, 9, 151645]]
    made = server.generate([1, 2, 3], Sampling(max_tokens=7, temperature=0.5, stop_token_ids=(151645,), seed=11))
    assert made == Generation((5, 9, 151645), tuple(map(logprob, (5, 9, 151645))), "stop")
    (asked,) = engine.asked
    parameters = asked.get("sampling_params", asked)
    assert [1, 2, 3] in (asked.get("token_ids"), asked.get("input_ids"), asked.get("prompt"))
    assert (parameters["temperature"], parameters["stop_token_ids"]) == (0.5, [151645])
    assert parameters["skip_special_tokens"] is False
    assert 7 in (parameters.get("max_tokens"), parameters.get("max_new_tokens"))
    assert 11 in (parameters.get("seed"), parameters.get("sampling_seed"))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, engine, status):
    engine.script, engine.failures = [[5]], [(status, {"Retry-After": "0"})] * 2
    assert server.generate([1], Sampling()).token_ids == (5,)
    assert len(engine.asked) == 3


def test_who_fails_for_good_is_named(server, engine):
    engine.failures = [(503, {"Retry-After": "0"})] * 3
    with pytest.raises(SamplingError, match=re.escape(engine.url)):
        server.generate([1], Sampling())
    engine.failures = [(400, {})]
    with pytest.raises(SamplingError, match="busy"):
        server.generate([1], Sampling())
    assert len(engine.asked) == 4


def test_a_server_that_dawdles_is_not_waited_for(engine):
    engine.dawdle, engine.script = 0.5, [[5]]
    with pytest.raises(SamplingError, match="timed out"):
        Server(engine.url, MODEL, timeout=0.1, retries=0).generate([1], Sampling())


def test_nobody_there_is_an_error_too(engine):
    url = engine.url
    engine.shutdown()
    engine.server_close()
    with pytest.raises(SamplingError, match="onnection"):
        Server(url, MODEL, retries=0).generate([1], Sampling())


def test_an_overlong_prompt_is_refused_before_it_is_sent(server, engine):
    engine.context, engine.script = 4, [[5]]
    with pytest.raises(OverlongPrompt, match="4 tokens leaves no room in 4"):
        server.generate([1, 2, 3, 4], Sampling())
    assert not engine.asked
    server.generate([1, 2, 3], Sampling(max_tokens=100))
    parameters = engine.asked[0].get("sampling_params", engine.asked[0])
    assert 1 in (parameters.get("max_tokens"), parameters.get("max_new_tokens"))


def without_one_logprob(answer: dict) -> dict:
    told = answer["meta_info"]["output_token_logprobs"] if "meta_info" in answer else answer["choices"][0]["logprobs"]
    for listed in [told] if isinstance(told, list) else told.values():
        listed.pop()
    return answer


def with_logprob(value: float) -> Callable[[dict], dict]:
    def change(answer: dict) -> dict:
        if "meta_info" in answer:
            answer["meta_info"]["output_token_logprobs"][0][0] = value
        elif "content" in answer["choices"][0]["logprobs"]:
            answer["choices"][0]["logprobs"]["content"][0]["logprob"] = value
        else:
            answer["choices"][0]["logprobs"]["token_logprobs"][0] = value
        return answer

    return change


@pytest.mark.parametrize(
    "change",
    [without_one_logprob, with_logprob(-9999.0), with_logprob(0.5), with_logprob(float("nan"))],
    ids=["one missing", "unknown", "above 0", "no number"],
)
def test_logprobs_are_as_many_as_ids_and_mean_something(server, engine, change):
    engine.script, engine.change = [[5, 9]], change
    with pytest.raises(SamplingError):
        server.generate([1], Sampling())


@pytest.mark.parametrize(
    "answer", [{}, [], {"choices": []}, {"choices": [{}]}, {"meta_info": None}, "no", None, b"", b"<html>busy</html>"]
)
def test_what_is_no_answer_is_an_error(server, engine, answer):
    engine.script, engine.change = [[5]], lambda _: answer
    with pytest.raises(SamplingError, match=f"^{re.escape(engine.url)}/|one completion was asked for"):
        server.generate([1], Sampling())


def test_what_has_not_finished_is_an_error(server, engine):
    def unfinished(answer: dict) -> dict:
        answer.get("meta_info", {})["finish_reason"] = {"type": None}
        for choice in answer.get("choices", ()):
            choice["finish_reason"] = None
        return answer

    engine.script, engine.change = [[5]], unfinished
    with pytest.raises(SamplingError, match="it has not finished"):
        server.generate([1], Sampling())


@pytest.mark.parametrize("models", [b"<html>", [], {}, {"data": None}, {"data": ["m"]}, {"error": {"message": "no"}}])
def test_what_is_no_list_of_models_is_an_error_with_its_cure(server, engine, models):
    engine.models, engine.script = models, [[5]]
    with pytest.raises(SamplingError, match=f"^{re.escape(engine.url)}/v1/models: .*`context=` spares"):
        server.generate([1], Sampling())
    assert Server(engine.url, MODEL, dialect="completions", context=9).generate([1], Sampling()).token_ids == (5,)


@pytest.mark.parametrize("root", ["/", "/v1", "/v1/"])
def test_the_root_may_be_told_as_openai_clients_have_it(engine, dialect, root):
    engine.context, engine.script = 4, [[5]]
    server = Server(engine.url + root, MODEL, dialect=dialect, retries=0)
    with pytest.raises(OverlongPrompt):
        server.generate([1, 2, 3, 4], Sampling())
    assert server.generate([1], Sampling()).token_ids == (5,)


def test_text_alone_is_no_answer(engine):
    def texts(answer: dict) -> dict:
        choice = answer["choices"][0]
        del choice["token_ids"]
        choice["logprobs"]["tokens"] = ["Hel", "lo"]
        return answer

    engine.script, engine.change = [[5, 9]], texts
    with pytest.raises(SamplingError, match="return_token_ids"):
        Server(engine.url, MODEL, dialect="completions").generate([1], Sampling())


def test_an_unknown_dialect_is_refused():
    with pytest.raises(SamplingError, match="vllm, sglang, completions"):
        Server("http://localhost", MODEL, dialect="morse")


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
