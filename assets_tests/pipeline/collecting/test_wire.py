"""Answers are put together from streams as their servers meant them, and translated without loss."""

import json

import pytest

from assets_tests.recording.model import Reply, chat, messages, responses
from assets_tests.recording.model import whole as whole_of
from pipeline.collecting.translation import from_chat, response_events, to_chat
from pipeline.collecting.wire import BrokenAnswer, events, finish_of, put_together, sse, usage_of
from pipeline.records import Usage

APIS = ("responses", "chat", "messages")


def spoken(api, **fields):
    """A scripted answer as a stream of bytes."""
    told = list({"responses": responses, "chat": chat, "messages": messages}[api](Reply(**fields), 1, "m"))
    return told, sse(told, done=api == "chat")


@pytest.mark.parametrize("api", APIS)
def test_a_stream_put_together_is_the_answer(api):
    calls = ({"shell": {"cmd": "ls 'a\u2028b'"}}, {"look": {"x": [1, None]}})
    told, data = spoken(api, reasoning="Hm. " * 40, text="Hi.\n\ndata: [DONE]\n\n" * 9, calls=calls)
    answer = put_together(api, data)
    whole = whole_of(told)
    if api != "chat":
        assert answer == whole
    else:
        message, meant = answer["choices"][0]["message"], whole["choices"][0]["message"]
        assert (message["content"], message["reasoning_content"]) == (meant["content"], meant["reasoning_content"])
        assert [call["function"] for call in message["tool_calls"]] == [
            call["function"] for call in meant["tool_calls"]
        ]
    assert usage_of(api, answer).input == 1000
    finish = {"responses": "completed", "chat": "tool_calls", "messages": "tool_use"}
    assert finish_of(api, answer) == finish[api]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_stream_that_was_cut_anywhere_before_its_end_is_no_answer(api, newline):
    _, data = spoken(api, text="Hi." * 30)
    data = data.replace(b"\n", newline)
    ends = {
        "chat": b'"finish_reason":"stop"',
        "responses": b"event: response.completed",
        "messages": b"event: message_stop",
    }
    said = data.index(ends[api])
    for at in range(0, said, 41):
        with pytest.raises(BrokenAnswer):
            put_together(api, data[:at])
    assert put_together(api, data)


@pytest.mark.parametrize(
    ("api", "told"),
    [
        ("chat", [{"error": {"message": "down", "code": "server_error"}}]),
        ("responses", [{"type": "error", "message": "down", "code": "server_error"}]),
        (
            "messages",
            [
                {"type": "message_start", "message": {}},
                {"type": "error", "error": {"message": "down", "type": "server_error"}},
            ],
        ),
        (
            "responses",
            [{"type": "response.failed", "response": {"error": {"message": "down", "code": "server_error"}}}],
        ),
    ],
)
def test_an_error_in_a_stream_is_told_with_its_code(api, told):
    with pytest.raises(BrokenAnswer, match="down") as caught:
        put_together(api, sse(told, done=False))
    assert caught.value.code == "server_error"


def test_comments_and_blank_lines_are_no_events():
    assert list(events(b': waiting\n\n\n\ndata: {"a": 1}\n\ndata: [DONE]\n\n')) == [{"a": 1}]


def test_usage_is_read_as_each_api_tells_it():
    chat = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}
    chat["completion_tokens_details"] = {"reasoning_tokens": 2}
    assert usage_of("chat", {"usage": chat}) == Usage(input=9, cached=3, output=4, reasoning=2)
    response = {"input_tokens": 9, "output_tokens": 4, "input_tokens_details": None}
    assert usage_of("responses", {"usage": response}) == Usage(input=9, output=4)
    message = {"input_tokens": 2, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 4, "output_tokens": 4}
    assert usage_of("messages", {"usage": message}) == Usage(input=9, cached=3, cache_written=4, output=4)
    assert usage_of("chat", {}) == Usage()


