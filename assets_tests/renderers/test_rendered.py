"""Text becomes ids: upstream's where the template speaks, never a control token where data does; each has an owner."""

import json
import unicodedata
from collections.abc import Mapping

import numpy as np
import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renderers.errors import RendererError, TokenizerError
from renderers.rendered import Span, encode
from renderers.segments import Kind, Segment, Stream
from renderers.tokenizer import Tokenizer

FAMILIES = [
    "deepseek-v3",
    "deepseek-v3.1",
    "deepseek-v3.2",
    "gemma-3",
    "gemma-4",
    "glm-4.5",
    "glm-4.7-flash",
    "glm-5",
    "glm-5.1",
    "glm-5.2",
    "gpt-oss",
    "kimi-k2",
    "kimi-k2-thinking",
    "kimi-k2.5",
    "kimi-k2.6",
    "llama-3",
    "llama-3.1",
    "llama-3.2",
    "llama-3.3",
    "minimax-m2",
    "minimax-m2.7",
    "ministral-3",
    "mistral-nemo",
    "mistral-small-3.2",
    "nemotron-3-nano",
    "nemotron-3-super",
    "nemotron-3-ultra",
    "qwen2.5",
    "qwen3",
    "qwen3-2507-instruct",
    "qwen3-2507-thinking",
    "qwen3-coder",
    "qwen3-orig",
    "qwen3-vl",
    "qwen3.5",
    "qwen3.5-small",
    "qwen3.6",
    "qwen3.8",
    "smollm3",
]
FUZZED = ["qwen3", "gemma-3", "llama-3.1", "gpt-oss", "kimi-k2.6"]
START, END = "<|im_start|>", "<|im_end|>"


def said(text: str, kind: Kind = Kind.USER, message: int | None = 0) -> Segment:
    return Segment(text, kind, message, literal=False, origin=("messages", message or 0, "content"))


def stream(*segments: Segment) -> Stream:
    return Stream(segments)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_templates_own_words_get_upstreams_ids(shared, load, family):
    lines = (shared / "goldens" / f"{family}.jsonl").read_bytes().split(b"\n")
    rows = [row for row in map(json.loads, filter(None, lines)) if "ids" in row]
    tokenizer = load(family)
    ours = encode([stream(Segment(row["text"])) for row in rows], tokenizer, seam=False)
    parsed = encode([stream(said(row["text"])) for row in rows], tokenizer, seam=False, special_text="parse")
    assert rows
    for row, rendered, joint in zip(rows, ours, parsed, strict=True):
        assert rendered.ids.tolist() == joint.ids.tolist() == row["ids"], row["id"]
        assert unicodedata.normalize("NFC", tokenizer.decode(rendered.ids)) == unicodedata.normalize("NFC", row["text"])


def test_literal_text_writes_control_tokens_and_data_does_not(tiny):
    spelled = f"{END}<think><tool_call>"
    (rendered,) = encode([stream(Segment(f"{START}user\n"), said(spelled), Segment(f"{END}\n"))], tiny)
    control = [token for token in rendered.ids.tolist() if token in tiny.control.values()]
    assert control == [tiny.control[START], tiny.control[END]]
    assert tiny.decode(rendered.ids) == rendered.text


def test_a_literal_and_data_together_cannot_spell_a_control_token(tiny):
    (rendered,) = encode([stream(Segment("<|im_"), said("end|>"))], tiny)
    assert tiny.control[END] not in rendered.ids


def test_literal_segments_together_do(tiny):
    (rendered,) = encode([stream(Segment("<|im_"), Segment(""), Segment("end|>"))], tiny)
    assert rendered.ids.tolist() == [tiny.control[END]]
    assert rendered.owners.tolist() == [0]


def test_parse_gives_what_upstream_gives(tiny, tiny_json):
    whole = tokenizers.Tokenizer.from_str(tiny_json)
    told = stream(Segment(f"{START}user\n"), said(f"x {END} cafe\u0301  <left>"), Segment(f"{END}\n"))
    (rendered,) = encode([told], tiny, seam=False, special_text="parse")
    assert rendered.ids.tolist() == whole.encode(told.text, add_special_tokens=False).ids


def test_reject_names_the_data_that_spells_a_control_token(tiny):
    fine = stream(Segment(f"{START}user\n"), said("fine < |im_end|>"), Segment(END))
    assert len(encode([fine], tiny, special_text="reject")) == 1
    bad = stream(Segment(f"{START}user\n"), said(f"not {END}", message=3), Segment(END))
    with pytest.raises(TokenizerError, match=r"stream 1: messages/3/content spells the control token '<\|im_end\|>'"):
        encode([fine, bad], tiny, special_text="reject")


def test_reject_lets_a_template_swallow_blanks_of_data(tiny):
    told = stream(said("x  "), Segment("<left>"), Segment("<right>"), said("  y"))
    (rendered,) = encode([told], tiny, special_text="reject")
    assert tiny.decode(rendered.ids) == rendered.text


def test_another_word_for_special_text_is_refused(tiny):
    with pytest.raises(RendererError, match="prase"):
        encode([], tiny, special_text="prase")  # pyright: ignore[reportArgumentType]


def test_a_lone_surrogate_is_refused_by_stream_and_place(tiny):
    with pytest.raises(TokenizerError, match="stream 1: messages/2/content"):
        encode([stream(said("fine")), stream(Segment("x"), said("a\ud800", message=2))], tiny)


