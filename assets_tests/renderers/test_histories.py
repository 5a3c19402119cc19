"""Rows of a conversation: each turn that can be proved is learned once, in the context that inference saw."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import date

import numpy as np
import pytest

from renderers import (
    FAMILIES,
    POLICIES,
    Kind,
    Message,
    Proof,
    Renderer,
    Request,
    Stream,
    TemplateError,
    ToolCall,
    UnknownFlag,
    Verdict,
    create_renderer,
    from_hub,
    loss_mask,
)
from renderers.histories import last, split, trust
from renderers.rendered import encode
from renderers.tracing.witness import TracedTemplate

CALL = ToolCall("f", "{}", "call00001")
NOW = date(2025, 7, 1)
STEP = (Message("assistant", "", reasoning="r", tool_calls=(CALL,)), Message("tool", "t", tool_call_id="call00001"))


def chat(turns: int) -> tuple[Message, ...]:
    return tuple(
        m for k in range(turns) for m in (Message("user", f"q{k}"), Message("assistant", f"a{k}", reasoning=f"r{k}"))
    )


AGENT = (Message("user", "a"), *STEP * 2, Message("assistant", "b"), *chat(2))


def rows(name: str, messages: tuple[Message, ...], history=split, *, generating=False, **flags) -> list[Stream]:
    dated = {"today": NOW} if "today" in FAMILIES[name].flags else {}
    return history(FAMILIES[name].tell, Request(messages, flags={**dated, **flags}, generating=generating))


def verdicts(stream: Stream) -> list[Verdict]:
    return [proof.verdict for proof in stream.proofs]


def test_last_is_one_row_as_the_template_tells_it():
    (row,) = rows("qwen3", chat(3), last)
    assert row == FAMILIES["qwen3"].tell(Request(chat(3)))
    assert row.trainable == {5}


def test_a_chat_whose_thoughts_are_dropped_is_a_row_a_turn():
    whole, second, first = rows("qwen3", chat(3))
    assert [row.trainable for row in (whole, second, first)] == [{5}, {3}, {1}]
    assert verdicts(whole) == [Verdict.SPLIT, Verdict.SPLIT, Verdict.PROVED]
    assert whole.proofs[0].note == "trained in the row that ends with message 1"
    assert second.text.endswith("<think>\nr1\n</think>\n\na1<|im_end|>\n")
    assert "r0" not in second.text


def test_turns_whose_context_holds_share_a_row():
    agent = (Message("user", "a"), *STEP * 20, Message("assistant", "b", reasoning="r"))
    (row,) = rows("qwen3", agent)
    assert len(row.trainable) == 21
    two, one = rows("qwen3", (*agent, Message("user", "c"), *STEP * 2, Message("assistant", "d", reasoning="r")))
    assert (len(two.trainable), one.trainable) == (3, row.trainable)


def test_a_template_that_keeps_all_needs_one_row():
    (row,) = rows("qwen2.5", tuple(m.but(reasoning=None) for m in chat(4)))
    assert row.trainable == {1, 3, 5, 7}


def test_no_turn_is_learned_twice_though_two_rows_prove_it():
    plain = (Message("user", "q"), Message("assistant", "a"))
    told = rows("glm-4.5", (*plain, *chat(2), *plain))
    assert sum((Counter(row.trainable) for row in told), Counter()) == Counter([1, 3, 5, 7])
    assert [row.trainable for row in told] == [{1, 7}, {5}, {3}]
    assert verdicts(told[1]) == [Verdict.SPLIT, Verdict.SPLIT, Verdict.PROVED]


def test_a_turn_that_no_row_proves_is_refused_as_it_is_even_when_last():
    """MiniMax M2 always prompts a thought: an answer without one is no answer to its prompt, in whatever context."""
    agent = (Message("user", "a"), *STEP, Message("assistant", "b"))
    (whole,) = rows("minimax-m2", (*agent, *chat(1)), last)
    told = rows("minimax-m2", (*agent, *chat(1)))
    assert [row.trainable for row in told] == [{5}, {1}]
    assert [row.proofs[1].verdict for row in (whole, told[0])] == [Verdict.HISTORY_REWRITTEN, Verdict.PROMPT_ABSENT]
    assert told[0].proofs[1] == rows("minimax-m2", agent, last)[0].proofs[1]


@pytest.mark.parametrize(("name", "flags"), [("gpt-oss", {}), ("kimi-k2-thinking", {"number_calls": True})])
def test_a_turn_stands_behind_its_prompt_where_telling_it_rewrites_the_history(name, flags):
    """An answer takes the thoughts of the steps before it away; inference had them."""
    agent = (Message("user", "a"), *STEP * 2, Message("assistant", "b"))
    (rewritten,) = rows(name, agent, last, **flags)
    assert rewritten.proofs[-1].verdict is Verdict.HISTORY_REWRITTEN
    _, row = rows(name, agent, **flags)
    (prompt,) = rows(name, agent[:5], last, **flags, generating=True)
    assert row.segments[: len(prompt.segments)] == prompt.segments
    assert (row.trainable, rewritten.trainable) == ({1, 3, 5}, set())
    assert row.segments[-1].message == 5


def test_a_message_that_weighs_nothing_gets_no_row():
    quiet = tuple(m.but(weight=0.0) if m.content == "a0" else m for m in chat(3))
    whole, other = rows("qwen3", quiet)
    assert (whole.trainable, other.trainable) == ({5}, {3})
    assert verdicts(whole) == [Verdict.TURN_REWRITTEN, Verdict.SPLIT, Verdict.PROVED]


def test_the_last_turn_of_a_split_conversation_is_that_of_the_whole(example):
    renderer = create_renderer(example, "qwen3")
    told = encode(renderer.streams(Request(chat(3)), "split"), example)
    assert [bool(loss_mask(row, POLICIES["last_turn"]).any()) for row in told] == [True, False, False]
    assert all(loss_mask(row, POLICIES["assistant"]).any() for row in told)


def test_what_is_trusted_is_learned_and_flagged():
    (row,) = rows("qwen3", chat(2), trust)
    assert row.trainable == {1, 3}
    first, second = row.proofs
    assert (first.verdict, second.verdict) == (Verdict.TRUSTED, Verdict.PROVED)
    assert first.note == "turn rewritten by what follows: it reads differently as the last message"


def test_a_proved_turn_that_lost_a_field_is_trusted_with_the_field_named():
    lossy = (Message("user", "a"), Message("assistant", "b", reasoning="r"))
    (row,) = rows("qwen2.5", lossy, trust)
    assert (row.proofs[0].verdict, row.proofs[0].note) == (
        Verdict.TRUSTED,
        "not told: messages/1/reasoning_content",
    )


OTHERWISE = {
    "deepseek-r1": "its own template is not in the reference",
    "deepseek-v3.2": "the family tells what DeepSeek's encoder does, the template something else",
    "gpt-oss": "traced, an answer in history is trusted to end as it does there",
    "kimi-k2.6": "declared, a switch proves more",
}


@pytest.fixture
def other_witness(traced, vocabulary) -> Callable[[str], TracedTemplate]:
    """family -> its official template, traced, and told which tokens are control tokens."""

    def made(name: str) -> TracedTemplate:
        template, known = traced(name), vocabulary(name)
        added = {token: token in known.special for token in known.added}
        return TracedTemplate(template.source, special_tokens=template.special_tokens, added=added, today=NOW)

    return made


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - OTHERWISE.keys()))
@pytest.mark.parametrize("messages", [chat(3), AGENT], ids=["chat", "agent"])
def test_both_witnesses_split_alike(name, messages, other_witness):
    try:
        one, other = rows(name, messages), split(other_witness(name).tell, Request(messages))
    except TemplateError:
        assert name == "gemma-3"  # it has no tools
        return
    assert [(row.text, row.trainable) for row in one] == [(row.text, row.trainable) for row in other]


@pytest.mark.parametrize(("end", "stop"), [(Message("assistant", "b"), "<|user|>"), (STEP[0], "<|observation|>")])
@pytest.mark.parametrize("witness", ["declared", "traced"])
def test_a_last_turn_that_ends_with_the_next_marker_gets_the_one_the_model_would_sample(
    witness, end, stop, other_witness
):
    tell = (other_witness("glm-4.5") if witness == "traced" else FAMILIES["glm-4.5"]).tell
    asked = Request((Message("user", "a"), end))
    (row,) = last(tell, asked)
    assert row.text == tell(asked).text + stop
    assert (tell(asked).trainable, row.trainable) == (frozenset(), {1})
    assert row.segments[-1].kind is Kind.STOP


@pytest.fixture(params=FAMILIES)
def renderer(request, vocabulary) -> Renderer:
    return create_renderer(vocabulary(request.param), request.param, today=NOW)


def learned(renderer: Renderer, asked: Request) -> set[int]:
    """Turns that the split rows teach. Each once, and exactly: the ids before it are those of its prompt, all that it
    writes is learned, its stop too, and nothing else is."""
    told = encode(renderer.streams(asked, "split"), renderer.tokenizer)
    turns = Counter(turn for row in told for turn in row.stream.trainable)
    assert set(turns.values()) <= {1}
    for row in told:
        written = np.isin([row.segments[owner].message for owner in row.owners], list(row.stream.trainable))
        written &= np.array([row.segments[owner].kind.sampled for owner in row.owners])
        assert np.array_equal(loss_mask(row, POLICIES["assistant"]), written)
        for proof in (proof for proof in row.stream.proofs if proof.message in row.stream.trainable):
            spans = [span for span in row.spans() if span.message == proof.message and span.kind.sampled]
            prompt = prompted(renderer, asked, proof)
            assert (spans[0].start, spans[-1].kind) == (len(prompt), Kind.STOP)
            if not proof.note:  # with a switch flipped, seams before it differ
                assert np.array_equal(row.ids[: len(prompt)], prompt)
    return set(turns)


def prompted(renderer: Renderer, asked: Request, proof: Proof) -> np.ndarray:
    """What inference is given before a turn, served with the switch that its proof notes."""
    switched = {name: value == "True" for name, value in (note.split("=") for note in proof.note.split(", ") if note)}
    before = asked.but(messages=asked.messages[: proof.message], flags=switched, generating=True)
    return renderer.render_batch([before])[0].ids


@pytest.mark.parametrize("messages", [chat(4), AGENT], ids=["chat", "agent"])
def test_what_is_learned_is_what_inference_sees_and_the_model_writes(renderer, messages):
    try:
        assert learned(renderer, Request(messages)) >= renderer.stream(Request(messages)).trainable
    except TemplateError:
        assert renderer.name == "gemma-3"  # it has no tools


def test_what_is_learned_of_the_goldens_is_exact(renderer, shared, examples):
    asked = json.loads((shared / "goldens" / "conversations.json").read_text(encoding="utf-8"))
    turns = 0
    for one in list(asked.values())[-examples:]:
        with suppress(TemplateError):
            turns += len(learned(renderer, Request(from_hub(one["messages"]), tuple(one["tools"] or ()))))
    assert turns > 0


def test_a_history_that_there_is_not_is_refused(example):
    with pytest.raises(UnknownFlag, match="takes last, split, keep, trust"):
        create_renderer(example, "qwen3").streams(Request(chat(1)), "all")


def test_the_recipient_of_a_call_is_the_models_own_words(vocabulary):
    """Harmony: `to=functions.f` stands in the header of the message, behind what the prompt holds."""
    tokenizer = vocabulary("gpt-oss")
    renderer = create_renderer(tokenizer, "gpt-oss", today=NOW)
    (row,) = encode(renderer.streams(Request((Message("user", "a"), STEP[0]))), tokenizer)
    learned = tokenizer.decode(row.ids[loss_mask(row, POLICIES["tool_calls"])].tolist())
    assert learned == " to=functions.f<|channel|>commentary json<|message|>{}<|call|>"
    whole = tokenizer.decode(row.ids[loss_mask(row, POLICIES["assistant"])].tolist())
    assert whole == f"<|channel|>analysis<|message|>r<|end|><|start|>assistant{learned}"
