"""Damaged sessions leave with a reason, and never take a neighbour along."""

import gzip
import json
import random
import re
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from pipeline.converting import FORMATS, convert, format_of
from pipeline.errors import TraceError
from pipeline.records import Conversation, Reject, Trace, TraceFile

SESSIONS = {
    "codex": (
        '{"type":"session_meta","payload":{"id":"t1","base_instructions":{"text":"Be good."}}}',
        '{"type":"event_msg","payload":{"type":"task_started"}}',
        '{"type":"response_item","payload":{"type":"message","role":"user","content":['
        '{"type":"input_text","text":"Hé\u2028!"}]}}',
        '{"type":"response_item","payload":{"type":"reasoning","summary":[{"type":"summary_text","text":"Hm."}]}}',
        '{"type":"response_item","payload":{"type":"function_call","name":"sh","arguments":"{}","call_id":"c"}}',
        '{"type":"token_usage_record","payload":{}}',
        '{"type":"response_item","payload":{"type":"function_call_output","call_id":"c","output":"ok"}}',
        '{"type":"response_item","payload":{"type":"message","role":"assistant","content":['
        '{"type":"output_text","text":"Ja."}]}}',
        '{"type":"event_msg","payload":{"type":"task_complete"}}',
    ),
    "pi": (
        '{"type":"session","version":3,"id":"s1"}',
        '{"type":"message","id":"a","parentId":null,"message":{"role":"system","sections":{"p":"Be good."}}}',
        '{"type":"message","id":"b","parentId":"a","message":{"role":"user","content":"Hé\u2028!"}}',
        '{"type":"message","id":"c","parentId":"b","message":{"role":"assistant","content":[{"type":"toolCall","id":"c",'
        '"name":"sh","arguments":{"a":1}}],"stopReason":"toolUse"}}',
        '{"type":"message","id":"d","parentId":"c","message":{"role":"toolResult","toolCallId":"c","content":"ok"}}',
        '{"type":"message","id":"e","parentId":"d","message":{"role":"assistant","content":"Ja.","stopReason":"stop"}}',
    ),
    "claude-code": (
        '{"type":"summary","summary":"A talk","leafUuid":"e"}',
        '{"type":"user","uuid":"a","parentUuid":null,"sessionId":"s","message":{"role":"user","content":"Be good."}}',
        '{"type":"user","uuid":"b","parentUuid":"a","sessionId":"s","message":{"role":"user","content":"Hé\u2028!"}}',
        '{"type":"assistant","uuid":"c","parentUuid":"b","sessionId":"s","message":{"role":"assistant","id":"m1",'
        '"content":[{"type":"tool_use","id":"c","name":"sh","input":{"a":1}}],"stop_reason":"tool_use"}}',
        '{"type":"user","uuid":"d","parentUuid":"c","sessionId":"s","message":{"role":"user","content":['
        '{"type":"tool_result","tool_use_id":"c","content":"ok"}]}}',
        '{"type":"assistant","uuid":"e","parentUuid":"d","sessionId":"s","message":{"role":"assistant","id":"m2",'
        '"content":[{"type":"text","text":"Ja."}],"stop_reason":"end_turn"}}',
    ),
    "simple": (
        '{"type":"session","harness":"mine","id":"s1","tools":[],"metadata":{"k":1}}',
        '{"type":"message","message":{"role":"system","content":"Be good."}}',
        '{"type":"message","message":{"role":"user","content":"Hé\u2028!"}}',
        '{"type":"message","message":{"role":"assistant","content":"","toolCalls":[{"id":"c","function":{"name":"sh",'
        '"arguments":"{\\"a\\":1}"}}]}}',
        '{"type":"message","message":{"role":"tool","toolCallId":"c","content":"ok"}}',
        '{"type":"message","message":{"role":"assistant","content":"Ja.","timestamp":1700000000000}}',
    ),
    "messages": (
        '{"messages":[{"role":"system","content":"Be good."},{"role":"user","content":[{"type":"text","text":"Hé"}]},'
        '{"role":"assistant","content":null,"reasoning":"Hm.","tool_calls":[{"id":"c","function":{"name":"sh",'
        '"arguments":{"a":1}}}]},{"role":"tool","tool_call_id":"c","content":"ok"},'
        '{"role":"assistant","content":"Ja.","weight":0.5}],"tools":"[{\\"name\\":\\"sh\\"}]","id":7}',
        '{"messages":[{"role":"user","content":"1"},{"role":"assistant","function_call":{"name":"f","arguments":"{}"}},'
        '{"role":"function","name":"f","content":"x"},{"role":"model","content":"2","finish_reason":"length"}]}',
    ),
    "chat": (
        '{"prompt":"Hé","response":"Ja.","thinking":"Hm.","system":"Be good.","usage":{"input":3},"model":"m"}',
        '{"prompt":"a","follow_up_prompts":["b"],"responses":["c",{"content":"d"}],"metadata":{"trace_type":"chat"}}',
    ),
    "sharegpt": (
        '{"conversations":[{"from":"human","value":"Hé"},{"from":"gpt","value":"<think>\\nHm.\\n</think>\\n\\nJa."},'
        '{"from":"function_call","value":"{\\"name\\":\\"sh\\",\\"arguments\\":{}}"},'
        '{"from":"observation","value":"ok"},{"from":"gpt","value":"So."}],"system":"Be good.","tools":"[]"}',
    ),
    "hermes": (
        '{"conversations":[{"from":"system","value":"You are a function calling AI model. <tools>[{\\"name\\":'
        '\\"sh\\",\\"required\\":null}]</tools>"},{"from":"human","value":"Hé"},{"from":"gpt","value":'
        '"<think>\\nHm.\\n</think>\\n<tool_call>\\n{\\"name\\": \\"sh\\", \\"arguments\\": {\\"a\\": 1}}\\n'
        '</tool_call>"},{"from":"tool","value":"<tool_response>\\n{\\"tool_call_id\\": \\"c\\", \\"name\\": \\"sh\\", '
        '\\"content\\": \\"ok\\"}\\n</tool_response>"},{"from":"gpt","value":"<think>\\n</think>\\nJa."}],'
        '"timestamp":"2026-03-30T14:22:31","model":"m","completed":true}',
    ),
    "atif": (
        '{"schema_version":"ATIF-v1.7","session_id":"s","agent":{"name":"a","version":"1","model_name":"m",'
        '"tool_definitions":[{"type":"function","function":{"name":"sh"}}]},"steps":[{"step_id":1,"source":"system",'
        '"message":"Be good."},{"step_id":2,"source":"user","message":[{"type":"text","text":"Hé"},{"type":"image",'
        '"source":{"media_type":"image/png","path":"images/1.png"}}]},{"step_id":3,"source":"agent","message":"",'
        '"reasoning_content":"Hm.","tool_calls":[{"tool_call_id":"c","function_name":"sh","arguments":{"a":1}}],'
        '"observation":{"results":[{"source_call_id":"c","content":"ok"}]},"metrics":{"prompt_tokens":5,'
        '"completion_tokens":2,"cached_tokens":1},"timestamp":"2026-01-01T00:00:00Z"},{"step_id":4,"source":"agent",'
        '"message":"Ja.","observation":{"results":[{"content":"$ "}]}}],"subagent_trajectories":[{"schema_version":'
        '"ATIF-v1.7","session_id":"t","steps":[{"source":"user","message":"x"},{"source":"agent","message":"y",'
        '"is_copied_context":true},{"source":"agent","message":"z","llm_call_count":0},'
        '{"source":"agent","message":"w"}]}]}',
    ),
}
LOGS = ("codex", "pi", "claude-code", "simple")
"""Formats of one session a file; the others are of one conversation a row."""


