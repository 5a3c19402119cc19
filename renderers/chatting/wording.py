"""The words of a template of one's own: strings with places, and the policies beside them.

A place is its name in braces: `{content}`. Other braces are words. A string that doubles an opening brace is read as
`str.format` reads it: `{{` and `}}` are one brace each. What fills a place is data, never words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import NamedTuple

from renderers.chatting.policies import (
    AssistantPolicy,
    GlobalPolicy,
    SkillPolicy,
    SystemPolicy,
    ToolPlacement,
    ToolPolicy,
)
from renderers.errors import TemplateError
from renderers.media import Medium
from renderers.patterns import pieces

BRACE = re.compile(r"\{\{|\}\}|\{[a-z_]+\}")
"""A doubled brace or a place."""


class Places(NamedTuple):
    """The places of a string."""

    needed: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


PLACES = {
    "system_template": Places((), ("system_message", "tools", "skills")),
    "default_system_template": Places((), ("system_message", "tools", "skills")),
    "tools_template": Places(("tools",)),
    "single_tool_template": Places(("tool",)),
    "skills_template": Places(("skills",)),
    "user_template": Places(("content",)),
    "user_template_with_tools": Places(("content", "tools")),
    "assistant_template": Places(("content",), ("reasoning", "tool_calls")),
    "reasoning_template": Places(("reasoning",)),
    "tool_calls_template": Places(("tool_calls",)),
    "single_tool_call_template": Places((), ("tool_call", "name", "arguments", "id", "parameters")),
    "single_parameter_template": Places(("key", "value"), ("string",)),
    "observations_template": Places((), ("observations", "observation")),
    "single_observation_template": Places(("observation",), ("name", "tool_call_id")),
}
"""What may stand where, by field."""
SKILL = "skill_policy.single_skill_template"


@dataclass(frozen=True)
class Wording:
    """How every part of a conversation is worded."""

    name: str
    system_template: str = "{system_message}"
    """A system turn, with `{system_message}`, and `{tools}` and `{skills}` where these sections stand."""
    system_message: str = ""
    """What the system turn says where the conversation brings none."""
    default_system_template: str | None = None
    """The system turn where the conversation brings none; else `system_template`."""
    user_template: str = "{content}"
    user_template_with_tools: str | None = None
    """The user turn that holds the tools, bare; else the section of `tools_template` stands behind its content."""
    assistant_template: str = "{content}"
    """What the model is to write, with `{content}`, `{reasoning}` before it and `{tool_calls}` after it. The words
    before the first place open the turn, those after the last end it; those after reasoning are always there, those
    between content and calls where there are both."""
    reasoning_template: str = "<think>\n{reasoning}\n</think>\n\n"
    """The section `{reasoning}`, where a message has some."""
    tool_calls_template: str = "{tool_calls}"
    """The section `{tool_calls}`, where a message calls something."""
    single_tool_call_template: str = "{tool_call}"
    """One call: its `{name}`, `{id}`, and `{arguments}` as one JSON text or `{parameters}` one by one. `{tool_call}` is
    `{"name": "{name}", "arguments": {arguments}}`."""
    single_parameter_template: str = "{key}={value}\n"
    """One parameter; `{string}` is `true` where its value is a string, else `false`."""
    tool_calls_joiner: str = ""
    """Stands between calls."""
    observations_template: str | None = None
    """Tool results in a row, with `{observations}`; without it a conversation with results is refused."""
    single_observation_template: str = "{observation}"
    """One result, with its `{name}` and `{tool_call_id}` if need be."""
    tools_template: str = "{tools}"
    """The section `{tools}`, where there are some."""
    single_tool_template: str | None = None
    """One tool, where the formatter is not to write them all at once."""
    skills_template: str = "{skills}"
    """The section `{skills}`, where there are some."""
    stop_words: str | Sequence[str] = ()
    """What ends what the model writes: the first of them in the end of `assistant_template`; or, where none stands
    there, those that begin the turn which follows."""
    generation_prompt: str | None = None
    """What hands the turn to the model; else what opens `assistant_template`."""
    image_token: str = ""
    """Stands for an image of the user's or a tool's (`media`); without it they are refused."""
    video_token: str = ""
    """The same for a video."""
    vision_start: str = ""
    """Stands before each of them."""
    vision_end: str = ""
    """Stands behind each of them."""
    global_policy: GlobalPolicy = field(default_factory=GlobalPolicy)
    system_policy: SystemPolicy = field(default_factory=SystemPolicy)
    assistant_policy: AssistantPolicy = field(default_factory=AssistantPolicy)
    tool_policy: ToolPolicy = field(default_factory=ToolPolicy)
    skill_policy: SkillPolicy = field(default_factory=SkillPolicy)

    @cached_property
    def patterns(self) -> dict[str, str]:
        """Every string as a pattern, by field. Raises TemplateError naming the field and its places."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name in PLACES}
        read = {name: self.read(name, text, PLACES[name]) for name, text in told.items() if text is not None}
        call = '{"name": "{name}", "arguments": {arguments}}'
        read["single_tool_call_template"] = read["single_tool_call_template"].replace("{tool_call}", call)
        return {**read, "single_skill_template": self.read(SKILL, self.skill_policy.single_skill_template, None)}

    def read(self, name: str, text: str, places: Places | None) -> str:
        """A string as a pattern. `places`: None where any may stand."""
        doubled = "{{" in text
        pattern = BRACE.sub(lambda found: found[0][:1] if len(found[0]) == 2 else found[0], text) if doubled else text
        found = pieces(pattern)[1::2]
        if len(found) > sum(len(brace) > 2 for brace in BRACE.findall(text)):
            raise self.wrong(name, f"{pattern!r} would have words that look like places: spell them otherwise")
        if twice := [place for place in found if found.count(place) > 1]:
            raise self.wrong(name, f"the place {{{twice[0]}}} stands twice in {text!r}")
        if places is None:
            return pattern
        if unknown := [place for place in found if place not in (*places.needed, *places.more)]:
            known = ", ".join(f"{{{place}}}" for place in (*places.needed, *places.more))
            raise self.wrong(name, f"there is no place {{{unknown[0]}}}; there are {known}")
        if missing := [place for place in places.needed if place not in found]:
            raise self.wrong(name, f"the place {{{missing[0]}}} is missing in {text!r}")
        return pattern

    def wrong(self, name: str, why: str) -> TemplateError:
        return TemplateError(f"template {self.name}, {name}: {why}")

    def opening(self, *, spoken: bool) -> str:
        """The field that words the system turn which opens a conversation, `spoken` by the conversation or not."""
        return "system_template" if spoken or self.default_system_template is None else "default_system_template"

    def sections(self, *, spoken: bool) -> tuple[str, ...]:
        """What stands in that turn, beside its message."""
        elsewhere = {"tools"} if self.tool_policy.placement is not ToolPlacement.SYSTEM else set()
        found = pieces(self.patterns[self.opening(spoken=spoken)])[1::2]
        return tuple(name for name in ("tools", "skills") if name in found and name not in elsewhere)

    @property
    def media(self) -> dict[str, Medium]:
        """How images and videos are told."""
        pads = {"image": self.image_token, "video": self.video_token}
        words = f"{self.vision_start}{{pad}}{self.vision_end}"
        return {kind: Medium(words, pad) for kind, pad in pads.items() if pad}

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop_words,) if isinstance(self.stop_words, str) else tuple(self.stop_words)

    @cached_property
    def written(self) -> "Written":
        """`assistant_template`, taken apart."""
        open_, *rest = pieces(self.patterns["assistant_template"])
        places, words = rest[::2], rest[1::2]
        order = [place for place in ("reasoning", "content", "tool_calls") if place in places]
        if list(places) != order:
            raise self.wrong("assistant_template", f"its places stand in this order: {', '.join(order)}")
        between = dict(zip(places, words, strict=True))
        before_calls = between["content"] if "tool_calls" in places else None
        return Written(open_, between.get("reasoning"), before_calls, *self._ending(words[-1]))

    def _ending(self, tail: str) -> tuple[str, str, tuple[str, ...]]:
        """What stops a turn, what stands behind the stop, and the openings of other turns that stop it."""
        ends = [tail.index(stop) + len(stop) for stop in self.stops if stop and stop in tail]
        if ends or (not self.stops and tail.strip()):
            end = min(ends) if ends else len(tail.rstrip())
            return tail[:end], tail[end:], ()
        results = self.patterns.get("observations_template", "").partition("{")[0]
        others = (self.patterns["user_template"], results or self.patterns["single_observation_template"])
        lent = tuple(stop for stop in self.stops if stop and any(other.startswith(stop) for other in others))
        if not lent:
            why = f"none of {list(self.stops)} ends assistant_template or begins user_template: what stops the model?"
            raise self.wrong("stop_words", why)
        return "", tail, lent


class Written(NamedTuple):
    """The words around what the model writes."""

    open: str
    after_reasoning: str | None
    """None where the template has no place for reasoning."""
    before_calls: str | None
    """None where it has none for tool calls."""
    stop: str
    after: str
    lent: tuple[str, ...]
