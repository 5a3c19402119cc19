"""A model asked directly: both APIs, follow-ups, reasoning in every field, and what cannot be asked."""

import json

import msgspec
import pytest

from pipeline.records import Decoding, Reject, Trace, Usage
from pipeline.resources.endpoint import credentials
from pipeline.settings import Endpoint

APIS = ("responses", "chat", "messages")


def contents(request):
    return [message["content"] for message in request["messages"]]


def row(trace):
    return json.loads(trace.files[0].data)


@pytest.mark.parametrize("api", APIS)
def test_a_conversation_is_asked_turn_by_turn_and_told_as_one_row(bench, task, api):
    with bench.model({"text": "Hi.", "reasoning": "Greet.", "tokens": 7}, {"text": "Bye."}) as model:
        asked = task(system="Be brief.", follow_up_prompts=("And now?",))
        (trace,) = bench.run([asked], model.url, api=api)
    assert isinstance(trace, Trace)
    assert (trace.agent, trace.format, trace.status, trace.model) == ("chat", "chat", "complete", "gpt-5")
    said = row(trace)["messages"]
    assert [(m["role"], m["content"]) for m in said] == [
        ("system", "Be brief."),
        ("user", "Say hi."),
        ("assistant", "Hi."),
        ("user", "And now?"),
        ("assistant", "Bye."),
    ]
    assert (said[2]["thinking"], "thinking" in said[4]) == ("Greet.", False)
    second = model.requests[1]
    if api == "chat":
        assert [m["content"] for m in second["messages"]] == ["Be brief.", "Say hi.", "Hi.", "And now?"]
    elif api == "messages":
        assert (second["system"], second["max_tokens"]) == ("Be brief.", 8192)
        told = [block if isinstance(block, str) else [one["type"] for one in block] for block in contents(second)]
        assert told == ["Say hi.", ["thinking", "text"], "And now?"], "what was thought goes on, signed"
    else:
        assert second["instructions"] == "Be brief."
        assert [item.get("type", item.get("role")) for item in second["input"]] == [
            "user",
            "reasoning",
            "message",
            "user",
        ]


@pytest.mark.parametrize("api", APIS)
def test_the_ledger_is_what_the_provider_counts(bench, task, api):
    with bench.model({"text": "Hi.", "tokens": 70}, {"text": "Bye.", "tokens": 80}) as model:
        (trace,) = bench.run([task(follow_up_prompts=("More.",))], model.url, api=api)
    told = [json.loads(one.answer)["usage"] for one in trace.exchanges]
    ins, outs = ("prompt_tokens", "completion_tokens") if api == "chat" else ("input_tokens", "output_tokens")
    assert trace.usage == Usage(input=150, output=sum(one[outs] for one in told))
    assert [one[ins] for one in told] == [70, 80]
    assert trace.cost_usd == pytest.approx(150 * 1.25e-6 + trace.usage.output * 10e-6)


def test_a_model_that_nobody_sells_costs_nothing_known(bench, task):
    with bench.model({"text": "Hi."}) as model:
        (trace,) = bench.run([task(model="my-own")], model.url)
    assert (trace.cost_usd, trace.usage.input) == (None, 1000)


def test_every_sampling_parameter_is_sent(bench, task):
    asked = Decoding(temperature=0.2, top_p=0.9, max_tokens=50, seed=3, stop=("END",), extra={"top_k": 5})
    with bench.model({"text": "Hi."}, {"text": "Hi."}, {"text": "Hi."}) as model:
        bench.run([task(sampling=asked)], model.url, api="chat")
        asked = Decoding(temperature=0.2, max_tokens=50, reasoning_effort="low")
        bench.run([task("Other", sampling=asked)], model.url, api="responses")
        asked = Decoding(top_p=0.9, max_tokens=50, stop=("END",), reasoning_effort="low", extra={"top_k": 5})
        bench.run([task("Third", sampling=asked)], model.url, api="messages")
    first, second, third = model.requests
    told = {"temperature": 0.2, "top_p": 0.9, "max_tokens": 50, "seed": 3, "stop": ["END"], "top_k": 5}
    assert told.items() <= first.items()
    told = {"temperature": 0.2, "max_output_tokens": 50, "reasoning": {"effort": "low", "summary": "auto"}}
    assert told.items() <= second.items()
    told = {"top_p": 0.9, "max_tokens": 50, "stop_sequences": ["END"], "top_k": 5, "output_config": {"effort": "low"}}
    assert told.items() <= third.items()