def session(name: str) -> bytes:
    return "".join(f"{line}\n" for line in SESSIONS[name]).encode()


def trace(name: str, data: bytes, number: int = 1) -> Trace:
    file = TraceFile("s.jsonl", data)
    return Trace(id=f"t-{number}", prompt_id="p-1", prompt="", agent="replay", format=name, files=(file,))


def converted(name: str, data: bytes) -> Conversation | Reject:
    (row,) = convert([trace(name, data)])
    return row


@pytest.fixture(params=LOGS)
def name(request) -> str:
    return request.param


def test_a_whole_session_is_told(name):
    told = converted(name, session(name))
    assert isinstance(told, Conversation)
    assert [message.role[0] for message in told.messages][1:] == list("uata")
    assert told.messages[1].content == "Hé\u2028!"
    assert told.status == ("unknown" if name == "simple" else "complete")
    assert told.uncounted == {}


def test_a_last_line_without_its_end_is_whole(name):
    assert converted(name, session(name).rstrip()) == converted(name, session(name))


def test_a_torn_last_line_is_left_out_and_counted(name):
    torn = converted(name, session(name) + b'{"type":"mess')
    assert isinstance(torn, Conversation)
    assert torn.uncounted == {"torn line": 1}
    assert torn.messages == converted(name, session(name)).messages


