"""Qwen3 against its official template: goldens, the traced witness, and every deviation with its reason."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from renderers import (
    FAMILIES,
    Kind,
    Message,
    Rendered,
    Renderer,
    Request,
    TemplateError,
    ToolCall,
    Verdict,
    create_renderer,
    from_hub,
)

DEVIATIONS = {
    "content-parts": "parts are joined; upstream tells nothing of content that is no string",
    "call-result-json": "a mapping is told as JSON; upstream tells nothing of content that is no string",
}
REFUSED = {
    "image-part": "no words for an image; upstream tells an empty turn",
    "empty-list": "refused upstream too",
}
EMPTY = {"assistant-empty": {1}, "content-none": {1}}
GOLDENS = Path(__file__).parent / "goldens"


def goldens(shared: Path, name: str) -> list[dict]:
    lines = (shared / "goldens" / name).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


@pytest.fixture(scope="module")
def told(shared) -> dict[str, dict]:
    return json.loads((shared / "goldens" / "conversations.json").read_text(encoding="utf-8"))


def flattened(messages: list[dict]) -> list[dict]:
    """The same conversation with all content as text, in the way the family's docstring says."""
    return [{**raw, "content": message.content} for raw, message in zip(messages, joined(messages), strict=True)]


def joined(messages: list[dict]) -> list[Message]:
    told = from_hub(messages)
    return [m if isinstance(m.content, str) else m.but(content="".join(p.text for p in m.content)) for m in told]


def test_text_and_ids_are_upstreams_but_for_the_deviations(shared, told, load):
    tokenizer, count = load("qwen3"), Counter()
    for row in goldens(shared, "qwen3.jsonl"):
        flags = {name: value for name, value in row["kwargs"].items() if name == "enable_thinking"}
        if "continue_final_message" in row["kwargs"] or row["id"] in REFUSED:
            continue
        asked = told[row["id"]]
        result = Renderer(FAMILIES["qwen3"], tokenizer, flags).render(
            asked["messages"],
            asked["tools"],
            add_generation_prompt=row["kwargs"]["add_generation_prompt"],
            seam=False,
            special_text="parse",
        )
        equal = (result.text == row["text"], result.ids.tolist() == row["ids"])
        assert equal == ((False, False) if row["id"] in DEVIATIONS else (True, True)), row["id"]
        count[equal] += 1
    assert count == {(True, True): 134, (False, False): 5}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_deviation_is_upstreams_telling_of_the_flattened_content(told, load, name):
    tokenizer, asked = load("qwen3"), told[name]
    declared, traced = create_renderer(tokenizer), create_renderer(tokenizer, "traced")
    ours = declared.render(asked["messages"], asked["tools"])
    assert ours.text == traced.render(flattened(asked["messages"]), asked["tools"]).text


@pytest.mark.parametrize("name", REFUSED)
def test_what_there_are_no_words_for_is_refused(told, name):
    with pytest.raises(TemplateError, match=r"image|empty"):
        FAMILIES["qwen3"].tell(Request(from_hub(told[name]["messages"])))


@pytest.mark.parametrize("flags", [{}, {"enable_thinking": True}, {"enable_thinking": False}], ids=str)
def test_both_witnesses_agree(told, load, flags):
    """On text, ids, what is sampled of which message and as what kind, proofs, and lost fields.

    Two differences, both where the declared witness knows more. The words of an empty thought are reasoning, though the
    traced witness finds no reasoning that they stand near. An empty message (`EMPTY`) is rewritten by what follows like
    any other: the traced witness compares what a message says, and this one says nothing.
    """
    tokenizer = load("qwen3")
    declared, traced = create_renderer(tokenizer, **flags), create_renderer(tokenizer, "traced", **flags)
    for name in told.keys() - REFUSED.keys():
        messages, tools = joined(told[name]["messages"]), told[name]["tools"]
        one, other = (r.render(messages, tools, add_generation_prompt=True) for r in (declared, traced))
        assert one.text == other.text, name
        assert np.array_equal(one.ids, other.ids), name
        assert [kind for *_, kind in sampled(one)] == [*map(with_thought, sampled(one), sampled(other))], name
        assert [place for *place, _ in sampled(one)] == [place for *place, _ in sampled(other)], name
        assert set(one.stream.lost) == set(other.stream.lost), name
        assert proved(one) == proved(other) - EMPTY.get(name, set()), name
        if not flags:
            assert verdicts(one, EMPTY.get(name)) == verdicts(other, EMPTY.get(name)), name


