"""What is learned: the sampled kinds that the policy wants, of turns that are proved, and nothing else."""

import numpy as np
import pytest

from renderers.masking import (
    IGNORED,
    POLICIES,
    ROLES,
    LossPolicy,
    RunColumns,
    labels,
    loss_mask,
    loss_weights,
    run_mask,
    trained_runs,
)
from renderers.rendered import Rendered, encode
from renderers.segments import SAMPLED, Kind, Proof, Segment, Stream, Verdict


def turn(message: int) -> tuple[Segment, ...]:
    """A user message and the assistant's answer to it, with all that an assistant writes."""
    asked, answered = message, message + 1
    return (
        Segment("<|im_start|>user\n", message=asked),
        Segment(f"ask {asked}", Kind.USER, asked, literal=False),
        Segment("<|im_end|>\n<|im_start|>assistant\n", message=answered),
        Segment("<think>", Kind.REASONING, answered),
        Segment("hm", Kind.REASONING, answered, literal=False),
        Segment("</think>", Kind.REASONING, answered),
        Segment("so", Kind.ANSWER, answered, literal=False),
        Segment("<tool_call>", Kind.TOOL_CALL, answered),
        Segment("{}", Kind.TOOL_CALL, answered, literal=False),
        Segment("<|im_end|>", Kind.STOP, answered),
        Segment("\n", message=answered),
    )


def told(*proofs: Proof, lost=()) -> Stream:
    return Stream((*turn(0), *turn(2)), proofs or (Proof(1, Verdict.PROVED), Proof(3, Verdict.PROVED)), lost, asked=2)


@pytest.fixture
def render(tiny):
    return lambda stream: encode([stream], tiny)[0]


def trained(rendered: Rendered, policy: str | LossPolicy) -> set[tuple[Kind, int | None]]:
    mask = loss_mask(rendered, POLICIES[policy] if isinstance(policy, str) else policy)
    owners = (rendered.segments[k] for k in rendered.owners[mask])
    return {(segment.kind, segment.message) for segment in owners}


WRITTEN = {
    "assistant": {*SAMPLED},
    "answers": {Kind.ANSWER, Kind.STOP},
    "no_reasoning": {Kind.ANSWER, Kind.TOOL_CALL, Kind.STOP},
    "tool_calls": {Kind.TOOL_CALL, Kind.STOP},
}


@pytest.mark.parametrize("policy", WRITTEN)
def test_a_policy_trains_its_kinds_of_every_turn(render, policy):
    assert trained(render(told()), policy) == {(kind, message) for kind in WRITTEN[policy] for message in (1, 3)}


def test_last_turn_trains_what_follows_the_last_user_message(render):
    assert trained(render(told()), "last_turn") == {(kind, 3) for kind in SAMPLED}


def test_a_tool_result_begins_no_turn(render):
    result = Segment("42", Kind.TOOL_RESULT, 4, literal=False)
    more = (Segment("done", Kind.ANSWER, 5, literal=False), Segment("<|im_end|>", Kind.STOP, 5))
    proofs = tuple(Proof(m, Verdict.PROVED) for m in (1, 3, 5))
    rendered = render(told(*proofs).but(told=(*told().segments, result, *more)))
    assert {message for _, message in trained(rendered, "last_turn")} == {3, 5}


def test_without_a_user_message_everything_is_the_last_turn(render):
    said = (Segment("hi", Kind.ANSWER, 0, literal=False), Segment("<|im_end|>", Kind.STOP, 0))
    rendered = render(Stream(said, (Proof(0, Verdict.PROVED),)))
    assert trained(rendered, "last_turn") == {(Kind.ANSWER, 0), (Kind.STOP, 0)}


def test_a_turn_that_has_no_stop_is_not_trained(render):
    rendered = render(Stream((Segment("hi", Kind.ANSWER, 0, literal=False),), (Proof(0, Verdict.PROVED),)))
    assert not trained(rendered, "assistant")


@pytest.mark.parametrize("verdict", sorted(set(Verdict) - {Verdict.PROVED, Verdict.TRUSTED}))
@pytest.mark.parametrize("policy", POLICIES)
def test_an_unproved_turn_is_never_trained(render, policy, verdict):
    rendered = render(told(Proof(1, Verdict.PROVED), Proof(3, verdict)))
    assert 3 not in {message for _, message in trained(rendered, policy)}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_turn_that_lost_a_field_is_never_trained(render, policy):
    rendered = render(told(lost=(("messages", 3, "reasoning"),)))
    assert 3 not in {message for _, message in trained(rendered, policy)}


