"""Choices that a template makes: where tools stand and how they look, when there is a system turn, how a skill is told.

A *processor* makes something else of what it is given: a tool, a skill, a system message, an answer. Any function will
do; to be exported it needs a method `jinja()` too. What a processor makes is data, as what it was made of: control
tokens that it spells stay text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum, auto
from typing import Any

from renderers.chatting.formatters import JsonFormatter, ToolFormatter

Processor = Callable[[Any], Any]


class ToolPlacement(Enum):
    """Where the tools stand."""

    SYSTEM = auto()
    """In the system turn, at the place `{tools}`."""
    FIRST_USER = auto()
    """In the first user turn."""
    LAST_USER = auto()
    """In the last user turn: each new one rewrites history, so that only what follows the last can be proved."""


@dataclass(frozen=True)
class ToolPolicy:
    """How tools are told."""

    placement: ToolPlacement = ToolPlacement.SYSTEM
    formatter: ToolFormatter = field(default_factory=JsonFormatter)
    content_processor: Processor | None = None
    """From a tool to what the formatter is given for it. Its `jinja()` is an expression of `tool`."""
    tool_call_content_processor: Processor | None = None
    """From a call, a dict of name and arguments, to the call that is told. Its `jinja()` is an expression of `call`."""


@dataclass(frozen=True)
class SystemPolicy:
    """When there is a system turn, and what is made of its message."""

    use_system: bool = True
    """Whether there ever is one; without it a system message that opens a conversation is lost."""
    use_system_without_system_message: bool = True
    """With the template's own message where the conversation brings none."""
    use_system_with_tools_provided: bool = True
    """For tools and skills, where the conversation brings no message."""
    content_processor: Callable[..., str] | None = None
    """From (message, tools=…) to the message that is told. Its `jinja()` prints it, of `system_message` and `tools`."""


@dataclass(frozen=True)
class AssistantPolicy:
    """What is made of an answer."""

    content_processor: Callable[[str], str] | None = None
    """From content to the content that is told. Its `jinja()` prints it, of `content`."""


@dataclass(frozen=True)
class SkillPolicy:
    """How skills are told: each in `single_skill_template`, whose places are the fields of a skill."""

    single_skill_template: str = "- {name}: {description}"
    joiner: str = "\n"
    content_processor: Processor | None = None
    """From a skill, a dict, to the dict that is told. Its `jinja()` is an expression of `skill`."""


@dataclass(frozen=True)
class GlobalPolicy:
    """What stands before everything: a BOS token, say."""

    prefix: str = ""


class ToolMainContentProcessor:
    """A tool without its wrapping `{"type": "function", "function": …}`."""

    def __call__(self, tool: Mapping[str, Any]) -> Any:
        return tool.get("function", tool)

    def jinja(self) -> str:
        return "tool.function if tool.function is defined else tool"


class Qwen25AssistantContentProcessor:
    """A newline before an answer that says something: it then belongs to what the model writes, as Qwen2.5 tells it."""

    def __call__(self, content: str) -> str:
        return f"\n{content}" if content else content

    def jinja(self) -> str:
        return "{{ '\\n' ~ content if content else '' }}"


@dataclass(frozen=True)
class Llama32DateProcessor:
    """Puts the dates of Llama 3.2 before the system message: the day is said, never the clock's."""

    today: date

    def __call__(self, system_message: str, tools: object = None) -> str:
        return self._dates + system_message

    def jinja(self) -> str:
        return self._dates + "{{ system_message }}"

    @property
    def _dates(self) -> str:
        return f"Cutting Knowledge Date: December 2023\nToday Date: {self.today:%d %b %Y}\n\n"