def test_arguments_that_are_no_json_stay_as_they_came():
    call = {"type": "tool_use", "id": "c", "name": "sh", "input": {}}
    broken = {"type": "input_json_delta", "partial_json": '{"cmd": '}
    told = [
        {"type": "message_start", "message": {"role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": call},
        {"type": "content_block_delta", "index": 0, "delta": broken},
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    (block,) = put_together("messages", sse(told, done=False))["content"]
    assert block == {**call, "input": '{"cmd": '}


REQUEST = {
    "model": "m",
    "instructions": "Be brief.",
    "max_output_tokens": 9,
    "reasoning": {"effort": "low"},
    "tools": [
        {"type": "function", "name": "shell", "description": "d", "parameters": {"type": "object"}, "strict": False},
        {"type": "custom", "name": "apply_patch", "description": "Patch.", "format": {"type": "grammar"}},
        {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "look", "parameters": {}}]},
        {"type": "web_search"},
    ],
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Rules."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "See"}, {"type": "input_image", "image_url": "u"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Look."}]},
        {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": '{"cmd": 1.0}'},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": '*** "Begin"\n'},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
        {"type": "function_call", "call_id": "c3", "name": "look", "namespace": "mcp", "arguments": "{}"},
    ],
}


def test_a_request_of_responses_becomes_one_of_chat():
    told = to_chat(REQUEST)
    assert (told["max_tokens"], told["reasoning_effort"], told["stream"]) == (9, "low", True)
    assert [tool["function"]["name"] for tool in told["tools"]] == ["shell", "apply_patch", "mcp__look"]
    system, rules, user, answer, one, two, last = told["messages"]
    assert (system["content"], rules, one["content"]) == ("Be brief.", {"role": "system", "content": "Rules."}, "one")
    assert user["content"][1] == {"type": "image_url", "image_url": {"url": "u"}}
    assert (answer["content"], answer["reasoning_content"]) == ("Look.", "Hm.")
    calls = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in answer["tool_calls"]]
    assert calls[0] == ("c1", "shell", '{"cmd": 1.0}'), "arguments stay as they were written"
    assert (calls[1][1], json.loads(calls[1][2])) == ("apply_patch", {"input": '*** "Begin"\n'})
    assert (two["tool_call_id"], two["content"]) == ("c2", "two")
    assert last["tool_calls"][0]["function"]["name"] == "mcp__look"


def test_what_codex_tells_among_its_items_is_told_to_chat():
    """Tools of its code mode, and what another agent says."""
    tools = [{"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]}]
    heard = {"type": "agent_message", "author": "a", "content": [{"type": "input_text", "text": "Five."}]}
    request = {"model": "m", "input": [{"type": "additional_tools", "role": "developer", "tools": tools}, heard]}
    told = to_chat(request)
    assert [tool["function"]["name"] for tool in told["tools"]] == ["functions__exec"]
    assert told["messages"] == [{"role": "user", "content": "Five."}]
    call = {"id": "c1", "function": {"name": "functions__exec", "arguments": '{"input": "text()"}'}}
    answer = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    (item,) = from_chat(answer, request)["output"]
    assert (item["type"], item["namespace"], item["name"], item["input"]) == (
        "custom_tool_call",
        "functions",
        "exec",
        "text()",
    )


def test_an_answer_of_chat_becomes_one_of_responses():
    called = [("c1", "shell", '{"cmd":  1}'), ("c2", "apply_patch", '{"input": "*** x"}'), ("c3", "mcp__look", "{")]
    calls = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in called]
    message = {"role": "assistant", "reasoning_content": "Hm.", "content": "Hi.", "tool_calls": calls}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}}
    chat = {"id": "x", "model": "m", "choices": [{"message": message, "finish_reason": "length"}], "usage": usage}
    told = from_chat(chat, REQUEST)
    reasoning, text, shell, patch, look = told["output"]
    assert (reasoning["content"][0]["text"], text["content"][0]["text"]) == ("Hm.", "Hi.")
    assert (shell["arguments"], patch["type"], patch["input"]) == ('{"cmd":  1}', "custom_tool_call", "*** x")
    assert (look["name"], look["namespace"], look["arguments"]) == ("look", "mcp", "{")
    assert (told["status"], usage_of("responses", told)) == ("incomplete", Usage(input=5, output=2, reasoning=1))
    assert put_together("responses", sse(response_events(told), done=False)) == told


def test_what_a_chat_server_hears_again_is_what_it_said():
    """Answer, to Responses and back: the message is the same."""
    call = {"id": "c1", "type": "function", "function": {"name": "shell", "arguments": '{ "cmd" : 1 }'}}
    message = {"role": "assistant", "reasoning_content": "Hm.", "content": "Hi.", "tool_calls": [call]}
    items = from_chat({"choices": [{"message": message, "finish_reason": "stop"}]}, REQUEST)["output"]
    (again,) = to_chat({"model": "m", "input": items})["messages"]
    assert again == message