def sampled(result: Rendered) -> list[tuple[int, int | None, bool, Kind]]:
    """Every sampled token: where it stands, its message, whether it is a word of the template, its kind."""
    owned = ((k, result.segments[owner]) for k, owner in enumerate(result.owners))
    return [(k, s.message, s.literal, s.kind) for k, s in owned if s.kind.sampled]


def with_thought(one: tuple, other: tuple) -> Kind:
    """The traced kind, where it is not that of an empty thought's words."""
    *_, literal, kind = one
    return kind if literal and kind is Kind.REASONING else other[-1]


def proved(result: Rendered) -> set[int]:
    return {p.message for p in result.stream.proofs if p.verdict is Verdict.PROVED}


def verdicts(result: Rendered, but: set[int] | None) -> list[tuple[int, Verdict]]:
    return [(p.message, p.verdict) for p in result.stream.proofs if p.message not in (but or ())]


def test_the_row_knows_the_official_template(load):
    tokenizer = load("qwen3")
    assert tokenizer.chat_template is not None
    assert hashlib.sha256(tokenizer.chat_template.encode()).hexdigest() in FAMILIES["qwen3"].fingerprints


def test_the_stream_is_as_it_was_reviewed(conversation, request_of, pytestconfig):
    stream = FAMILIES["qwen3"].tell(request_of(conversation, generating=True))
    lines = [
        f"{'-' if s.message is None else s.message:>3} {s.kind:<11} {'words' if s.literal else 'data ':<5} "
        f"{json.dumps(s.text, ensure_ascii=False)}"
        for s in stream.segments
    ]
    lines += [f"{p.message:>3} {p.verdict}{p.note and f': {p.note}'}" for p in stream.proofs]
    lines += [f"lost {'/'.join(map(str, origin))}" for origin in stream.lost]
    preview, place = "\n".join(lines) + "\n", GOLDENS / "qwen3" / f"{conversation.replace(' ', '_')}.txt"
    if pytestconfig.getoption("--regenerate"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(preview, encoding="utf-8")
    assert preview == place.read_text(encoding="utf-8"), "look at the change, then run with --regenerate"


def tell(*messages: Message, **flags: object) -> str:
    return FAMILIES["qwen3"].tell(Request(messages, flags=flags)).text


def test_inline_reasoning_moves_to_its_place():
    stream = FAMILIES["qwen3"].tell(Request((Message("user", "?"), Message("assistant", "<think>\na\n</think>\n\nb"))))
    shown = [(s.kind, s.text, s.origin) for s in stream.segments if not s.literal and s.message == 1]
    origin = ("messages", 1, "content")
    assert shown == [(Kind.REASONING, "a", origin), (Kind.ANSWER, "b", origin)]
    assert not stream.lost


def test_a_reasoning_field_leaves_inline_reasoning_alone():
    stream = FAMILIES["qwen3"].tell(Request((Message("user", "?"), Message("assistant", "a</think>b", reasoning=""))))
    assert "<think>\n\n</think>\n\na</think>b<|im_end|>" in stream.text


def test_reasoning_before_the_last_query_is_lost_and_said_to_be():
    messages = (Message("user", "a"), Message("assistant", "b", reasoning="c"), Message("user", "d"))
    assert FAMILIES["qwen3"].tell(Request(messages)).lost == (("messages", 1, "reasoning_content"),)


def test_a_tool_result_in_a_users_clothes_is_no_query():
    thought = Message("assistant", "b", reasoning="c")
    dressed = Message("user", "<tool_response>x</tool_response>")
    assert "<think>\nc\n</think>" in tell(Message("user", "a"), thought, dressed)
    assert "<think>" not in tell(Message("user", "a"), thought, Message("user", "x"))


def test_arguments_are_written_byte_for_byte():
    spelled = '{"b":1,  "a": "\\u00e9", "a": 2'
    assert spelled in tell(Message("user", "?"), Message("assistant", tool_calls=(ToolCall("f", spelled),)))


def test_without_thinking_the_prompt_holds_the_empty_thought_as_scaffold():
    messages = (Message("user", "?"), Message("assistant", "b"))
    thinking, not_thinking = (
        FAMILIES["qwen3"].tell(Request(messages, flags={"enable_thinking": value})) for value in (True, False)
    )
    assert thinking.text == not_thinking.text
    assert any(s.kind is Kind.REASONING for s in thinking.segments)
    assert not any(s.kind is Kind.REASONING for s in not_thinking.segments)
    assert not_thinking.trainable == {1}
