"""What a template refuses, and what it guards."""

import pytest

from renderers import Kind, Message, Part, Request, Segment, TemplateError
from renderers.messages import Turn, fact
from renderers.patterns import say
from renderers.proving import seamed
from renderers.segments import segments_of
from renderers.template import Assistant, Template

USER = say("<u>{content}\n")
TEMPLATE = Template(turns={"user": USER}, assistant=Assistant(open="<a>", stop="<s>"), prompt=lambda turn: "<a>")


@fact
def count(turn: Turn) -> int:
    return len(turn.messages)


def test_an_empty_conversation_is_refused():
    with pytest.raises(TemplateError, match="empty"):
        TEMPLATE.told(Request(()))


def test_media_without_words_are_refused_by_place():
    picture = Message("user", (Part("text", "a"), Part("image")))
    with pytest.raises(TemplateError, match=r"message 1, content.*image"):
        TEMPLATE.asked(Request((Message("user", "a"), picture)))


def test_a_role_without_a_turn_is_refused():
    with pytest.raises(TemplateError, match=r"message 0.*'tool'"):
        TEMPLATE.told(Request((Message("tool", "a"),)))


def test_what_is_told_may_not_hang_on_facts_of_the_whole():
    def odd(turn: Turn):
        return USER(turn) if count(turn) % 2 else iter(())

    forgetful = Template(turns={"user": odd}, assistant=TEMPLATE.assistant, prompt=TEMPLATE.prompt)
    with pytest.raises(AssertionError, match="facts"):
        forgetful.told(Request((Message("user", "a"),)))


def test_a_start_stands_before_the_first_message_and_may_tell_it():
    system = say("<sys>{content}\n")

    def head(turn: Turn):
        yield from system(turn.at(0)) if turn.first == "system" else ()

    template = Template(turns={"user": USER}, assistant=TEMPLATE.assistant, prompt=TEMPLATE.prompt, start=(head,))
    opening, first, second = template.told(Request((Message("system", "a"), Message("user", "b"))))
    assert [segment.text for segment in segments_of(opening)] == ["<sys>", "a", "\n"]
    assert (first, [segment.message for segment in segments_of(second)]) == ((), [1, 1, 1])


@pytest.mark.parametrize(
    ("prompt", "scaffold"),
    [("<a>", "<a>"), ("<a><th", "<a><th"), ("<a><b>", ""), ("<a><think>", "<a><think>"), ("", "")],
)
def test_what_the_generation_prompt_holds_is_scaffold(prompt, scaffold):
    told = (Segment("<a>", Kind.ANSWER, 0), Segment("<think>", Kind.REASONING, 0), Segment("x", Kind.ANSWER, 0, False))
    cut = list(seamed(told, prompt))
    assert "".join(segment.text for segment in cut) == "<a><think>x"
    assert "".join(segment.text for segment in segments_of(cut) if segment.kind is Kind.SCAFFOLD) == scaffold


def test_data_that_spells_a_prompt_is_not_held_by_it():
    told = (Segment("<a>", Kind.SCAFFOLD, 0), Segment("<think>", Kind.ANSWER, 0, literal=False))
    assert list(seamed(told, "<a><think>")) == list(told)
