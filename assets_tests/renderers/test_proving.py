"""Verdicts, what they name, and what they cost."""

from collections import Counter
from dataclasses import fields, replace

import pytest

from renderers import FAMILIES, Message, Proof, Request, ToolCall, Verdict
from renderers.messages import Turn
from renderers.proving import Proven, prove
from renderers.renderer import Family

QWEN3 = FAMILIES["qwen3"]
CALL = ToolCall("f", "{}")


def proofs(*messages: Message, family: Family = QWEN3, **flags: bool) -> list[Proof]:
    return list(family.tell(Request(messages, flags=flags)).proofs)


def verdicts(*messages: Message, **flags: bool) -> list[Verdict]:
    return [proof.verdict for proof in proofs(*messages, **flags)]


def test_an_answer_is_proved():
    assert verdicts(Message("user", "a"), Message("assistant", "b")) == [Verdict.PROVED]


def test_an_answer_that_loses_its_empty_thought_is_rewritten():
    told = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d"))
    assert verdicts(*told) == [Verdict.TURN_REWRITTEN, Verdict.PROVED]


def test_history_that_loses_its_reasoning_is_rewritten_and_named():
    called = Message("assistant", "", reasoning="r", tool_calls=(CALL,))
    told = (Message("user", "a"), called, Message("tool", "t"), Message("assistant", "b"), Message("user", "c"))
    first, second = proofs(*told)
    assert first.verdict is Verdict.TURN_REWRITTEN
    assert second.verdict is Verdict.HISTORY_REWRITTEN
    assert "message 1" in second.note


def test_nothing_prompts_the_first_message():
    assert verdicts(Message("assistant", "a"), Message("user", "b")) == [Verdict.PROMPT_REFUSED]


def test_a_prompt_that_is_not_shown_is_absent():
    told = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    (proof,) = proofs(*told, enable_thinking=False)
    assert proof.verdict is Verdict.PROMPT_ABSENT
    assert "<think>" in proof.note


def test_a_switch_may_prove_what_the_asked_flags_do_not():
    told = (Message("user", "a"), Message("assistant", "b", reasoning="r"))
    assert proofs(*told, enable_thinking=False) == [Proof(1, Verdict.PROVED, "enable_thinking=True")]
    unswitched = replace(QWEN3, switches={})
    assert proofs(*told, family=unswitched, enable_thinking=False)[0].verdict is Verdict.PROMPT_ABSENT


def test_what_a_switched_prompt_holds_is_scaffold():
    def prompt(turn: Turn) -> str:
        return "<|im_start|>assistant\n<think>\n" + (
            "" if turn.flags.get("enable_thinking", True) else "\n</think>\n\n"
        )

    opened = replace(QWEN3, template=replace(QWEN3.template, prompt=prompt))
    stream = opened.tell(Request((Message("user", "a"), Message("assistant", "b", reasoning="r"))))
    assert not any("<think>" in segment.text for segment in stream.segments if segment.kind.sampled)
    assert stream.trainable == {1}


def test_a_switch_that_tells_the_turn_itself_otherwise_proves_nothing():
    def told(turn: Turn, asked: str, flipped: str) -> str:
        return f"<|im_start|>assistant\n{asked if turn.flags.get('enable_thinking', True) else flipped}"

    opened = replace(QWEN3.template.assistant, open=lambda turn: told(turn, "", "so "), thinks=lambda turn: False)
    template = replace(QWEN3.template, assistant=opened, prompt=lambda turn: told(turn, "<think>\n", ""))
    (proof,) = replace(QWEN3, template=template).tell(Request((Message("user", "a"), Message("assistant", "b")))).proofs
    assert proof.verdict is Verdict.PROMPT_ABSENT


def test_a_turn_without_words_is_invisible():
    class Silent:
        def prompts(self, request):
            return lambda index: ""

        def turn(self, turn):
            return ()

        viewers = ()

        def steady(self, role):
            return False

        def view(self, turn):
            return None

        def told(self, request):
            return [(), *((),) * len(request.messages)]

    request = Request((Message("user", "a"), Message("assistant", "b")))
    assert prove(Silent(), request, Silent().told(request), switches={}) == {1: Proven(Proof(1, Verdict.INVISIBLE), "")}


def agent(turns: int) -> tuple[Message, ...]:
    step = (Message("assistant", "", reasoning="r", tool_calls=(CALL,)), Message("tool", "t"))
    return (Message("user", "a"), *step * turns)


def chat(turns: int) -> tuple[Message, ...]:
    return (Message("user", "a"), Message("assistant", "b")) * turns


@pytest.mark.parametrize(("conversation", "proved"), [(agent, 400), (chat, 1)])
def test_a_proof_renders_no_prefix_again(conversation, proved):
    told = Counter()

    class Counted(type(QWEN3.template)):
        def turn(self, turn):
            told[len(turn.messages)] += 1
            return super().turn(turn)

    declared = {field.name: getattr(QWEN3.template, field.name) for field in fields(QWEN3.template)}
    counted = replace(QWEN3, template=Counted(**declared))
    stream = counted.tell(Request(conversation(400)))
    assert len(stream.trainable) == proved
    assert told.total() <= 4 * len(conversation(400))