@pytest.mark.parametrize("api", APIS)
def test_a_cut_answer_is_kept_and_ends_the_conversation(bench, task, api):
    with bench.model({"text": "Hi and", "cut": True}) as model:
        (trace,) = bench.run([task(follow_up_prompts=("Go on.",))], model.url, api=api)
    assert (trace.status, len(model.requests)) == ("length", 1)
    assert row(trace)["messages"][-1]["finish_reason"] in ("length", "max_output_tokens", "max_tokens")


@pytest.mark.parametrize(
    ("message", "thought"),
    [
        ({"content": "a", "reasoning_content": "t"}, "t"),
        ({"content": "a", "reasoning": "t"}, "t"),
        ({"content": "a", "reasoning_details": [{"type": "reasoning.text", "text": "t", "index": 0}]}, "t"),
        ({"content": "a", "reasoning_details": [{"type": "reasoning.summary", "summary": "t"}]}, "t"),
        ({"content": [{"type": "thinking", "thinking": [{"text": "t"}]}, {"type": "text", "text": "a"}]}, "t"),
        ({"content": "a"}, None),
    ],
)
def test_reasoning_is_found_in_whichever_field_a_server_uses(message, thought):
    from pipeline.collecting.chat import APIS as SPOKEN

    said, goes_on = SPOKEN["chat"].read({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (said["content"], said.get("thinking"), said["finish_reason"]) == ("a", thought, "stop")
    assert goes_on == [{"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("fields", "api", "reason"),
    [
        ({"github_repo": "o/n"}, "chat", "unsupported"),
        ({"sampling": Decoding(seed=1)}, "responses", "unsupported"),
        ({"sampling": Decoding(stop=("x",))}, "responses", "unsupported"),
        ({"sampling": Decoding(seed=1)}, "messages", "unsupported"),
        ({"agent": "codex"}, "messages", "unsupported"),
        ({"agent": "claude-code"}, "chat", "unsupported"),
        ({"model": None}, "chat", "no_model"),
        ({"agent": "codex", "sampling": Decoding(temperature=0.0)}, "chat", "unsupported"),
        ({"agent": "pi", "model": None}, "chat", "no_model"),
    ],
)
def test_what_could_not_be_sent_is_refused_before_anything_is(bench, task, fields, api, reason):
    with bench.model({"text": "Hi."}) as model:
        (reject,) = bench.run([task(**fields)], model.url, api=api)
    assert isinstance(reject, Reject)
    assert reject.reason == reason
    assert "; " in reject.detail, "names the cure"
    assert model.requests == []


def test_the_request_is_stored_as_it_was_sent(bench, task):
    with bench.model({"text": "Hi."}) as model:
        (trace,) = bench.run([task(system="Be brief.")], model.url, api="chat")
    assert msgspec.json.decode(trace.exchanges[0].request) == model.requests[0]
    assert model.headers[0]["authorization"] == "Bearer sk-secret"
    assert b"sk-secret" not in msgspec.msgpack.encode(trace)


def test_a_key_is_told_as_the_server_of_messages_wants_it(bench, task):
    with bench.model({"text": "Hi."}) as model:
        bench.run([task()], model.url, api="messages")
    assert model.headers[0]["x-api-key"] == "sk-secret"
    assert model.headers[0]["anthropic-version"] == "2023-06-01"
    assert credentials(Endpoint(base_url="https://api.anthropic.com/v1", api="messages"), "k").keys() == {
        "anthropic-version",
        "x-api-key",
    }