def test_a_trusted_turn_is_trained_whatever_it_lost(render):
    rendered = render(told(Proof(1, Verdict.TRUSTED, "why"), lost=(("messages", 1, "content"),)))
    assert trained(rendered, "assistant") == {(kind, 1) for kind in SAMPLED}


def test_a_turn_that_nobody_judged_is_never_trained(render):
    assert not loss_mask(render(Stream(told().segments)), POLICIES["assistant"]).any()


def test_every_stop_is_trained_and_no_scaffold(render, tiny):
    rendered = render(told())
    mask = loss_mask(rendered, POLICIES["assistant"])
    kinds = np.array([rendered.segments[k].kind for k in rendered.owners])
    assert mask[kinds == Kind.STOP].tolist() == [True, True]
    assert not mask[kinds == Kind.SCAFFOLD].any()


def test_labels_are_ids_where_learned_and_ignored_elsewhere(render):
    rendered = render(told())
    mask, found = loss_mask(rendered, POLICIES["answers"]), labels(rendered, POLICIES["answers"])
    assert found.dtype == np.int32
    assert found[mask].tolist() == rendered.ids[mask].tolist()
    assert set(found[~mask].tolist()) == {IGNORED}


def test_a_stored_row_is_masked_as_its_stream_is(render):
    rendered = render(told())
    columns = RunColumns(
        starts=[span.start for span in rendered.spans()],
        kinds=[str(span.kind) for span in rendered.spans()],  # pyright: ignore[reportArgumentType]
        messages=[-1 if span.message is None else span.message for span in rendered.spans()],
        trainable=(1, 3),
        length=len(rendered.ids),
        asked=2,
    )
    for policy in POLICIES.values():
        assert run_mask(columns, policy).tolist() == loss_mask(rendered, policy).tolist()


def test_an_empty_row_has_an_empty_mask():
    nothing = RunColumns(starts=[], kinds=[], messages=[], trainable=(), length=0)
    assert run_mask(nothing, POLICIES["last_turn"]).shape == (0,)
    assert trained_runs(nothing, POLICIES["assistant"]) == []


def test_text_of_no_message_is_never_trained():
    columns = RunColumns(starts=[0], kinds=[Kind.ANSWER], messages=[-1], trainable=(0,), length=3)
    assert not run_mask(columns, POLICIES["assistant"]).any()


def test_a_target_may_have_its_own_kinds_and_turns():
    policy = POLICIES["assistant"].but(kinds=(Kind.ANSWER,), last_turn_only=True)
    assert policy == LossPolicy("assistant", frozenset({Kind.ANSWER}), last_turn_only=True)
    assert POLICIES["last_turn"].but() == POLICIES["last_turn"]
    assert POLICIES["last_turn"].but(last_turn_only=False).last_turn_only is False


@pytest.mark.parametrize("kind", [Kind.SCAFFOLD, Kind.TOOLS])
def test_what_nobody_says_can_be_no_target(kind):
    with pytest.raises(ValueError, match=f"{kind} is nobody's words"):
        POLICIES["assistant"].but(kinds={kind, Kind.ANSWER})


def test_what_others_say_is_trained_where_the_policy_names_it(render):
    mine = LossPolicy("mine", ROLES["user"] | ROLES["assistant"])
    assert mine.told == {Kind.USER}
    assert trained(render(told(Proof(3, Verdict.PROVED))), mine) == {
        (Kind.USER, 0),
        (Kind.USER, 2),
        *((kind, 3) for kind in SAMPLED),
    }
    assert not any(policy.told for policy in POLICIES.values())


@pytest.mark.parametrize("policy", POLICIES)
def test_a_message_that_weighs_nothing_is_never_trained(render, policy):
    rendered = render(told().but(weights={3: 0.0}))
    assert 3 not in {message for _, message in trained(rendered, policy)}


def test_a_weight_scales_what_the_policy_trains_and_adds_nothing(render):
    rendered = render(told(Proof(1, Verdict.PROVED)).but(weights={0: 2.0, 1: 0.25, 3: 2.0}))
    weights, mask = loss_weights(rendered, POLICIES["assistant"]), loss_mask(rendered, POLICIES["assistant"])
    assert (weights.dtype, set(weights.tolist())) == (np.float32, {0.0, 0.25})
    assert np.array_equal(mask, weights > 0)
    assert {rendered.segments[k].message for k in rendered.owners[mask]} == {1}


def test_policies_are_called_by_their_names():
    assert [policy.name for policy in POLICIES.values()] == list(POLICIES)