def test_broken_json_in_the_middle_is_a_reject(name):
    lines = session(name).split(b"\n")
    reject = converted(name, b"\n".join([*lines[:2], lines[2][:-3], *lines[3:]]))
    assert (reject.reason, reject.detail[:11]) == ("invalid_json", "s.jsonl:3: ")
    assert "; " in reject.detail, "names the cure"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"\x7fELF\2\1\1\0\0\0\n", "not_text"),
        (b"\x28\xb5\x2f\xfd\x04\x61 a compressed rollout", "unreadable"),
        (b"\x1f\x8b\x08\x00 another", "unreadable"),
        (b"\xff\xfe\xfd", "invalid_json"),
        (b"just words\n", "invalid_json"),
        (b"{}\n", "invalid_field"),
        (b'{"a":' * 100_000 + b"\n", "invalid_json"),
        (b'{"type":"somebody else\'s","payload":{}}\n', "wrong_format"),
    ],
)
def test_what_is_no_session_is_a_reject(name, data, reason):
    reject = converted(name, data)
    assert (reject.stage, reject.reason) == ("conversations", reason)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_recognised_by_how_a_file_begins(name):
    assert format_of(TraceFile("s", session(name))) == name


@pytest.mark.parametrize("data", [b"{}\n", b"[1]", b'"text"\n', b'{"a":\n1}'])
def test_what_is_like_no_format_is_refused_with_those_there_are(data):
    with pytest.raises(TraceError, match=", ".join(FORMATS)):
        format_of(TraceFile("s", data))


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in LOGS])
def test_rows_may_stand_in_lines_in_an_array_or_alone(name):
    rows = [json.loads(line) for line in SESSIONS[name]]
    lines = list(convert([trace(name, session(name))]))
    array = list(convert([trace(name, json.dumps(rows, indent=1).encode())]))
    alone = list(convert([trace(name, json.dumps(rows[0], indent=1).encode())]))
    assert all(isinstance(row, Conversation) for row in lines)
    assert [row.messages for row in array] == [row.messages for row in lines]
    assert alone[0].messages == lines[0].messages
    assert (lines[0].places[0].line, array[0].places[0].pointer[:2], alone[0].places[0].line) == (1, "/0", 1)


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in LOGS])
def test_a_bad_row_spoils_no_other(name):
    lines = (SESSIONS[name][0], "{broken", "[]", "{}", '{"messages":7,"conversations":7,"steps":7}', SESSIONS[name][0])
    data = "".join(f"{line}\n" for line in lines)
    told = list(convert([trace(name, data.encode())]))
    rejects = [row for row in told if isinstance(row, Reject)]
    assert [row.id for row in rejects] == [f"t-1-{at}" for at in (1, 2, 3, 4)]
    assert all(row.detail.startswith(f"s.jsonl:{at}") for at, row in enumerate(rejects, 2))
    assert isinstance(told[0], Conversation)
    assert isinstance(told[-1], Conversation)


