"""Templates of one's own at work: with images, with a default of their own, read back and gone on from."""

import json
from dataclasses import replace

import pytest

from assets_tests.renderers.own import AGENT, CALL, OWN, SKILLS, TOOL, sampled, with_control_tokens
from renderers import (
    AssistantPolicy,
    Chat,
    Expansion,
    Media,
    Qwen25AssistantContentProcessor,
    Renderer,
    TemplateError,
)
from renderers.chatting.builtin import TEMPLATES

SEEN = [{"role": "user", "content": [{"type": "text", "text": "See <pad>: "}, {"type": "image", "image": "a.png"}]}]


def test_an_image_is_the_tokens_of_its_processor_in_the_place_of_the_template():
    seeing = replace(OWN, image_token="<pad>", vision_start="<see>", vision_end="</see>")
    assert Chat(seeing, SEEN).prompt().endswith("user\nSee <pad>: <see><pad></see><|im_end|>\n")
    renderer = Renderer(seeing.family, with_control_tokens(("<pad>", "<|im_end|>")))
    pad, files = renderer.tokenizer.control["<pad>"], {"a.png": b"..."}
    shown = renderer.render(SEEN, media=Media(lambda kind, data: Expansion(3), files))
    assert (renderer.render(SEEN).ids.tolist().count(pad), shown.ids.tolist().count(pad)) == (1, 3)
    assert shown.multi_modal_data is not None
    assert [place.length for place in shown.multi_modal_data.mm_placeholders["image"]] == [3]


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_an_image_is_refused_where_the_template_has_none(role):
    seeing = replace(OWN, image_token="<pad>")
    video = [{"type": "video", "video": "a.mp4"}]
    with pytest.raises(TemplateError, match="no words for 'video'"):
        Chat(seeing, [{"role": role, "content": video}]).prompt()
    if role != "user":
        with pytest.raises(TemplateError, match=f"no words for 'image' of the {role}'s"):
            Chat(seeing, [{"role": role, "content": SEEN[0]["content"]}]).prompt()


def test_a_system_turn_that_nobody_brings_has_words_of_its_own():
    silent = replace(OWN, default_system_template="<|im_start|>system\nHello.{tools}<|im_end|>\n")
    assert Chat(silent, AGENT[:1]).prompt().startswith("<|im_start|>system\nHello.<|im_end|>\n<|im_start|>user")
    assert Chat(silent, AGENT[:1], [TOOL]).prompt().startswith("<|im_start|>system\nHello.\n\n# Tools\n{")
    said = [{"role": "system", "content": "Mine."}, *AGENT[:1]]
    assert Chat(silent, said).prompt() == Chat(OWN, said).prompt()
    with pytest.raises(TemplateError, match=r"own, default_system_template: there is no place \{content\}"):
        replace(OWN, default_system_template="{content}")
    with pytest.raises(TemplateError, match=r"no place \{skills\} in its default_system_template"):
        Chat(silent, AGENT[:1], skills=SKILLS).prompt()


def test_a_newline_before_an_answer_may_be_the_models():
    """Qwen2.5 prompts without it, where its template is read word by word: calls alone have none."""
    words = "<|im_start|>assistant{content}\n{tool_calls}<|im_end|>\n"
    policy = AssistantPolicy(Qwen25AssistantContentProcessor())
    template = replace(OWN, assistant_template=words, assistant_policy=policy)
    told = [*AGENT[:1], {"role": "assistant", "content": "8."}]
    assert Chat(template, told).prompt() == Chat(OWN, told).prompt()
    assert sampled(Chat(template, told)) == ["\n8.<|im_end|>"]
    called = [*AGENT[:1], {"role": "assistant", "content": "", "tool_calls": [CALL]}]
    assert sampled(Chat(template, called))[0].startswith("<tool_call>")


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_built_in_template_is_told_as_it_was_reviewed(name, reviewed):
    """No official file is among the references: what stands in for one is the golden, and its git diff."""
    template = TEMPLATES[name]
    told = AGENT if template.observations_template else [AGENT[0], *AGENT[4:]]
    skills = SKILLS if "{skills}" in template.system_template else None
    reviewed("templates", name, Chat(template, told, [TOOL], skills).stream(add_generation_prompt=True))


@pytest.mark.parametrize("template", [OWN, *TEMPLATES.values()], ids=lambda template: template.name)
def test_what_a_template_writes_it_reads_back_and_goes_on_from(template):
    """Without a line of parsing or bridging in any of them."""
    renderer = Renderer(template.family, with_control_tokens(template.stops))
    told = AGENT if renderer.render(AGENT[:2]).stream.lost == () else [AGENT[0], *AGENT[4:]]
    whole = renderer.render(told)
    for index in sorted(whole.stream.trainable):
        spans = [span for span in whole.spans() if span.message == index and span.kind.sampled]
        prompt, completion = whole.ids[: spans[0].start].tolist(), whole.ids[spans[0].start : spans[-1].end].tolist()
        request = renderer.request(told)
        parsed, meant = (
            renderer.parse(completion, request.but(messages=request.messages[:index])),
            request.messages[index],
        )
        assert parsed.ended
        assert (parsed.message.content, parsed.message.reasoning or "") == (meant.content, meant.reasoning or "")
        assert [(c.name, json.loads(c.arguments)) for c in parsed.message.tool_calls] == [
            (c.name, json.loads(c.arguments)) for c in meant.tool_calls
        ]
        new = told[index + 1 : index + 2] if index + 1 < len(told) else [{"role": "user", "content": "More"}]
        bridged = renderer.bridge(prompt, completion, new, messages=told[:index])
        expected = renderer.render([*told[: index + 1], *new], add_generation_prompt=True).ids.tolist()
        assert bridged.token_ids == expected
