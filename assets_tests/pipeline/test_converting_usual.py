"""Rows that are told as they are decoded are told as all others are."""

import json
import random
import re
from collections.abc import Iterator

import pytest

from pipeline.converting import messages
from pipeline.converting.rows import Told, reader, row_of
from pipeline.converting.usual import Usual
from pipeline.errors import TraceError
from pipeline.records import Place, Trace, TraceFile

CALL = {"id": "c", "type": "function", "function": {"name": "sh", "arguments": {"a": [1, 2.5, None, "é\n"]}}}
ROWS = [
    {
        "id": "one",
        "bucket": "short",
        "messages": [
            {"role": "system", "content": "Be good."},
            {"role": "user", "content": "Hé\u2028!", "name": "Jo"},
            {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "ok"},
            {"role": "assistant", "content": "Ja."},
        ],
        "tools": [{"type": "function", "function": {"name": "sh"}}, {"name": "ls", "parameters": {}}],
    },
    {
        "id": 2,
        "messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2", "tool_calls": None}],
        "tools": None,
        "metadata": {"model": "m", "id": "its own"},
        "usage": {"prompt_tokens": 3},
        "system": None,
    },
]
LINES = [json.dumps(row, ensure_ascii=number % 2 == 0).encode() for number, row in enumerate(ROWS)]
PLACE = Place("r", 1)
VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"(?!\s*:)|-?\b\d[\d.eE+-]*|\bnull\b|\[\]|\{\}')
ODD = (
    b'null 7 -0 1.0 1e16 1e999 NaN true "" "x" [] {} [{}] "\\ud800" "\\ud83d\\ude00" "\\\\ud800" "\xff" "\xed\xa0\x80" '
    b'"\\q" "\\/" "\x01" "system" "function" "model" "{\\"id\\":3}" "[{\\"name\\":\\"f\\"}]" [{"name":"f"}] '
    b'{"a":1,"a":2} {"\\ud800":1} [{"role":"assistant","content":"x"}] [{"type":"text","text":"x"}] '
    b'[{"name":"f","arguments":1E2}] [{"function":{"name":"f","arguments":"{}"},"index":0}] ' + b"9" * 400
).split(b" ")
NAMES = (
    b"role content reasoning thinking tool_calls tool_call_id name weight train function_call finish_reason function "
    b'arguments type index id messages conversations functions system metadata model usage extra a\\"b \\u0069d '
).split(b" ")


def trace(data: bytes) -> Trace:
    return Trace(id="t", prompt_id="p", prompt="", agent="replay", format="messages", files=(TraceFile("r", data),))


def odd(dice: random.Random) -> Iterator[bytes]:
    """Lines with values of another kind, and fields that are more, or there twice."""
    while True:
        line = dice.choice(LINES)
        for _ in range(dice.randrange(3)):
            spots = [match.span() for match in VALUE.finditer(line)]
            at, to = dice.choice([*spots, *((match.end(),) * 2 for match in re.finditer(rb'\{(?=")', line))])
            field = b'"%b": %b, ' % (dice.choice(NAMES), dice.choice(ODD))
            line = line[:at] + (dice.choice(ODD) if at < to else field) + line[to:]
        yield line


def test_what_is_told_at_once_is_what_is_told_after_looking_into_it(examples: int):
    lines = odd(random.Random(4))
    for _ in range(max(examples, 200)):
        asked = trace(b"\n".join([LINES[1], *(next(lines) for _ in range(5))]))
        assert list(reader(messages.tell, Usual)(asked)) == list(reader(messages.tell)(asked))


@pytest.mark.parametrize("line", LINES)
def test_usual_rows_are_told_at_once(line: bytes):
    usual, (told,) = Usual(), messages.tell(row_of(line, PLACE))
    assert [usual(line, PLACE) for _ in range(2)][1] == told


def test_a_column_that_nobody_reads_is_known_from_then_on():
    usual, line = Usual(), LINES[0]
    assert usual(line, PLACE) == ROWS[0]
    assert isinstance(usual(line, PLACE), Told)
    assert isinstance(usual(line.replace(b'"short"', b"1e999"), PLACE), TraceError), "it is looked into all the same"


def test_rows_that_were_offered_the_same_tools_share_them():
    usual = Usual()
    _, one, other = (usual(LINES[0], PLACE) for _ in range(3))
    assert one.tools is other.tools