def test_text_is_cut_where_sampled_follows_told_and_nowhere_else(tiny):
    pair = (" th", "e")
    joined, sampled = tiny.encode_batch([" the"])[0], [ids for (ids,) in map(tiny.encode_batch, ([p] for p in pair))]
    assert joined != [*sampled[0], *sampled[1]], "the vocabulary merges across the cut"
    into = stream(said(pair[0]), said(""), said("", Kind.ANSWER), said(pair[1], Kind.ANSWER, 1))
    out_of = stream(said(pair[0], Kind.ANSWER, 1), said(pair[1]))
    within = stream(said(pair[0], Kind.REASONING, 1), said("", Kind.SCAFFOLD), said(pair[1], Kind.ANSWER, 1))
    cut, *uncut = encode([into, out_of, within], tiny)
    assert cut.ids.tolist() == [*sampled[0], *sampled[1]]
    assert [r.ids.tolist() for r in [*uncut, *encode([into], tiny, seam=False)]] == [joined] * 3


def test_a_token_belongs_to_the_segment_of_its_first_byte(tiny):
    (rendered,) = encode([stream(said(""), said(" th"), said(""), said("e"), said(" x"))], tiny)
    assert [rendered.segments[k].text for k in rendered.owners] == [" th", " x", " x"]


def test_spans_are_runs_of_kind_and_message(tiny):
    told = stream(
        Segment(START), Segment("user\n", message=0), said("hello"), said(" there"), said("", message=1), Segment(END)
    )
    (rendered,) = encode([told], tiny)
    spans = rendered.spans()
    assert [(s.kind, s.message) for s in spans] == [
        (Kind.SCAFFOLD, None), (Kind.SCAFFOLD, 0), (Kind.USER, 0), (Kind.SCAFFOLD, None),
    ]  # fmt: skip
    assert [s.start for s in spans] == [0, *(s.end for s in spans[:-1])]
    assert spans[-1] == Span(len(rendered.ids) - 1, len(rendered.ids), Kind.SCAFFOLD, None)


def test_nothing_gives_nothing(tiny, wide):
    for tokenizer in (tiny, wide):
        assert list(encode([], tokenizer)) == []
        empty, one, blank = encode([stream(), stream(said("a")), stream(said(""))], tokenizer)
        assert [len(r.ids) for r in (empty, one, blank)] == [0, 1, 0]
        assert one.owners.tolist() == [0]
        assert empty.spans() == blank.spans() == []


def test_ids_and_owners_are_int32(tiny):
    (rendered,) = encode([stream(said("a"))], tiny)
    assert rendered.ids.dtype == rendered.owners.dtype == np.int32


def slowly(told: Stream, plain: tokenizers.Tokenizer, control: Mapping[str, int], *, seam: bool):
    """Ids and owners by the book: piece by piece, character by character, by the library's own offsets."""
    ids, owners, pending, before = [], [], [], None

    def cut():
        encoding = plain.encode("".join(char for char, _ in pending), add_special_tokens=False)
        ids.extend(encoding.ids)
        owners.extend(pending[start][1] for start, _ in encoding.offsets)
        pending.clear()

    for k, segment in enumerate(told.segments):
        others = before is not None and (not before.kind.sampled or before.message != segment.message)
        if seam and segment.text and segment.kind.sampled and others:
            cut()
        if segment.literal and segment.text in control:
            cut()
            ids.append(control[segment.text])
            owners.append(k)
        else:
            pending.extend((char, k) for char in segment.text)
        before = segment if segment.text else before
    cut()
    return ids, owners


WORDS = [
    *(
        "",
        "user\n",
        "\n",
        "\n\n",
        " ",
        "the",
        "th",
        "e",
        " e",
        "a",
        "'s",
        "123",
        "\r\n",
        "\t",
        "\x00",
        "\ufeff",
        "\u2581",
    ),
    *("\u0301", "\u0323", "e\u0301", "\u00e9", "\u212b", "\u1100", "\u1161", "\u11a8", "\u0ba8\u0bbf", "\ufb01"),
    *("😀", "👩‍👩‍👧", "日本", "<think>", "<|im_end|>", "<tool_call>"),
]
texts = st.one_of(
    st.sampled_from(WORDS), st.lists(st.sampled_from(WORDS), max_size=4).map("".join), st.text(max_size=6)
)
kinds = st.sampled_from([Kind.USER, Kind.SCAFFOLD, Kind.ANSWER, Kind.REASONING])
data = st.builds(said, texts.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text)), kinds)
literals = st.builds(Segment, st.sampled_from(["", "user\n", "\n", "e", " the", "CONTROL"]), kinds)


def by_the_book(vocabulary: str, tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """The library's engine without control tokens."""
    raw = json.loads(vocabulary)
    words = [token for token in raw["added_tokens"] if token["content"] not in tokenizer.control]
    return tokenizers.Tokenizer.from_str(json.dumps({**raw, "added_tokens": words, "post_processor": None}))


batches = st.lists(st.lists(st.one_of(data, literals), max_size=8), max_size=3)


@pytest.mark.parametrize("name", ["tiny", "wide", *FUZZED])
@pytest.mark.parametrize("seam", [True, False])
def test_owners_are_what_offsets_say(request, name, seam):
    if name in FUZZED:
        tokenizer = request.getfixturevalue("load")(name)
        vocabulary = (request.getfixturevalue("official")(name) / "tokenizer.json").read_text(encoding="utf-8")
    else:
        tokenizer, vocabulary = request.getfixturevalue(name), request.getfixturevalue(f"{name}_json")
    plain, control = by_the_book(vocabulary, tokenizer), min(filter(str.isascii, tokenizer.special))

    @settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(batches)
    def hold(batch):
        streams = [Stream(tuple(s.but(text=control) if s.text == "CONTROL" else s for s in told)) for told in batch]
        for told, rendered in zip(streams, encode(streams, tokenizer, seam=seam), strict=True):
            ids, owners = slowly(told, plain, tokenizer.control, seam=seam)
            assert rendered.ids.tolist() == ids
            assert rendered.owners.tolist() == owners

    hold()
