"""Thoughts that history drops, told all the same: for a summary of the work so far, nothing of it may be missing."""

from datetime import date

import pytest

from renderers import FAMILIES, Family, Message, Request, ToolCall, UnknownFlag
from renderers.template import PRESERVING

SPEECHLESS = {
    "deepseek-v3", "deepseek-v3.1", "gemma-3", "kimi-k2", "llama-3", "llama-3.1", "llama-3.2", "ministral-3",
    "mistral-nemo", "mistral-small-3.2", "qwen2.5", "qwen3-2507-instruct", "qwen3-coder", "qwen3-vl", "smollm3",
}  # fmt: skip
"""Families without words for a thought that stands in its field."""
CALL = ToolCall("f", "{}", "functions.f:0")
WORK = (
    Message("user", "u"),
    Message("assistant", "", "first thought", (CALL,)),
    Message("tool", "t", tool_call_id=CALL.id),
    Message("assistant", "a", "second thought"),
    Message("user", "v"),
    Message("assistant", "", "third thought", (CALL,)),
    Message("tool", "t", tool_call_id=CALL.id),
    Message("assistant", "b", "fourth thought"),
)
SUMMARY = (*WORK, Message("user", "Summarize the work so far."))


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def family(request) -> Family:
    return request.param


@pytest.fixture
def asked(family) -> dict:
    return {"today": date(2025, 7, 1)} if "today" in family.flags else {}


@pytest.mark.parametrize("flag", PRESERVING)
def test_a_thought_written_inline_is_kept_too(flag):
    inline = (Message("user", "u"), Message("assistant", "<think>\nfirst thought\n</think>\n\na"), Message("user", "v"))
    assert told(FAMILIES["qwen3"], inline) == []
    assert told(FAMILIES["qwen3"], inline, **{flag: True}) == ["first"] * (flag == "preserve_all_thinking")


def told(family: Family, messages: tuple[Message, ...], **flags: object) -> list[str]:
    """The thoughts that are told, by what they begin with."""
    text = family.tell(Request(messages, flags=flags, generating=messages[-1].role != "assistant")).text
    return [word for word in ("first", "second", "third", "fourth") if f"{word} thought" in text]


def test_every_thought_is_told_on_request_or_the_flag_refused(family, asked):
    if family.name in SPEECHLESS:
        for flag in PRESERVING:
            with pytest.raises(UnknownFlag, match=flag):
                told(family, SUMMARY, **{flag: True}, **asked)
        return
    flags = {"preserve_all_thinking": True, **asked}
    assert told(family, SUMMARY, **flags) == ["first", "second", "third", "fourth"]
    lost = family.tell(Request(SUMMARY, flags=flags)).lost
    assert not [origin for origin in lost if origin[2] == "reasoning_content"]


def test_thoughts_since_the_last_user_message_are_told_on_request(family, asked):
    if family.name not in SPEECHLESS:
        between = told(family, WORK, preserve_thinking_between_tool_calls=True, **asked)
        assert between[-2:] == ["third", "fourth"]
        assert set(between) == {*told(family, WORK, **asked), "third", "fourth"}


def test_preserving_only_adds(family, asked):
    if family.name not in SPEECHLESS:
        for messages in (WORK, SUMMARY):
            plain = told(family, messages, **asked)
            for flag in PRESERVING:
                assert told(family, messages, **{flag: False}, **asked) == plain
                assert set(told(family, messages, **{flag: True}, **asked)) >= set(plain)