def test_an_unknown_format_is_a_reject_that_names_the_known_ones():
    reject = converted("claude", b"")
    assert reject.reason == "unknown_format"
    assert all(name in reject.detail for name in FORMATS)


@pytest.mark.parametrize("name", ["pi"])
def test_bytes_that_are_no_text_are_a_reject_wherever_they_stand(name):
    reject = converted(name, session(name).replace(b'"a":1', b'"a":"\xbb"'))
    assert (reject.reason, reject.detail[:11]) == ("invalid_json", "s.jsonl:4: ")


def test_half_a_surrogate_pair_becomes_a_replacement_character(name):
    spelled = rb"Ja \ud83d\ude00 \\ud83d \ud83d \udE00."
    told = converted(name, session(name).replace(b"Ja.", spelled))
    assert told.messages[-1].content == "Ja \U0001f600 \\ud83d \ufffd \ufffd."


def test_a_bad_session_spoils_no_other(name):
    good, bad, fine = (trace(name, session(name)[cut:], at) for at, cut in enumerate((0, 3, 0)))
    kinds = [type(row) for row in convert([good, bad, fine])]
    assert kinds == [Conversation, Reject, Conversation]


def test_traces_are_converted_as_they_come(name):
    def endless() -> Iterator[Trace]:
        for number in count():
            yield trace(name, session(name), number)

    assert [row.id for row in islice(convert(endless()), 2)] == ["t-0-0", "t-1-0"]


def damaged(data: bytes, seed: int, times: int) -> Iterator[bytes]:
    """The file cut, changed, spliced, with lines in another order, and with values of another kind."""
    dice = random.Random(seed)
    lines = data.splitlines(keepends=True)
    values = re.findall(rb'"[^"\\]{0,40}"|\b\d+\b|null|\{|\[|true', data) or [data[:1]]
    for _ in range(times):
        at, to = sorted(dice.randrange(len(data) + 1) for _ in range(2))
        yield data[:at]
        yield data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
        yield data[:at] + data[to:]
        yield data[:to] + data[at:]
        yield b"".join(dice.sample(lines, len(lines)))
        spot = dice.choice(values)
        start = data.index(spot)
        yield data[:start] + dice.choice(OTHERS) + data[start + len(spot) :]
        one, other = dice.choice(values), dice.choice(values)
        yield data.replace(one, other, dice.randrange(1, 4))


OTHERS = (
    b"null",
    b"7",
    b'"\\ud800"',
    b"[]",
    b"{}",
    b"1e999",
    b"true",
    b'""',
    b'"x"',
    b"[[[]]]",
    b'{"type":"text"}',
    b"-1",
)
KINDS = 7
"""Of damage."""


def check_damage(name: str, data: bytes, *, seed: int, times: int) -> None:
    for broken in damaged(data, seed, times):
        for row in convert([trace(name, broken)]):
            assert isinstance(row, Conversation | Reject)
            assert msgspec.json.encode(row), "it can be stored"


@pytest.mark.parametrize("name", FORMATS)
def test_damage_of_any_kind_is_never_an_exception(name, examples):
    data = session(name)
    for at in range(0, len(data), 1 if name in LOGS else 5):
        assert list(convert([trace(name, data[:at])]))
    check_damage(name, data, seed=1, times=max(examples, 100) // KINDS)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("pack", [lambda data: pa.compress(data, "zstd", asbytes=True), gzip.compress])
def test_damage_to_a_compressed_file_is_never_an_exception(name, pack):
    packed = pack(session(name))
    for broken in damaged(packed, 3, 20):
        for row in convert([trace(name, broken)]):
            assert isinstance(row, Conversation | Reject)


@pytest.mark.parametrize("name", ["codex", "pi"])
def test_damage_to_recorded_sessions_is_never_an_exception(shared: Path, name: str, examples: int):
    for path in sorted(shared.glob(f"traces/{name}/*/session/*.jsonl")):
        check_damage(name, path.read_bytes(), seed=2, times=max(examples // 100, 2))
