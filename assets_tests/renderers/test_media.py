"""Media in messages: told as upstream tells them, expanded by the caller's processor, found again among the tokens."""

import base64
import hashlib

import numpy as np
import pytest

from renderers import (
    FAMILIES,
    Expansion,
    Media,
    Message,
    Part,
    PlaceholderRange,
    Refusal,
    Renderer,
    Request,
    TemplateError,
    ToolCall,
    create_renderer,
    from_hub,
    to_hub,
)

SHOWING = [name for name, row in FAMILIES.items() if row.template.media]
IMAGE, VIDEO = Part("image", source="cat.png"), Part("video", source="cat.mp4")
CALL = ToolCall("look", '{"at": "x"}', "functions.look:0")
ASKED = Message(
    "user", (Part("text", " See "), IMAGE, Part("text", " and this: "), Part("image_url", source="dog.png"))
)
SHOWN = (
    ASKED,
    Message("assistant", tool_calls=(CALL,)),
    Message("tool", (Part("text", "Here:"), IMAGE), tool_call_id=CALL.id),
    Message("assistant", "A cat."),
    Message("user", (IMAGE,)),
)
TOOLS = [{"type": "function", "function": {"name": "look", "description": "d", "parameters": {"type": "object"}}}]
SIZES = {b"cat": 3, b"dog": 5, b"mouse": 1}
FILES = {"cat.png": b"cat", "dog.png": b"dog"}


def process(kind: str, data: bytes) -> Expansion:
    return Expansion(SIZES[data], features=(kind, data))


@pytest.fixture(params=SHOWING)
def renderer(request, vocabulary) -> Renderer:
    return Renderer(FAMILIES[request.param], vocabulary(request.param))


def pad(renderer: Renderer, kind: str = "image") -> int:
    return renderer.tokenizer.control[renderer.witness.template.media[kind].pad]


def test_families_that_tell_media_are_those_that_were_made_for_them():
    assert [
        *("qwen3-vl", "qwen3.5", "qwen3.5-small", "qwen3.6", "qwen3.8", "gemma-4", "kimi-k2.5", "kimi-k2.6")
    ] == SHOWING


def test_media_are_told_as_upstream_tells_them(renderer, traced):
    asked = (SHOWN, (ASKED.but(content=(Part("text", "\n"), VIDEO, Part("text", " x "), VIDEO)),), SHOWN[:3])
    flags = [{}, {"add_vision_id": True}] if "add_vision_id" in renderer.witness.flags else [{}]
    for messages in asked:
        if "video" not in renderer.witness.template.media and VIDEO in messages[0].content:
            continue
        for asked_for in flags:
            request = Request(messages, flags=asked_for, generating=True)
            assert renderer.stream(request).text == traced(renderer.name).tell(request).text


def test_without_a_processor_a_medium_is_one_token_in_its_place(renderer):
    result = renderer.render(SHOWN)
    assert result.multi_modal_data is not None
    places = result.multi_modal_data.mm_placeholders["image"]
    assert [place.length for place in places] == [1, 1, 1, 1]
    assert [result.ids[place.offset] for place in places] == [pad(renderer)] * 4
    assert result.multi_modal_data.mm_items == {}


def test_a_processor_says_how_many_tokens_a_medium_is(renderer):
    result = renderer.render(SHOWN, media=Media(process, FILES))
    data = result.multi_modal_data
    assert data is not None
    assert [place.length for place in data.mm_placeholders["image"]] == [3, 5, 3, 3]
    at = [k for place in data.mm_placeholders["image"] for k in range(place.offset, place.offset + place.length)]
    assert np.flatnonzero(result.ids == pad(renderer)).tolist() == at
    assert data.mm_items["image"] == [("image", b"cat"), ("image", b"dog"), ("image", b"cat"), ("image", b"cat")]
    assert data.mm_hashes["image"][1] == hashlib.sha256(b"dog").hexdigest()
    assert not result.stream.lost
    shown = [segment.message for segment in result.segments if segment.origin and segment.origin[-1] == "image"]
    assert shown == [0, 0, 2, 4]


def test_gemma_puts_words_around_an_image_that_is_expanded(vocabulary):
    renderer = Renderer(FAMILIES["gemma-4"], vocabulary("gemma-4"))
    told = (Message("user", (IMAGE,)),)
    assert "user\n<|image|><turn|>" in renderer.render(told).text
    assert (
        "user\n<|image><|image|><|image|><|image|><image|><turn|>"
        in renderer.render(told, media=Media(process, FILES)).text
    )


def test_a_pad_that_a_user_spells_is_text(renderer):
    word = renderer.witness.template.media["image"].pad
    result = renderer.render([Message("user", (Part("text", word), IMAGE, Part("text", word)))])
    assert np.count_nonzero(result.ids == pad(renderer)) == 1
    assert result.multi_modal_data is not None
    assert len(result.multi_modal_data.mm_placeholders["image"]) == 1
    assert renderer.render([Message("user", word)]).multi_modal_data is None


