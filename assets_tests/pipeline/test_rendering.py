"""Conversations become rows or rejects, one by one."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import msgspec
import pytest

from pipeline.loading import load_renderer, load_tokenizer
from pipeline.records import CUT, Conversation, Flaw, Reject, RenderedRow
from pipeline.rendering import AHEAD, AT_ONCE, render
from pipeline.targets import Target
from renderers.errors import TemplateError
from renderers.messages import Message, Part, Request, ToolCall
from renderers.registry import create_renderer
from renderers.renderer import Renderer
from renderers.segments import KIND_OF, Kind, Origin, Proof, Segment, Stream, Verdict

EXAMPLE_TARGET = Target(model="example")


@dataclass
class Scripted:
    """A witness that says what it is told to."""

    lost: tuple[Origin, ...] = ()
    name: str = "scripted"

    def tell(self, request: Request) -> Stream:
        segments = [Segment("<|im_start|>")]
        for index, message in enumerate(request.messages):
            if message.content == "refuse me":
                raise TemplateError(f"message {index}: no")
            kind = KIND_OF.get(message.role, Kind.ANSWER)
            segments.append(Segment(str(message.content), kind, index, False, ("messages", index, "content")))
            segments += [Segment("<|im_end|>", Kind.STOP, index)] if message.role == "assistant" else []
        asked = [k for k, message in enumerate(request.messages) if message.role == "assistant"]
        return Stream(tuple(segments), tuple(Proof(k, Verdict.PROVED) for k in asked), self.lost)


def conversation(name: str, *said: str, calls: tuple[ToolCall, ...] = (), system: str = "") -> Conversation:
    roles = ("user", "assistant") * len(said)
    messages = [Message(role, text) for role, text in zip(roles, said, strict=False)]
    messages += [Message("assistant", tool_calls=calls)] if calls else []
    told = ((Message("system", system),) if system else ()) + tuple(messages)
    return Conversation(id=name, trace_id="t", prompt_id="p", window=0, messages=told, format="pi")


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(Scripted(), load_tokenizer(EXAMPLE_TARGET))


def but(renderer: Renderer, *lost: Origin) -> Renderer:
    return Renderer(Scripted(lost), renderer.tokenizer)


def test_a_row_holds_ids_what_they_are_and_what_is_proved(renderer: Renderer):
    (row,) = render([conversation("c", "Hi", "Hello.")], renderer)
    assert isinstance(row, RenderedRow)
    assert renderer.tokenizer.decode(row.input_ids) == "<|im_start|>HiHello.<|im_end|>"
    spans = [(span.kind, span.message) for span in row.spans]
    assert spans == [("scaffold", -1), ("user", 0), ("answer", 1), ("stop", 1)]
    assert (row.proofs[0].message, row.proofs[0].verdict, row.trainable) == (1, "proved", (1,))
    assert (row.id, row.conversation_id) == ("c", "c")


def test_a_refused_conversation_leaves_and_its_neighbours_stay_in_order(renderer: Renderer):
    rows = list(
        render(
            [conversation("a", "x", "."), conversation("b", "refuse me", "."), conversation("c", "y", ".")], renderer
        )
    )
    assert [(row.id, type(row)) for row in rows] == [("a", RenderedRow), ("b", Reject), ("c", RenderedRow)]
    assert rows[1] == Reject(id="b", stage="rendered", reason="refused", detail="scripted: message 0: no")


def test_the_collector_of_cycles_looks_as_often_as_before_once_rows_are_made_or_not_wanted(renderer: Renderer):
    usual, told = gc.get_threshold(), [conversation(name, "x", "y") for name in "abc"]
    first, second = render(told, renderer), render(told, renderer)
    next(first)
    next(second)
    assert gc.get_threshold()[0] > usual[0]
    assert len(list(first)) == 2
    assert gc.get_threshold() == usual
    del second
    assert gc.get_threshold() == usual
    third = render(told, renderer)
    next(third)
    del third
    assert gc.get_threshold() == usual


def test_media_leave_because_a_row_holds_nothing_of_them(renderer: Renderer):
    picture = conversation("c", "Hi", "Hello.", "?", ".")
    said = (*picture.messages[:2], Message("user", (Part("text", "?"), Part("image_url"))), picture.messages[3])
    (gone,) = render([msgspec.structs.replace(picture, messages=said)], renderer)
    assert isinstance(gone, Reject)
    assert (gone.reason, gone.detail.partition(":")[0]) == ("media", "messages/2/content/1 is image")


def test_the_day_that_is_printed_is_the_targets_else_the_conversations_and_on_the_row():
    told = msgspec.structs.replace(conversation("c", "Hi", "Hello."), date=date(2026, 11, 20))
    for asked, day in ((None, date(2026, 11, 20)), (date(2025, 7, 1), date(2025, 7, 1))):
        for name in ("gpt-oss", "llama-3.2"):
            dated = create_renderer(load_tokenizer(EXAMPLE_TARGET), name, today=asked)
            (row,) = render([told], dated)
            assert isinstance(row, RenderedRow)
            assert row.today == day
            printed = f"{day:%Y-%m-%d}" if name == "gpt-oss" else f"{day:%d %b %Y}"
            assert printed in dated.tokenizer.decode(row.input_ids)
    (row,) = render([told], create_renderer(load_tokenizer(EXAMPLE_TARGET), "qwen3"))
    assert isinstance(row, RenderedRow)
    assert row.today is None


def test_without_any_day_a_template_that_prints_one_refuses(renderer: Renderer):
    (gone,) = render([conversation("c", "Hi", "Hello.")], create_renderer(renderer.tokenizer, "gpt-oss"))
    assert isinstance(gone, Reject)
    assert "nobody said which" in gone.detail


def test_what_nobody_answered_is_not_in_the_row(renderer: Renderer):
    (row,) = render([conversation("c", "Hi", "Hello.", "And then?")], renderer)
    assert isinstance(row, RenderedRow)
    assert renderer.tokenizer.decode(row.input_ids) == "<|im_start|>HiHello.<|im_end|>"
    (gone,) = render([conversation("c", "Anybody?")], renderer)
    assert isinstance(gone, Reject)
    assert gone.reason == "no_completion"


def test_what_the_model_did_not_write_is_told_and_not_trained(renderer: Renderer):
    cut = msgspec.structs.replace(conversation("c", "x", "y", "z", "w"), flaws=(Flaw(1, CUT),))
    (row,) = render([cut], renderer)
    assert isinstance(row, RenderedRow)
    assert row.trainable == (3,)
    assert [(proof.verdict, proof.note) for proof in row.proofs] == [("not what the model wrote", CUT), ("proved", "")]


def test_text_that_cannot_be_encoded_costs_its_own_row_only(renderer: Renderer):
    rows = list(
        render([conversation("a", "x", "."), conversation("b", "\ud800", "."), conversation("c", "y", ".")], renderer)
    )
    assert [getattr(row, "reason", "kept") for row in rows] == ["kept", "not_encodable", "kept"]
    assert renderer.tokenizer.decode(rows[2].input_ids) == "<|im_start|>y.<|im_end|>"


@pytest.mark.parametrize(
    "arguments", ["", "{", '{"a": 1} x', "{'a': 1}", "nul", pytest.param("[" * 100_000, id="deep")]
)
def test_arguments_that_are_no_json_are_a_reject(renderer: Renderer, arguments: str):
    good, bad = ToolCall("ls", "{}"), ToolCall("shell", arguments)
    kept, gone = render([conversation("a", "x", calls=(good,)), conversation("b", "x", calls=(good, bad))], renderer)
    assert isinstance(kept, RenderedRow)
    assert isinstance(gone, Reject)
    assert gone.reason == "broken_arguments"
    assert gone.detail.startswith("messages/1/tool_calls/1/arguments of 'shell':")


@pytest.mark.parametrize("origin", [("tools", 0, "function", "name"), ("messages", 0, "content")])
def test_what_the_model_was_told_and_the_template_drops_is_a_reject(renderer: Renderer, origin: Origin):
    (gone,) = render([conversation("c", "x", "y", system="Be brief.")], but(renderer, origin))
    assert isinstance(gone, Reject)
    assert (gone.reason, "/".join(map(str, origin)) in gone.detail) == ("lost_fields", True)


def test_what_is_lost_of_a_turn_makes_only_that_turn_untrainable(renderer: Renderer):
    lossy = but(renderer, ("messages", 1, "reasoning"))
    (row,) = render([conversation("c", "x", "y", "z", "w")], lossy)
    assert isinstance(row, RenderedRow)
    assert (row.lost, row.trainable) == (("messages/1/reasoning",), (3,))


def test_a_split_conversation_is_its_whole_and_a_row_for_each_other_context():
    qwen3 = load_renderer(Target(model="example", renderer="qwen3"))
    chat = conversation("c", "q1", "a1", "q2", "a2", "q3", "a3", "unanswered")
    plain, rows = list(render([chat], qwen3)), list(render([chat, conversation("d", "x", "y")], qwen3, history="split"))
    kept = [row for row in rows if isinstance(row, RenderedRow)]
    assert [(row.id, row.conversation_id, row.trainable) for row in kept] == [
        ("c", "c", (5,)),
        ("c/3", "c", (3,)),
        ("c/1", "c", (1,)),
        ("d", "d", (1,)),
    ]
    assert [row.whole for row in kept] == [True, False, False, True]
    assert [row.asked for row in kept] == [4, 4, 4, 0]
    assert [[proof.verdict for proof in row.proofs] for row in kept[:2]] == [
        ["split", "split", "proved"],
        ["split", "proved"],
    ]
    assert [row.measures()["assistant messages"] for row in kept] == [3, 0, 0, 1]
    assert plain[0].input_ids.tolist() == kept[0].input_ids.tolist()


def test_what_the_model_did_not_write_gets_no_row_of_its_own():
    qwen3 = load_renderer(Target(model="example", renderer="qwen3"))
    cut = msgspec.structs.replace(conversation("c", "q1", "a1", "q2", "a2", "q3", "a3"), flaws=(Flaw(3, CUT),))
    rows = [row for row in render([cut], qwen3, history="split") if isinstance(row, RenderedRow)]
    assert [(row.id, row.trainable) for row in rows] == [("c", (5,)), ("c/1", (1,))]
    assert [proof.verdict for proof in rows[0].proofs] == ["split", "not what the model wrote", "proved"]


def test_a_conversation_of_which_one_row_cannot_be_encoded_is_one_reject():
    qwen3 = load_renderer(Target(model="example", renderer="qwen3"))
    bad, good = conversation("c", "q1", "a1", "q2\ud800", "a2"), conversation("d", "q1", "a1", "q2", "a2")
    rows = list(render([bad, good], qwen3, history="split"))
    assert [(row.id, getattr(row, "reason", "kept")) for row in rows] == [
        ("c", "not_encodable"),
        ("d", "kept"),
        ("d/1", "kept"),
    ]


def test_a_weight_reaches_the_row_and_a_fraction_is_no_label(renderer: Renderer):
    said = conversation("c", "q1", "a1", "q2", "a2")
    quiet, half = (
        msgspec.structs.replace(
            said, messages=tuple(m.but(weight=w) if m.content == "a1" else m for m in said.messages)
        )
        for w in (0.0, 0.5)
    )
    row, gone = render([quiet, half], renderer)
    assert isinstance(row, RenderedRow)
    assert row.weights == {1: 0.0}
    assert isinstance(gone, Reject)
    assert (gone.reason, gone.detail) == ("fractional_weight", "messages weigh {1: 0.5}: labels know only 0 and 1")


def test_what_is_trusted_is_trainable_and_says_so():
    qwen3 = load_renderer(Target(model="example", renderer="qwen3"))
    (row,) = render([conversation("c", "q1", "a1", "q2", "a2")], qwen3, history="trust")
    assert isinstance(row, RenderedRow)
    assert (row.trainable, row.proofs[0].verdict, row.measures()["trusted messages"]) == ((1, 3), "trusted", 1)


@pytest.mark.parametrize(
    ("renderer", "flag"), [("qwen3.6", "preserve_thinking=True"), ("glm-5", "clear_thinking=False")]
)
def test_history_keeps_its_thoughts_where_the_family_can(renderer: str, flag: str):
    keeping = load_renderer(Target(model="example", renderer=renderer, history="keep"))
    told = [
        Message("user", "a"),
        Message("assistant", "b", "thought"),
        Message("user", "c"),
        Message("assistant", "d", "e"),
    ]
    chat = msgspec.structs.replace(conversation("c", "x", "y"), messages=tuple(told))
    (kept,), (stripped,) = render([chat], keeping, history="keep"), render([chat], keeping)
    assert isinstance(kept, RenderedRow)
    assert isinstance(stripped, RenderedRow)
    assert "thought" in keeping.tokenizer.decode(kept.input_ids)
    assert "thought" not in keeping.tokenizer.decode(stripped.input_ids)
    assert (kept.trainable, kept.proofs[0].note) == ((1, 3), flag)


def test_rows_come_in_batches_while_others_are_told_ahead(renderer: Renderer, monkeypatch):
    read = 0

    def many() -> Iterator[Conversation]:
        nonlocal read
        for read in range(1, 5 * AT_ONCE):
            yield conversation(str(read), "x", "y")

    rows = render(many(), renderer)
    assert (next(rows).id, read) == ("1", (AHEAD + 1) * AT_ONCE)
    assert [row.id for row in rows] == [str(n) for n in range(2, 5 * AT_ONCE)]
    monkeypatch.setattr("pipeline.rendering.SAID_AT_ONCE", 20)
    assert (next(render(many(), renderer)).id, read) == ("1", (AHEAD + 1) * 10), "long ones are told a few at a time"
    monkeypatch.setattr("pipeline.rendering.LARGE", 20)
    assert (next(render(many(), renderer)).id, read) == ("1", 10), "and of very long ones none ahead"
