"""Three fixes of the past, replayed: what the diff says of each, over the example's conversations."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import pytest

from pipeline.comparing.causes import ENOUGH, MOST, Diff, compare
from pipeline.comparing.changes import Side
from pipeline.comparing.sides import pairs
from pipeline.loading import load_tokenizer
from pipeline.masking import mask
from pipeline.records import Conversation, MaskedRow, RenderedRow, RowSpan
from pipeline.rendering import render
from pipeline.resources.store import Store
from pipeline.targets import Target
from renderers.registry import create_renderer
from renderers.renderer import Family, Renderer
from renderers.segments import SAMPLED, Kind
from renderers.template import Assistant

TARGET = Target(model="example")
Repair = Callable[[RenderedRow], RenderedRow]


@pytest.fixture
def said(store: Store) -> list[Conversation]:
    return [row for batch in store.batches("conversations") for row in store.read("conversations", batch, Conversation)]


def renderer(name: str) -> Renderer:
    return create_renderer(load_tokenizer(TARGET), name)


def broken(name: str, **assistant: object) -> Renderer:
    """The family as it was, its assistant told otherwise."""
    made = renderer(name)
    assert isinstance(made.witness, Family)
    template = made.witness.template
    was: Assistant = replace(template.assistant, **assistant)
    return replace(made, witness=replace(made.witness, template=replace(template, assistant=was)))


def sides(said: list[Conversation], made: Renderer, spoil: Repair = lambda row: row) -> Iterator[Side]:
    for row in render(said, made):
        if isinstance(row, RenderedRow):
            masked = [one for one in mask([spoil(row)], TARGET) if isinstance(one, MaskedRow)]
            yield Side(spoil(row), masked)


def difference(said: list[Conversation], was: Renderer, now: Renderer, spoil: Repair = lambda row: row) -> Diff:
    found = compare(pairs(sides(said, was, spoil), sides(said, now)), now.tokenizer)
    assert len(found.causes) <= MOST
    assert found.covered >= ENOUGH
    assert found.unchanged + found.changed == len(list(sides(said, now)))
    for cause in found.causes:
        assert cause.example
        shown = [piece for side in (cause.example.was, cause.example.now) for piece in side]
        assert any(piece.changed for piece in shown)
    return found


def test_a_stop_of_glm_that_was_not_trained(said: list[Conversation]):
    now = renderer("glm-4.5")
    found = difference(said, broken("glm-4.5", lent=()), now)
    assert (found.changed, found.unchanged, found.tokens_removed) == (27, 0, 0)
    trained = sum(int(side.trained[a:b].sum()) for side in sides(said, now) for a, b in stops(side.row))
    stood = found.flips["stop now trained"]
    assert 300 < stood < trained <= stood + found.tokens_added, "those that stood there, and most rows' last"
    names = [cause.name for cause in found.causes]
    assert any(name.startswith("scaffold → stop now trained: '<|observation|>") for name in names), names
    assert "stop added: '<|user|>'" in names


def stops(row: RenderedRow) -> Iterator[tuple[int, int]]:
    ends = [*(span.start for span in row.spans[1:]), len(row.input_ids)]
    return ((span.start, end) for span, end in zip(row.spans, ends, strict=True) if span.kind is Kind.STOP)


def test_a_role_opener_that_was_trained(said: list[Conversation]):
    def opener_is_the_models(row: RenderedRow) -> RenderedRow:
        spans = list(row.spans)
        for n, (span, after) in enumerate(zip(row.spans, row.spans[1:], strict=False)):
            opens = span.kind is Kind.SCAFFOLD and after.kind in SAMPLED and row.spans[n - 1].kind not in SAMPLED
            if opens and after.message in row.trainable:
                spans[n] = RowSpan(span.start, Kind.ANSWER, after.message)
        return msgspec.structs.replace(row, spans=tuple(spans))

    now = renderer("qwen3-coder")
    found = difference(said, now, now, opener_is_the_models)
    assert (found.tokens_added, found.tokens_removed) == (0, 0)
    assert list(found.flips) == ["scaffold no longer trained"]
    first = found.causes[0]
    assert first.name.startswith("answer → scaffold no longer trained: ")
    assert "<|im_start|>assistant" in first.name
    assert first.rows == found.changed


def test_the_rule_of_qwen3_5_by_which_every_message_after_the_last_query_has_a_thought(said: list[Conversation]):
    found = difference(said, broken("qwen3.5", thinks=lambda turn: turn.last), renderer("qwen3.5"))
    assert (found.changed, found.unchanged, found.tokens_removed) == (11, 3, 0)
    first = found.causes[0]
    assert (first.name, first.rows) == ("scaffold and reasoning added", 11)
    assert first.tokens == found.tokens_added
    assert "tool_call now trained" in {cause.name for cause in found.causes}, "a proof that the missing block broke"
