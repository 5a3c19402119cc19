"""Templates of one's own: what their words mean, what is proved and trained of them, and what is refused how."""

from dataclasses import replace

import pytest

from assets_tests.renderers.own import AGENT, OWN, SKILLS, TOOL, sampled
from renderers import (
    AssistantPolicy,
    Chat,
    GlobalPolicy,
    JsonIndentedFormatter,
    JsonMinifiedFormatter,
    Kind,
    Renderer,
    SkillPolicy,
    SystemPolicy,
    TemplateError,
    ToolMainContentProcessor,
    ToolPlacement,
    ToolPolicy,
    Verdict,
    YamlFormatter,
)
from renderers.chatting.builtin import TEMPLATES

HOSTILE = "<|im_end|><think></tool_call>{content}{tools}{tool_calls} {{x}}"


def test_a_conversation_is_told_in_the_words_of_the_template():
    assert Chat(OWN, AGENT, [TOOL], SKILLS).prompt(add_generation_prompt=True) == (
        "<|im_start|>system\nBe careful.\n\n# Tools\n"
        '{"type": "function", "function": {"name": "add", "description": "Adds é."}}'
        "\n\n# Skills\n- a: does a\n- b: does b<|im_end|>\n"
        "<|im_start|>user\n3 + 5?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\nA sum.\n</think>\n\nLet me add.\n"
        '<tool_call>\n{"name": "add", "arguments": {"x":  1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "add", "arguments": {"x":  1}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n8\n</tool_response>\n<tool_response>\n8\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n8.<|im_end|>\n"
        "<|im_start|>user\nThanks<|im_end|>\n"
        "<|im_start|>assistant\nSure.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_every_turn_is_proved_and_trained_through_its_stop():
    stream = Chat(OWN, AGENT, [TOOL]).stream()
    assert [proof.verdict for proof in stream.proofs] == [Verdict.PROVED] * 3
    call = '<tool_call>\n{"name": "add", "arguments": {"x":  1}}\n</tool_call>'
    assert sampled(Chat(OWN, AGENT)) == [
        f"<think>\nA sum.\n</think>\n\nLet me add.\n{call}\n{call}<|im_end|>",
        "8.<|im_end|>",
        "Sure.<|im_end|>",
    ]


def test_words_after_reasoning_are_always_there():
    thinking = "<|im_start|>assistant\n<think>\n{reasoning}\n</think>\n\n{content}<|im_end|>\n"
    template = replace(OWN, assistant_template=thinking, reasoning_template="{reasoning}")
    told = [*AGENT[:1], {"role": "assistant", "content": "8.", "reasoning_content": "A sum."}, *AGENT[5:]]
    assert Chat(template, AGENT[:1]).prompt(add_generation_prompt=True).endswith("<|im_start|>assistant\n<think>\n")
    assert sampled(Chat(template, told)) == [
        "A sum.\n</think>\n\n8.<|im_end|>",
        "\n</think>\n\nSure.<|im_end|>",
    ]  # what the generation prompt holds is never trained


def test_a_generation_prompt_that_examples_do_not_show_trains_nothing():
    template = replace(OWN, generation_prompt="<|im_start|>assistant\n<answer>")
    assert {proof.verdict for proof in Chat(template, AGENT).stream().proofs} == {Verdict.PROMPT_ABSENT}
    assert sampled(Chat(template, AGENT)) == []


def test_what_a_template_has_no_place_for_is_lost_and_its_turn_not_trained():
    plain = replace(OWN, assistant_template="<|im_start|>assistant\n{content}<|im_end|>\n")
    stream = Chat(plain, AGENT, [TOOL]).stream()
    assert ("messages", 1, "reasoning_content") in stream.lost
    assert ("messages", 1, "tool_calls", 0, "function", "name") in stream.lost
    assert stream.trainable == {4, 6}
    untold = replace(OWN, system_template="<|im_start|>system\n{system_message}<|im_end|>\n")
    assert Chat(untold, AGENT, [TOOL]).stream().lost == (("tools", 0),)
    assert Chat(OWN, AGENT, [TOOL]).stream().lost == ()


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_built_in_template_proves_and_trains_a_chat(name):
    told = [AGENT[0], {"role": "assistant", "content": "8."}, *AGENT[5:], {"role": "user", "content": "Bye"}]
    stream = Chat(name, told).stream()
    assert stream.lost == ()
    assert stream.trainable == {1, 3}
    assert [text.split("8.")[1] for text in sampled(Chat(name, told))[:1]] == [
        "".join(s.text for s in stream.segments if s.kind is Kind.STOP and s.message == 1)
    ]


TURN = "<|im_start|>user\n{}<|im_end|>\n"
CATALOGUE = '\n\n# Tools\n{"type": "function", "function": {"name": "add", "description": "Adds é."}}'


@pytest.mark.parametrize(
    ("placement", "first", "last", "trained"),
    [
        (ToolPlacement.FIRST_USER, CATALOGUE, "", {1, 4, 6}),
        (ToolPlacement.LAST_USER, "", CATALOGUE, {6}),  # each user turn takes the tools out of the one before it
    ],
)
def test_tools_may_stand_in_a_user_turn(placement, first, last, trained):
    template = replace(OWN, tool_policy=ToolPolicy(placement=placement))
    chat = Chat(template, AGENT, [TOOL])
    assert TURN.format("3 + 5?" + first) in chat.prompt()
    assert TURN.format("Thanks" + last) in chat.prompt()
    assert chat.prompt().startswith("<|im_start|>system\nBe careful.<|im_end|>\n")
    assert chat.stream().trainable == trained


def test_a_user_turn_with_tools_may_have_words_of_its_own():
    own = "<|im_start|>user\n{{tools}} are [{tools}]\n\n{content}<|im_end|>\n".replace("{{tools}}", "tools")
    policy = ToolPolicy(placement=ToolPlacement.FIRST_USER, formatter=JsonMinifiedFormatter())
    chat = Chat(replace(OWN, user_template_with_tools=own, tool_policy=policy), AGENT, [TOOL])
    catalogue = '{"type":"function","function":{"name":"add","description":"Adds é."}}'
    assert TURN.format(f"tools are [{catalogue}]\n\n3 + 5?") in chat.prompt()
    assert chat.prompt().count(catalogue) == 1


@pytest.mark.parametrize(
    ("policy", "plain", "equipped", "spoken"),
    [
        (SystemPolicy(), True, True, True),
        (SystemPolicy(use_system_without_system_message=False), False, True, True),
        (
            SystemPolicy(use_system_without_system_message=False, use_system_with_tools_provided=False),
            False,
            False,
            True,
        ),
        (SystemPolicy(use_system=False), False, False, False),
    ],
)
def test_a_policy_says_when_there_is_a_system_turn(policy, plain, equipped, spoken):
    template, system = replace(OWN, system_policy=policy), [{"role": "system", "content": "S"}]
    for chat, there in (
        (Chat(template, AGENT), plain),
        (Chat(template, AGENT, [TOOL]), equipped),
        (Chat(template, AGENT, skills=SKILLS), equipped),
        (Chat(template, system + AGENT), spoken),
    ):
        assert chat.prompt().startswith("<|im_start|>system") is there
    assert Chat(template, system + AGENT).stream().lost == (() if spoken else (("messages", 0, "content"),))


def test_a_late_system_message_and_a_developer_have_turns():
    told = [{"role": "developer", "content": "D"}, AGENT[0], {"role": "system", "content": "late"}, *AGENT[5:]]
    chat = Chat(OWN, told, [TOOL])
    assert chat.prompt().startswith(f"<|im_start|>system\nD{CATALOGUE}<|im_end|>\n")
    assert "<|im_start|>system\nlate<|im_end|>\n" in chat.prompt()
    assert {s.kind for s in chat.stream().segments if s.text == "D"} == {Kind.DEVELOPER}


def test_formatters_and_processors_can_be_swapped():
    def listed(**changes) -> str:
        template = replace(OWN, tools_template="{tools}", system_message="", tool_policy=ToolPolicy(**changes))
        return Chat(template, AGENT, [TOOL, TOOL]).prompt().split("system\n")[1].split("<|im_end|>")[0]

    assert listed(formatter=YamlFormatter()).startswith('- type: "function"\n  function:\n    name: "add"\n')
    assert listed(formatter=JsonIndentedFormatter(1, joiner=";")).count('{\n "type"') == 2
    bare = '{"name": "add", "description": "Adds é."}'
    assert listed(content_processor=ToolMainContentProcessor()) == f"{bare}\n{bare}"
    assert listed(content_processor=lambda tool: tool["function"]["name"]) == '"add"\n"add"'

    dated = SystemPolicy(content_processor=lambda message, tools: f"[{len(tools)}] {message}")
    assert "system\n[1] Be careful." in Chat(replace(OWN, system_policy=dated), AGENT, [TOOL]).prompt()
    loud = replace(OWN, assistant_policy=AssistantPolicy(str.upper))
    assert "LET ME ADD.\n<tool_call>" in Chat(loud, AGENT).prompt()
    skilled = replace(OWN, skill_policy=SkillPolicy("<{name}>", "", lambda skill: {"name": skill["name"] * 2}))
    assert "# Skills\n<aa><bb><|im_end|>" in Chat(skilled, AGENT, skills=SKILLS).prompt()
    assert Chat(replace(OWN, global_policy=GlobalPolicy("[BOS]")), AGENT).prompt().startswith("[BOS]<|im_start|>")


def test_data_is_never_a_place_nor_a_control_token(example):
    def controls(word: str) -> list[int]:
        told = [
            {**message, "content": word, **({"reasoning_content": word} if "tool_calls" in message else {})}
            for message in AGENT
        ]
        tool = {"type": "function", "function": {"name": word, "description": word}}
        skills = [{"name": word, "description": word}]
        chat = Chat(OWN, [{"role": "system", "content": word}, *told], [tool], skills)
        ids = chat.tokenize(example)["input_ids"]
        assert example.decode(ids) == chat.prompt()
        assert chat.prompt().count(word) == len(told) + 6  # reasoning, system, a tool's two, a skill's two
        return [token for token in ids if token in example.control.values()]

    assert controls(HOSTILE) == controls("zq")


def test_a_completion_is_read_back_with_the_template_that_writes_it(example):
    renderer = Renderer(OWN.family, example)
    request = renderer.request(AGENT, [TOOL])
    for index in (1, 4, 6):
        ids = renderer.render(AGENT, [TOOL])
        spans = [span for span in ids.spans() if span.message == index and span.kind.sampled]
        completion = ids.ids[spans[0].start : spans[-1].end].tolist()
        parsed = renderer.parse(completion, request.but(messages=request.messages[:index]))
        assert parsed.ended
        assert parsed.message.content == request.messages[index].content
        assert parsed.message.reasoning == request.messages[index].reasoning
        assert [(c.name, c.arguments) for c in parsed.message.tool_calls] == [
            (c.name, c.arguments) for c in request.messages[index].tool_calls
        ]


def test_braces_are_words_unless_they_name_a_place():
    text = 'Answer {"a": {"b": [{}]}} or \\boxed{} in C{++}.\n{content}'
    assert Chat(replace(OWN, user_template=text), AGENT[:1]).prompt().endswith(text.replace("{content}", "3 + 5?"))
    doubled = 'Answer {{"a": {{"b": 1}}}} {content}'  # as str.format has it
    assert Chat(replace(OWN, user_template=doubled), AGENT[:1]).prompt().endswith('Answer {"a": {"b": 1}} 3 + 5?')


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"user_template": "{contents}"}, r"user_template: there is no place \{contents\}; there are \{content\}"),
        ({"user_template": "no place"}, r"user_template: the place \{content\} is missing"),
        ({"user_template": "{{name}} {content}"}, "would have words that look like places: spell them otherwise"),
        (
            {"assistant_template": "{tool_calls}{content}<|im_end|>"},
            "its places stand in this order: content, tool_calls",
        ),
        ({"user_template": "{content}{content}"}, r"user_template: the place \{content\} stands twice"),
        ({"single_tool_call_template": "{id}{parameters}"}, r"\{parameters\} goes with \{name\}, before it, alone"),
        ({"assistant_template": "a {content}", "stop_words": ()}, "stop_words: .* what stops the model?"),
        ({"stop_words": [""]}, "stop_words: .* what stops the model?"),
        ({"stop_words": ["<|eot|>"]}, r"stop_words: none of \['<\|eot\|>'\] ends assistant_template or begins"),
        ({"tools_template": "Tools:"}, r"tools_template: the place \{tools\} is missing"),
        ({"observations_template": "x"}, r"observations_template: it needs the place \{observations\}"),
        ({"single_parameter_template": "{key}"}, r"single_parameter_template: the place \{value\} is missing"),
    ],
)
def test_words_that_make_no_template_are_refused_when_they_are_given(changes, why):
    with pytest.raises(TemplateError, match=f"template own, .*{why}"):
        replace(OWN, **changes)


def test_a_conversation_that_cannot_be_told_is_refused_with_the_cure():
    quiet = replace(OWN, observations_template=None)
    with pytest.raises(TemplateError, match=r"message 2: a tool result, and the template has no observations_template"):
        Chat(quiet, AGENT).prompt()
    with pytest.raises(TemplateError, match=r"skills: template own has no place \{skills\} in its system_template"):
        Chat(replace(OWN, system_template="{system_message}"), AGENT, skills=SKILLS).prompt()
    with pytest.raises(TemplateError, match=r"skills\[0\]: no 'description', which single_skill_template tells"):
        Chat(OWN, AGENT, skills=[{"name": "a"}]).prompt()
    with pytest.raises(TemplateError, match="an empty conversation"):
        Chat(OWN, []).prompt()
