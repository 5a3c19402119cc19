"""A template of one's own and its exported Jinja tell the same, run by transformers and by the traced witness."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import groupby

import jinja2
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import render_jinja_template

from assets_tests.renderers.wordings import CASES, OWN
from renderers import (
    JsonCompactFormatter,
    JsonFormatter,
    JsonFormatterNoBreakLine,
    JsonIndentedFormatter,
    JsonMinifiedFormatter,
    JsonQwenFormatter,
    Kind,
    Request,
    Stream,
    Template,
    TemplateError,
    ToolFormatter,
    ToolPolicy,
    YamlFormatter,
    from_hub,
)
from renderers.tracing.witness import TracedTemplate

HOSTILE = (
    "{tools}",
    "{tool_calls}",
    "{content} {{ messages }}",
    "{% endif %}",
    "<|im_end|>",
    "\n\n x \n",
    "'\\n\"",
    "\r\n",
    "",
)
texts = st.sampled_from(HOSTILE) | st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
mappings = st.dictionaries(texts, values, max_size=3)
said = texts.map(lambda text: {"type": "text", "text": text})
seen = st.sampled_from(({"type": "image", "image": "a.png"}, {"type": "video_url", "video_url": {"url": "b.mp4"}}))
contents = texts | st.none() | mappings | st.lists(said, max_size=2) | st.lists(said | seen, max_size=2)
names = st.sampled_from(("ls", "multiply", "{name}", "<|im_end|>"))


@st.composite
def calls(draw) -> dict:
    """A call as the Hub has it, with its id or without, wrapped or bare."""
    call = {"name": draw(names), "arguments": draw(mappings)}
    return draw(st.sampled_from((call, {"type": "function", "id": "call_1", "function": call})))


@st.composite
def messages(draw) -> dict:
    role = draw(st.sampled_from(("system", "developer", "user", "user", "assistant", "assistant", "tool")))
    message = {"role": role, "content": draw(contents)}
    if role == "assistant":
        message |= draw(st.fixed_dictionaries({}, optional={"reasoning_content": texts, "thinking": texts}))
        message |= draw(st.fixed_dictionaries({}, optional={"tool_calls": st.lists(calls(), max_size=2)}))
    if role == "tool":
        message |= draw(st.fixed_dictionaries({}, optional={"tool_call_id": texts, "name": texts}))
    return message


tools = st.builds(lambda name, more: {"type": "function", "function": {"name": name, **more}}, names, mappings)
skills = st.fixed_dictionaries({"name": texts, "description": texts, "message": texts, "items": values})
conversations = st.fixed_dictionaries(
    {
        "messages": st.lists(messages(), min_size=1, max_size=6),
        "tools": st.none() | st.lists(tools, max_size=2),
        "skills": st.lists(skills, max_size=2),
        "add_generation_prompt": st.booleans(),
    }
)


@pytest.fixture(params=CASES)
def template(request) -> Template:
    return CASES[request.param]


def ours(template: Template, asked: Mapping) -> Stream | None:
    """What the template tells; None for what it refuses."""
    flags = {"skills": asked["skills"]} if asked["skills"] and "{skills}" in template.system_template else {}
    told = tuple(from_hub(asked["messages"]))
    try:
        return template.family.tell(Request(told, tuple(asked["tools"] or ()), flags, asked["add_generation_prompt"]))
    except TemplateError:
        return None


def test_transformers_writes_with_the_export_what_the_template_tells(template, examples):
    exported = template.jinja_template()

    @settings(max_examples=examples, deadline=None, database=None)
    @given(conversations)
    def agree(asked):
        stream = ours(template, asked)
        try:
            (theirs,), _ = render_jinja_template([asked["messages"]], chat_template=exported, **without(asked))
        except jinja2.TemplateError:
            theirs = None
        assert theirs == (stream and stream.text)

    agree()


def without(asked: Mapping) -> dict:
    return {name: value for name, value in asked.items() if name != "messages"}


def test_what_the_export_marks_as_generated_is_what_the_model_writes(template, examples):
    exported = template.jinja_template()

    @settings(max_examples=examples, deadline=None, database=None)
    @given(conversations)
    def agree(asked):
        stream = ours(template, asked)
        if stream is None:
            return
        (text,), (spans,) = render_jinja_template(
            [asked["messages"]], chat_template=exported, return_assistant_tokens_mask=True, **without(asked)
        )
        marked = [text[start:end] for start, end in spans if end > start]
        assert marked == written(stream, lent=bool(template.family.template.assistant.lent))

    agree()


def written(stream: Stream, *, lent: bool) -> list[str]:
    """What the model writes, message by message; not a stop that the next turn lends."""
    told = [s for s in stream.segments if s.kind.sampled and not (lent and s.kind is Kind.STOP)]
    runs = ("".join(segment.text for segment in run) for _, run in groupby(told, lambda s: s.message))
    return [text for text in runs if text]


def test_the_traced_witness_of_the_export_agrees_on_text_and_on_what_is_trained(template, examples):
    witness = TracedTemplate(template.jinja_template(), added=dict.fromkeys(template.stops, True))

    @settings(max_examples=max(1, examples // 2), deadline=None, database=None)
    @given(conversations)
    def agree(asked):
        stream = ours(template, asked)
        if stream is None:
            return
        flags = {"skills": asked["skills"]} if "skills" in witness.flags else {}
        told = tuple(from_hub(asked["messages"]))
        theirs = witness.tell(Request(told, tuple(asked["tools"] or ()), flags, asked["add_generation_prompt"]))
        assert theirs.text == stream.text
        assert theirs.trainable == stream.trainable
        for index in stream.trainable:
            assert sampled(theirs, index) == sampled(stream, index)

    agree()


def sampled(stream: Stream, message: int) -> str:
    return "".join(s.text for s in stream.segments if s.kind.sampled and s.message == message)


FORMATTERS = {
    "json": JsonFormatter(),
    "qwen": JsonQwenFormatter(),
    "minified": JsonMinifiedFormatter(),
    "compact": JsonCompactFormatter(),
    "compact, one by one": JsonCompactFormatter(format_as_list=False),
    "indented": JsonIndentedFormatter(),
    "indented list": JsonIndentedFormatter(3, format_as_list=True),
    "one line": JsonFormatterNoBreakLine(),
    "sorted": JsonFormatter(sort_keys=True, joiner="'%}\\n"),
    "yaml": YamlFormatter(),
}


@pytest.mark.parametrize("formatter", FORMATTERS.values(), ids=FORMATTERS)
def test_both_faces_of_a_formatter_write_the_same(formatter, examples):
    exported = replace(
        OWN, system_template="{tools}", tools_template="{tools}", tool_policy=ToolPolicy(formatter=formatter)
    )
    jinja = cache(exported.jinja_template)

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.lists(tools, min_size=1, max_size=3))
    def agree(asked):
        (text,), _ = render_jinja_template([[{"role": "system", "content": ""}]], chat_template=jinja(), tools=asked)
        assert text == formatter.format(asked)

    agree()


def test_yaml_is_read_as_the_tools_that_it_was_written_of(examples):
    plain = st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=6)
    found = st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    )

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.lists(st.dictionaries(plain, found, min_size=1), min_size=1, max_size=3))
    def read(asked):
        assert yaml.safe_load(YamlFormatter().format(asked)) == asked

    read()


def test_what_a_place_is_spelled_like_stays_where_it_was_said():
    """Slots filled by string replacement would tell the tools twice."""
    told = [{"role": "system", "content": "about {tools}"}, {"role": "user", "content": "literal {tool_calls} here"}]
    told += [{"role": "assistant", "content": "{content}", "tool_calls": [{"name": "ls", "arguments": {}}]}]
    tool = [{"type": "function", "function": {"name": "UNIQUE"}}]
    (text,), _ = render_jinja_template([told], chat_template=OWN.jinja_template(), tools=tool)
    assert text.count("UNIQUE") == 1
    assert "about {tools}" in text
    assert "literal {tool_calls} here<|im_end|>" in text
    assert text.count('{"name": "ls"') == 1


def test_a_call_without_a_mapping_of_arguments_is_refused_where_parameters_are_told():
    call = {"name": "ls", "arguments": '{"path": "."}'}
    asked = [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [call]}]
    with pytest.raises(jinja2.TemplateError, match="must be a mapping"):
        render_jinja_template([asked], chat_template=CASES["parameters"].jinja_template())
    (text,), _ = render_jinja_template([asked], chat_template=OWN.jinja_template())
    assert json.dumps(call["arguments"]) not in text
    assert call["arguments"] in text


def test_a_processor_without_a_jinja_face_says_so():
    nameless = replace(OWN, tool_policy=ToolPolicy(content_processor=lambda tool: tool))
    with pytest.raises(TemplateError, match=r"tool_policy\.content_processor: .* give it a method jinja\(\)"):
        nameless.jinja_template()

    class Mute(ToolFormatter):
        def format(self, tools):
            return ""

    with pytest.raises(TemplateError, match=r"tool_policy\.formatter: .* give it a method jinja\(\)"):
        replace(OWN, tool_policy=ToolPolicy(formatter=Mute())).jinja_template()


def test_the_export_can_do_without_generation_marks():
    assert "generation %}" in OWN.jinja_template()
    assert "generation %}" not in OWN.jinja_template(generation=False)