@pytest.mark.parametrize(
    ("source", "sources", "size"),
    [
        ("cat.png", FILES, 3),
        ("dog.png", FILES.__getitem__, 5),
        ("data:image/png;base64," + base64.b64encode(b"dog").decode(), {}, 5),
        ("data:,mouse", {}, 1),
    ],
)
def test_bytes_come_from_the_caller_or_are_in_the_url(vocabulary, source, sources, size):
    renderer = Renderer(FAMILIES["qwen3-vl"], vocabulary("qwen3-vl"))
    data = renderer.render([Message("user", (Part("image", source=source),))], media=Media(process, sources))
    assert data.multi_modal_data is not None
    assert data.multi_modal_data.mm_placeholders == {"image": [PlaceholderRange(4, size)]}


@pytest.mark.parametrize("source", ["https://example.com/cat.png", "", "data:image/png;base64,%%"])
def test_nothing_is_fetched(vocabulary, source):
    renderer = Renderer(FAMILIES["qwen3-vl"], vocabulary("qwen3-vl"))
    with pytest.raises(TemplateError, match=r"message 0, content 1: no bytes of the image"):
        renderer.render([Message("user", (Part("text", "?"), Part("image", source=source)))], media=Media(process))


def test_a_medium_of_no_token_is_refused(vocabulary):
    renderer = Renderer(FAMILIES["qwen3-vl"], vocabulary("qwen3-vl"))
    nothing = Media(lambda kind, data: Expansion(0), FILES)
    with pytest.raises(TemplateError, match=r"content 0: the image 'cat.png' is 0 tokens"):
        renderer.render([Message("user", (IMAGE,))], media=nothing)


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_media_of_the_systems_or_the_assistants_own_are_refused(renderer, role):
    messages = [Message("user", "Hi"), Message(role, (IMAGE,))]
    with pytest.raises(TemplateError, match=rf"no words for 'image' of the {role}'s"):
        renderer.render(messages if role == "assistant" else messages[::-1])


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in SHOWING])
def test_other_families_refuse_media(family):
    row = FAMILIES[family]
    with pytest.raises(TemplateError, match=r"message 0, content: this template has no words for 'image'"):
        row.tell(Request((Message("user", (IMAGE,)),)))


def test_a_medium_that_a_template_does_not_tell_is_lost(load):
    traced = create_renderer(load("qwen3"), "traced")
    stream = traced.stream(Request((Message("user", (Part("text", "?"), IMAGE)),)))
    assert ("messages", 0, "content", 1, "image") in stream.lost
    with pytest.raises(TemplateError, match=r"traced, and does not know where media stand"):
        traced.render(SHOWN, media=Media(process, FILES))


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ({"type": "image", "image": "cat.png"}, "cat.png"),
        ({"type": "image_url", "image_url": {"url": "cat.png"}}, "cat.png"),
        ({"type": "video", "video": "cat.mp4"}, "cat.mp4"),
        ({"type": "image"}, ""),
    ],
)
def test_a_hubs_medium_keeps_what_it_is_known_by(part, source):
    told = [{"role": "user", "content": [part, {"type": "text", "text": "?"}]}]
    messages = from_hub(told)
    assert messages[0].content == (Part(part["type"], source=source), Part("text", "?"))
    assert to_hub(messages) == told


@pytest.mark.parametrize("held", [object(), {"detail": "low"}, None])
def test_a_medium_that_is_an_object_has_no_source(held):
    assert from_hub([{"role": "user", "content": [{"type": "image", "image": held}]}])[0].content == (Part("image"),)


def test_a_bridge_shows_media_as_the_whole_render_does(renderer):
    media, made = Media(process=process, sources=FILES), []
    counting = Media(process=lambda kind, data: made.append(data) or process(kind, data), sources=FILES)
    prompt = renderer.render(SHOWN[:1], TOOLS, add_generation_prompt=True, media=media)
    whole = renderer.render(SHOWN[:3], TOOLS, add_generation_prompt=True, media=media)
    turn = [span for span in whole.spans() if span.message == 1 and span.kind.sampled]
    sampled = whole.token_ids[len(prompt.ids) : turn[-1].end]
    told = {"tools": TOOLS, "messages": SHOWN[:2]}
    bridge = renderer.bridge(prompt.token_ids, sampled, SHOWN[2:3], **told, media=counting)
    assert bridge.token_ids == whole.token_ids
    assert made == [b"cat"]
    data, all_ = bridge.multi_modal_data, whole.multi_modal_data
    assert data
    assert all_
    assert data.mm_placeholders["image"] == all_.mm_placeholders["image"][2:]
    assert (data.mm_items["image"], data.mm_hashes["image"]) == (
        all_.mm_items["image"][2:],
        all_.mm_hashes["image"][2:],
    )
    alone = renderer.bridge(prompt.token_ids, sampled, SHOWN[2:3], **told)
    assert [place.length for place in alone.multi_modal_data.mm_placeholders["image"]] == [1]
    lost = renderer.bridge(prompt.token_ids, sampled, SHOWN[2:3], **told, media=Media(process=process))
    assert (lost.refusal, "'cat.png'" in lost.note) == (Refusal.UNTELLABLE, True)
    plain = renderer.bridge(prompt.token_ids, sampled, [SHOWN[2].but(content="A cat.")], **told, media=media)
    assert plain.token_ids
    assert plain.multi_modal_data is None
