"""Damaged sessions leave with a reason, and never take a neighbour along."""

import random
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import msgspec
import pytest

from pipeline.converting import FORMATS, convert
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
}


def session(name: str) -> bytes:
    return "".join(f"{line}\n" for line in SESSIONS[name]).encode()


def trace(name: str, data: bytes, number: int = 1) -> Trace:
    file = TraceFile("s.jsonl", data)
    return Trace(id=f"t-{number}", prompt_id="p-1", prompt="", agent="replay", format=name, files=(file,))


def converted(name: str, data: bytes) -> Conversation | Reject:
    (row,) = convert([trace(name, data)])
    return row


@pytest.fixture(params=FORMATS)
def name(request) -> str:
    return request.param


def test_a_whole_session_is_told(name):
    told = converted(name, session(name))
    assert isinstance(told, Conversation)
    assert [message.role[0] for message in told.messages] == list("suata")
    assert told.messages[1].content == "Hé\u2028!"
    assert (told.status, told.uncounted) == ("complete", {})


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
    """The file cut, or with a byte changed, a piece left out or doubled."""
    dice = random.Random(seed)
    for _ in range(times):
        at, to = sorted(dice.randrange(len(data) + 1) for _ in range(2))
        yield data[:at]
        yield data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
        yield data[:at] + data[to:]
        yield data[:to] + data[at:]


def check_damage(name: str, data: bytes, *, seed: int, times: int) -> None:
    for broken in damaged(data, seed, times):
        for row in convert([trace(name, broken)]):
            assert isinstance(row, Conversation | Reject)
            assert msgspec.json.encode(row), "it can be stored"


def test_damage_of_any_kind_is_never_an_exception(name):
    data = session(name)
    for at in range(len(data)):
        assert converted(name, data[:at]) is not None
    check_damage(name, data, seed=1, times=500)


@pytest.mark.parametrize("name", FORMATS)
def test_damage_to_recorded_sessions_is_never_an_exception(shared: Path, name: str):
    for path in sorted(shared.glob(f"traces/{name}/*/session/*.jsonl")):
        check_damage(name, path.read_bytes(), seed=2, times=8)
