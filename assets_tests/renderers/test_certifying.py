"""What is said of a template is so: of official ones what is known, and every conversation shows its answer."""

import pytest

from renderers.certifying.card import certify
from renderers.certifying.questions import QUESTIONS
from renderers.errors import TemplateError
from renderers.segments import Verdict
from renderers.tracing.witness import TracedTemplate

TOLD = "told"
DROPPED = "dropped"
THOUGHT_DROPPED = {
    "reasoning of the last message": DROPPED,
    "reasoning before a later user message": DROPPED,
    "reasoning between tool calls": DROPPED,
}
KNOWN = {
    "qwen3": {
        "history is only added to": "no: message 1: turn rewritten by what follows",
        "stop": "<|im_end|>",
        "system message": "a turn of its own",
        "developer message": DROPPED,
        "content in parts": DROPPED,
        "reasoning of the last message": TOLD,
        "reasoning before a later user message": DROPPED,
        "reasoning between tool calls": TOLD,
        "a thought written in the content": "told as 'hmyes'",
        "tools": "told first",
        "tool arguments": "text, as it is",
        "prints the date": "no",
    },
    "llama-3.1": {
        **THOUGHT_DROPPED,
        "prints the date": "no",  # its date is fixed; Llama 3.2 asks for that of the day
        "parallel tool calls": "refused: llama-3.1: This model only supports single tool-calls at once!",
        "content beside tool calls": DROPPED,
        "tool arguments": "an object",
        "history is only added to": "yes",
        "blanks around an answer": "told as 'yes'",
    },
    "gpt-oss": {"prints the date": "yes", "tool calls": TOLD, "parallel tool calls": "all but the first dropped"},
    "gemma-3": {
        "system message": "told in the user's turn",
        "tools": DROPPED,
        "tool calls": DROPPED,
        "two user messages in a row": "refused: gemma-3: Conversation roles must alternate "
        "user/assistant/user/assistant/...",
    },
    "glm-4.5": {"stop": "not always: message 1 has none", "reasoning before a later user message": DROPPED},
}
"""What is known of a family; of each the other answers are not asked."""


@pytest.fixture
def every_family(official) -> list[str]:
    return sorted(folder.name for folder in official("qwen3").parent.iterdir())


@pytest.mark.parametrize("family", KNOWN)
def test_what_is_known_of_a_family_is_found_and_shown(family, official_template):
    template = official_template(family)
    card = {finding.question: finding for finding in certify(template)}
    assert list(card) == [question.name for question in QUESTIONS]
    assert {question: card[question].answer for question in KNOWN[family]} == KNOWN[family]
    for finding in card.values():
        assert len(finding.shown.messages) <= 4
        if finding.answer.startswith("refused"):
            with pytest.raises(TemplateError) as refusal:
                template.tell(finding.shown)
            assert finding.answer == f"refused: {refusal.value}"
            continue
        stream = template.tell(finding.shown)
        assert stream.lost or finding.answer != DROPPED
        assert any(proof.verdict is not Verdict.PROVED for proof in stream.proofs) or not finding.answer.startswith(
            "no:"
        )


def test_every_official_template_has_a_card(official_template, every_family, examples):
    """Some seconds each: all of them are asked where more than the usual examples are."""
    for family in every_family if examples > 25 else every_family[:1]:
        assert len(list(certify(official_template(family)))) == len(QUESTIONS)


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def answers(source: str) -> dict[str, str]:
    template = TracedTemplate(source, added={"<|im_start|>": True, "<|im_end|>": True}, name="mine")
    return {finding.question: finding.answer for finding in certify(template)}


def test_a_template_of_one_line_is_certified():
    told = answers(CHATML)
    assert told["history is only added to"] == "yes"
    assert told["{% generation %} marks"] == "no"
    assert told["late system message"] == "told where it stands"
    assert told["tools"] == told["tool calls"] == DROPPED


def test_generation_marks_are_seen():
    assert (
        answers(CHATML.replace("{{ m.content }}", "{% generation %}{{ m.content }}{% endgeneration %}"))[
            "{% generation %} marks"
        ]
        == "yes"
    )


def test_a_template_that_refuses_everything_is_certified_to_do_so():
    told = answers("{{ raise_exception('never') }}")
    assert set(told.values()) == {"refused: mine: never"}
