"""The scripted model says its script to OpenAI's own client, through both of its interfaces."""

import openai
import pytest

from assets_tests.recording.model import Reply, ScriptedModel


@pytest.fixture
def thinking():
    """A model that thinks, speaks and calls two tools; then it is cut off in a word."""
    calls = ({"shell": {"cmd": "echo „ü“"}}, {"code.exec": "text(1)"})
    script = (Reply(reasoning="Hm.", text="Let me see. " * 20, calls=calls), Reply(text="It is", cut=True))
    with ScriptedModel(script) as served:
        yield served


@pytest.fixture
def client(thinking):
    return openai.OpenAI(base_url=thinking.url, api_key="none", max_retries=0)


def test_chat_completions_stream_reasoning_text_and_calls(client):
    stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
    deltas = [chunk.choices[0].delta for chunk in stream if chunk.choices]
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == "Hm."
    assert "".join(delta.content or "" for delta in deltas) == "Let me see. " * 20
    pieces = [call.function for delta in deltas for call in delta.tool_calls or ()]
    assert [piece.name for piece in pieces if piece.name] == ["shell", "code.exec"]
    assert "".join(piece.arguments for piece in pieces) == '{"cmd":"echo „ü“"}text(1)'


def test_responses_stream_the_items_they_end_with(client):
    *_, last = events = list(client.responses.create(model="m", input="Hi", stream=True))
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert done == last.response.output
    assert [item.type for item in done] == ["reasoning", "message", "function_call", "custom_tool_call"]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Let me see. " * 20
    assert (done[2].arguments, done[3].namespace, done[3].input) == ('{"cmd":"echo „ü“"}', "code", "text(1)")


def test_an_answer_may_stop_at_the_output_limit(client):
    _, last = [list(client.responses.create(model="m", input="Hi", stream=True))[-1] for _ in range(2)]
    assert (last.type, last.response.incomplete_details.reason) == ("response.incomplete", "max_output_tokens")


def test_it_keeps_what_it_was_asked_and_refuses_once_its_script_is_told(client, thinking):
    for _ in range(2):
        list(client.responses.create(model="m", input="Hi", stream=True))
    assert thinking.spoken.is_set()
    with pytest.raises(openai.APIStatusError, match="410"):
        client.responses.create(model="m", input="Hi", stream=True)
    assert [request["input"] for request in thinking.requests] == ["Hi"] * 3
