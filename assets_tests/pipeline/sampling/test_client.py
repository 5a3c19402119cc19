"""Asking for what follows ids, over real HTTP: what goes out, what comes back, and how it fails."""

import re
from collections.abc import Callable

import pytest

from assets_tests.pipeline.sampling.engine import MODEL, logprob
from pipeline.errors import OverlongPrompt, SamplingError
from pipeline.sampling.client import Server
from pipeline.sampling.generation import Generation, Sampling


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


@pytest.mark.parametrize(
    ("url", "dialect", "told"),
    [
        ("localhost:8000", "vllm", "write http://host:port"),
        ("", "vllm", "''"),
        ("http://x", "tgi", "there are: vllm, sglang"),
    ],
)
def test_what_is_no_server_is_refused_before_anything_is_asked(url, dialect, told):
    with pytest.raises(SamplingError, match=told):
        Server(url, MODEL, dialect=dialect)


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
