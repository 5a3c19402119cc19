"""What is trained: never what was told, always with its stop, only in proved turns, never nothing."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from pipeline.auditing.case import KINDS, Case, Remark
from pipeline.auditing.empty_target import empty_target
from pipeline.auditing.lost import lost
from pipeline.auditing.prefix import prefix
from pipeline.auditing.stops import stops
from pipeline.auditing.told_trained import told_trained
from pipeline.records import Conversation, Stretch
from pipeline.targets import Target
from renderers.masking import IGNORED
from renderers.segments import Kind, Segment, Verdict

Make = Callable[..., Case]
Tell = Callable[[Conversation], list[Segment]]


def relabelled(make: Make, where: Callable[[Case], np.ndarray], *, learn: bool) -> Case:
    """An honest case whose labels are set or cleared where the mask says."""
    honest = make()
    labels = np.where(where(honest), honest.rendered.input_ids if learn else IGNORED, honest.masked.labels)
    return make(masked_row={"labels": labels.astype(np.int32)})


def of_kind(kind: Kind) -> Callable[[Case], np.ndarray]:
    return lambda case: case.kinds == KINDS.index(kind)


def details(remarks: Iterable[Remark], severity: str) -> list[tuple[str, int]]:
    return [(remark.detail, remark.message) for remark in remarks if remark.severity == severity]


@pytest.mark.parametrize("kind", [Kind.SCAFFOLD, Kind.TOOLS, Kind.SYSTEM, Kind.USER, Kind.TOOL_RESULT])
def test_trained_tokens_of_every_told_kind_are_found(case: Make, kind: Kind):
    found = details(told_trained(relabelled(case, of_kind(kind), learn=True)), "error")
    assert any(f"{kind} is told" in detail for detail, _ in found)


def test_a_told_text_that_calls_itself_an_answer_is_read_anyway(case: Make, conversation: Conversation, segments: Tell):
    lying = [
        Segment(s.text, Kind.ANSWER, 4, literal=s.literal) if s.kind is Kind.TOOL_RESULT else s
        for s in segments(conversation)
    ]
    found = details(told_trained(case(segments=lying)), "error")
    assert found == [("trained text holds what message 3 (tool) says: '1 failed: test_parse expected 3 but got 4'", 4)]


def test_trained_tokens_of_a_user_message_are_found_whatever_their_kind(
    case: Make, conversation: Conversation, segments: Tell
):
    lying = [
        Segment(s.text, Kind.ANSWER, s.message, literal=s.literal) if s.kind is Kind.USER else s
        for s in segments(conversation)
    ]
    found = details(told_trained(case(segments=lying, trainable=(1, 2, 4))), "error")
    assert found == [("trained tokens belong to user", 1)]


def test_an_answer_that_quotes_the_question_is_its_own(case: Make, conversation: Conversation):
    question = conversation.messages[1].content
    quoting = conversation.messages[4].but(content=f"You said: {question} I did.")
    said = msgspec.structs.replace(conversation, messages=(*conversation.messages[:4], quoting))
    assert list(told_trained(case(said))) == []


def test_json_from_the_question_spaced_anew_in_a_call_is_its_own(
    case: Make, conversation: Conversation, segments: Tell
):
    system, asked, called, *rest = conversation.messages
    spaced, dense = '{"folder": "tests/unit", "verbose": true}', '{"folder":"tests/unit","verbose":true}'
    call = msgspec.structs.replace(called.tool_calls[0], arguments=dense)
    messages = (system, asked.but(content=spaced), called.but(tool_calls=(call,)), *rest)
    said = msgspec.structs.replace(conversation, messages=messages)
    told = [Segment(s.text.replace(dense, spaced), s.kind, s.message, literal=s.literal) for s in segments(said)]
    assert list(told_trained(case(said, segments=told))) == []


def test_trained_prose_that_nobody_said_is_told(case: Make, conversation: Conversation, segments: Tell):
    inventing = [
        Segment(s.text + "\nAs an assistant I", s.kind, s.message, literal=s.literal)
        if s.text.startswith("It passes")
        else s
        for s in segments(conversation)
    ]
    ((detail, message),) = details(told_trained(case(segments=inventing)), "warning")
    assert "nobody said it: 'As an assistant I'" in detail
    assert message == 4


def test_a_stop_that_is_not_trained_is_found(case: Make):
    found = details(stops(relabelled(case, of_kind(Kind.STOP), learn=False)), "error")
    assert [message for _, message in found] == [2, 4]
    assert all("'<|im_end|>' is not trained" in detail for detail, _ in found)


def test_a_trained_turn_without_a_stop_is_found(case: Make, conversation: Conversation, segments: Tell):
    open_ended = [s for s in segments(conversation) if not (s.kind is Kind.STOP and s.message == 2)]
    assert details(stops(case(segments=open_ended)), "error") == [("this trained turn has no stop", 2)]


def test_trained_text_after_the_stop_is_found(case: Make, conversation: Conversation, segments: Tell):
    running_on = []
    for s in segments(conversation):
        running_on += [s, Segment("Next, I", Kind.ANSWER, s.message, literal=False)] if s.kind is Kind.STOP else [s]
    found = details(stops(case(segments=running_on)), "error")
    assert len(found) == 2
    assert all("goes on after the stop" in detail for detail, _ in found)


def test_a_stop_that_data_can_spell_is_worth_knowing(case: Make, conversation: Conversation, segments: Tell):
    plain = [Segment("END", s.kind, s.message) if s.kind is Kind.STOP else s for s in segments(conversation)]
    assert [message for _, message in details(stops(case(segments=plain)), "warning")] == [2, 4]


def test_a_turn_that_the_limit_cut_is_worth_knowing(case: Make):
    masked = case().masked
    keep = len(masked.labels) - 10
    cut = {name: getattr(masked, name)[:keep] for name in ("input_ids", "labels", "attention_mask")}
    ((detail, message),) = details(stops(case(masked_row={**cut, "cut": 10, "parts": (Stretch(0, keep),)})), "warning")
    assert "the length limit cut this turn" in detail
    assert message == 4


def test_a_policy_without_stops_is_worth_knowing(case: Make):
    target = Target(model="example", train_on=(Kind.ANSWER,))
    assert [remark.severity for remark in stops(case(target=target))] == ["warning"]


@pytest.mark.parametrize("policy", ["assistant", "answers", "no_reasoning", "tool_calls", "last_turn"])
def test_every_policy_passes(case: Make, policy: str):
    honest = case(target=Target(model="example", policy=policy))
    assert [*stops(honest), *told_trained(honest), *empty_target(honest)] == []


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.PROVED])
def test_a_trained_turn_that_is_not_proved_is_found(case: Make, verdict: Verdict):
    found = details(prefix(case(verdicts={2: verdict}, trainable=(2, 4))), "error")
    assert found == [(f"this turn is trained and not proved: {verdict}", 2)]


def test_a_proved_turn_that_is_not_trainable_and_trained_is_found(case: Make):
    labels = case().masked.labels
    found = details(prefix(case(trainable=(4,), masked_row={"labels": labels})), "error")
    assert found == [("this turn is trained, but the renderer does not call it trainable", 2)]


def test_a_turn_without_a_verdict_is_found(case: Make):
    found = details(prefix(case(rendered={"proofs": case().rendered.proofs[1:]})), "error")
    assert found == [
        ("1 verdicts for 2 assistant messages", -1),
        ("this turn is trained and not proved: no verdict", 2),
    ]


def test_a_turn_that_two_rows_train_is_found(case: Make):
    again = replace(case(), taught=frozenset({2}))
    assert details(prefix(again), "error") == [
        ("this turn is trained twice: an earlier row of the conversation trains it, too", 2)
    ]


def test_what_is_trusted_is_worth_knowing_where_the_target_trusts(case: Make, conversation: Conversation):
    note, trusting = "not told: messages/2/reasoning_content", Target(model="example", history="trust")
    proofs = tuple(msgspec.structs.replace(p, verdict="trusted", note=note) for p in case().rendered.proofs[:1])
    rendered = {"proofs": (*proofs, *case().rendered.proofs[1:]), "lost": ("messages/2/reasoning_content",)}
    trusted = case(rendered=rendered, target=trusting)
    assert [*stops(trusted), *told_trained(trusted), *details(lost(trusted), "error")] == []
    assert list(prefix(trusted)) == [Remark("warning", f"1 turn trained on trust, not proved ({note})", 2)]
    assert details(prefix(case(rendered=rendered)), "error") == [("this turn is trained and not proved: trusted", 2)]


def test_the_words_of_others_are_worth_knowing_where_the_target_asks_for_them(case: Make):
    asked = case(target=Target.model_validate({"model": "example", "train_on": ["user", "assistant"]}))
    (told,) = told_trained(asked)
    assert (told.severity, "words of others: user, as the target asks" in told.detail) == ("warning", True)
    assert [*prefix(asked), *stops(asked), *empty_target(asked)] == []


def test_turns_that_are_not_trained_are_told_with_their_verdict(case: Make):
    found = details(prefix(case(verdicts={2: "history rewritten", 4: "history rewritten"}, trained=False)), "warning")
    assert found == [("2 turns not proved, so not trained (history rewritten)", 2)]


def test_a_row_that_teaches_nothing_is_found(case: Make):
    assert [r.severity for r in empty_target(case(trainable=()))] == ["error"]
    assert list(empty_target(case(trained=False))) == []
