"""Templates of one's own that differ in one thing each, and the built-in ones: what the laws of an export hold for."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

from renderers import (
    AssistantPolicy,
    GlobalPolicy,
    JsonCompactFormatter,
    JsonIndentedFormatter,
    JsonMinifiedFormatter,
    Llama32DateProcessor,
    Qwen25AssistantContentProcessor,
    SkillPolicy,
    SystemPolicy,
    Template,
    ToolFormatter,
    ToolMainContentProcessor,
    ToolPlacement,
    ToolPolicy,
    YamlFormatter,
)
from renderers.chatting.builtin import TEMPLATES


class ByName(ToolFormatter):
    """Tools by name, with blanks that an environment might trim."""

    def format(self, tools):
        return "\n" + "".join(f"  * {tool['function']['name']}\n\n" for tool in tools) + "  "

    def jinja(self):
        return "\n{% for tool in tools %}  * {{ tool.function.name }}\n\n{% endfor %}  "


class Shouting:
    """A processor of answers, tools, skills and calls."""

    def __init__(self, made: Callable, face: str):
        self.made, self.face = made, face

    def __call__(self, given, **more):
        return self.made(given)

    def jinja(self):
        return self.face


OWN = Template(
    "own",
    system_template="<|im_start|>system\n{system_message}{tools}{skills}<|im_end|>\n",
    system_message="Words like \"{these}\", 'those', {{both}} and C:\\new\r\n.",
    tools_template="\n\n# Tools\n{tools}",
    skills_template="\n\n# Skills\n{skills}\n",
    user_template="<|im_start|>user\n{content}<|im_end|>\n",
    assistant_template="<|im_start|>assistant\n{reasoning}{content}\n{tool_calls}<|im_end|>\n",
    tool_calls_template="<calls>\n{tool_calls}</calls>",
    single_tool_call_template='<call id="{id}">{tool_call}</call>',
    tool_calls_joiner=", ",
    observations_template="<|im_start|>tool\n{observations}<|im_end|>\n",
    single_observation_template="<result of='{tool_call_id}' by='{name}'>{observation}</result>\n",
    stop_words="<|im_end|>",
)
POLICIES = {
    "policies": {"system_policy": SystemPolicy(use_system_without_system_message=False)},
    "bare": {"system_policy": SystemPolicy(use_system=False)},
    "spoken": {
        "system_policy": SystemPolicy(use_system_without_system_message=False, use_system_with_tools_provided=False)
    },
    "dated": {"system_policy": SystemPolicy(content_processor=Llama32DateProcessor(date(2025, 7, 1)))},
    "prefix": {"global_policy": GlobalPolicy(prefix="<s>\n")},
    "first user": {"tool_policy": ToolPolicy(placement=ToolPlacement.FIRST_USER)},
    "last user": {"tool_policy": ToolPolicy(placement=ToolPlacement.LAST_USER, formatter=JsonMinifiedFormatter())},
    "with tools": {
        "tool_policy": ToolPolicy(placement=ToolPlacement.LAST_USER),
        "user_template_with_tools": "<|im_start|>user\n{{tools: {tools}}}\n{content}<|im_end|>\n",
    },
    "one by one": {"single_tool_template": "<tool%}>{tool}</tool>\n"},
    "yaml": {"tool_policy": ToolPolicy(formatter=YamlFormatter())},
    "named": {"tool_policy": ToolPolicy(formatter=ByName())},
    "indented": {"tool_policy": ToolPolicy(formatter=JsonIndentedFormatter(2, joiner="\n%}'\n"))},
    "unwrapped": {
        "tool_policy": ToolPolicy(formatter=JsonCompactFormatter(), content_processor=ToolMainContentProcessor())
    },
    "calls": {
        "tool_policy": ToolPolicy(
            tool_call_content_processor=Shouting(
                lambda call: {**call, "name": call["name"] + "!"},
                "{'name': call.name ~ '!', 'arguments': call.arguments}",
            )
        )
    },
    "shouted": {"assistant_policy": AssistantPolicy(Shouting(str.upper, "{{ content | upper }}"))},
    "skills": {
        "skill_policy": SkillPolicy(
            "{message} {items}: {path}", "; ", Shouting(lambda s: {**s, "path": "/x"}, "dict(skill, path='/x')")
        )
    },
    "prompted": {
        "reasoning_template": "{reasoning}",
        "assistant_template": "<|im_start|>assistant\n<think>\n{reasoning}\n</think>\n{content}<|im_end|>\n",
    },
    "parameters": {
        "single_tool_call_template": "<call {name}>{parameters}</call>",
        "single_parameter_template": "<{key} string={string}>{value}</>",
    },
    "seeing": {
        "image_token": "<pad>",
        "video_token": "<frame>",
        "vision_start": "<'%}>\n",
        "vision_end": "</>",
    },
    "silent": {"default_system_template": "<|im_start|>system\n{skills}{tools}!<|im_end|>\n"},
    "newline": {
        "assistant_template": "<|im_start|>assistant{content}\n{tool_calls}<|im_end|>\n",
        "assistant_policy": AssistantPolicy(Qwen25AssistantContentProcessor()),
    },
    "lent": {"assistant_template": "<|im_start|>assistant\n{content}", "stop_words": ("<|im_start|>user",)},
}
OWN_ONES = {name: replace(OWN, **{"name": name, **changes}) for name, changes in POLICIES.items()}
CASES = {"own": OWN, **OWN_ONES, **TEMPLATES}
