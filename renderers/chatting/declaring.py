"""A template of one's own, declared: its words as the bricks of `renderers.template`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from renderers.chatting.policies import ToolPlacement
from renderers.chatting.wording import Wording
from renderers.errors import TemplateError
from renderers.messages import Message, ToolCall, Turn, fact, last_user, text, tojson
from renderers.patterns import Brick, Data, content, fill, given, pieces, refuse, run
from renderers.segments import KIND_OF, Kind, Said, Segment
from renderers.template import Assistant, Template
from renderers.toolcalls import Call, Calls, ParameterCall

OPENING = ("system", "developer")
"""Roles of a message that may open a conversation and is told in the system turn."""
NO_RESULTS = "a tool result, and the template has no observations_template to tell it with"


def declared(wording: Wording) -> Template:
    """The template that tells what these words tell. Raises TemplateError for words that make none."""
    told = _Told(wording)
    return Template(
        start=(told.head,),
        head=lambda turn: turn.first in OPENING,
        turns={"system": told.system, "developer": told.system, "user": told.user, "tool": results(wording)},
        assistant=assistant(wording),
        prompt=generation_prompt(wording),
        media=wording.media,
        views={} if wording.tool_policy.placement is ToolPlacement.SYSTEM else {"user": told.holds_tools},
    )


def generation_prompt(wording: Wording) -> str:
    return wording.written.open if wording.generation_prompt is None else wording.generation_prompt


def nested(pattern: str, message: int | None, /, **told: Iterable[Said]) -> Iterable[Said]:
    """A pattern whose places are told by others."""
    for position, piece in enumerate(pieces(pattern)):
        if position % 2:
            yield from told[piece]
        elif piece:
            yield Segment(piece, Kind.SCAFFOLD, message)


@fact
def first_user(turn: Turn) -> int | None:
    return next((index for index, message in enumerate(turn.messages) if message.role == "user"), None)


class _Told:
    """What the model is told in these words."""

    def __init__(self, wording: Wording):
        self.wording, self.patterns = wording, wording.patterns
        self.in_system = wording.tool_policy.placement is ToolPlacement.SYSTEM
        self.holder = first_user if wording.tool_policy.placement is ToolPlacement.FIRST_USER else last_user

    def head(self, turn: Turn) -> Iterable[Said]:
        """What stands before everything, and the system turn that opens the conversation or is there anyway."""
        if self.wording.global_policy.prefix:
            yield Segment(self.wording.global_policy.prefix)
        given, policy = {"tools": turn.tools, "skills": turn.flags.get("skills")}, self.wording.system_policy
        spoken = turn.first in OPENING
        sections = self.wording.sections(spoken=spoken)
        if given["skills"] and "skills" not in sections:
            where = self.wording.opening(spoken=spoken)
            raise TemplateError(f"skills: template {self.wording.name} has no place {{skills}} in its {where}")
        filled = any(given[section] for section in sections)
        anyway = policy.use_system_without_system_message or (filled and policy.use_system_with_tools_provided)
        if policy.use_system and (spoken or anyway):
            opening, tools = turn.at(0) if spoken else turn, self.tools(turn) if self.in_system else ()
            yield from self.system(opening, said=self.opening(opening), tools=tools, skills=self.skills(turn))

    def system(
        self,
        turn: Turn,
        said: Iterable[Said] | None = None,
        tools: Iterable[Said] = (),
        skills: Iterable[Said] = (),
    ) -> Iterable[Said]:
        """A system turn; without tools and skills where it does not open the conversation."""
        told = spoken(turn) if said is None else said
        pattern = self.patterns[self.wording.opening(spoken=turn.index is not None)]
        return nested(pattern, turn.index, system_message=told, tools=tools, skills=skills)

    def opening(self, turn: Turn) -> Iterable[Said]:
        """What the first system turn says: the message, or the template's own words."""
        change = self.wording.system_policy.content_processor
        if turn.index is None:
            words = self.wording.system_message
            words = change(words, tools=turn.tools) if change else words
            return iter([Segment(words, Kind.SYSTEM)] if words else [])
        if not change:
            return spoken(turn)
        message = turn.message
        return spoken(turn, message.but(content=change(text(message.content), tools=turn.tools)))

    def user(self, turn: Turn) -> Iterable[Said]:
        if self.in_system or not self.holds_tools(turn):
            return nested(self.patterns["user_template"], turn.index, content=spoken(turn))
        if self.wording.user_template_with_tools is None:
            behind = self.patterns["user_template"].replace("{content}", "{content}{tools}")
            return nested(behind, turn.index, content=spoken(turn), tools=self.tools(turn))
        pattern = self.patterns["user_template_with_tools"]
        return nested(pattern, turn.index, content=spoken(turn), tools=self.catalogue(turn))

    def holds_tools(self, turn: Turn) -> bool:
        """Whether the tools stand in this user turn."""
        return bool(turn.tools) and self.holder(turn) == turn.index

    def tools(self, turn: Turn) -> Iterable[Said]:
        """The section of the tools, if there are some."""
        return nested(self.patterns["tools_template"], None, tools=self.catalogue(turn)) if turn.tools else iter(())

    def catalogue(self, turn: Turn) -> Iterable[Said]:
        """The tools alone."""
        policy = self.wording.tool_policy
        tools = [policy.content_processor(t) for t in turn.tools] if policy.content_processor else list(turn.tools)
        if "single_tool_template" not in self.patterns:
            yield Segment(policy.formatter.format(tools), Kind.TOOLS, literal=False, origin=("tools",))
            return
        for index, tool in enumerate(tools):
            data = given(policy.formatter.format([tool]), "tools", index)
            yield from fill(self.patterns["single_tool_template"], None, Kind.TOOLS, tool=data)

    def skills(self, turn: Turn) -> Iterable[Said]:
        """The section of the skills, if there are some."""
        skills = turn.flags.get("skills")
        return nested(self.patterns["skills_template"], None, skills=self.listed(skills)) if skills else iter(())

    def listed(self, skills: Iterable[Mapping[str, Any]]) -> Iterable[Said]:
        policy, pattern = self.wording.skill_policy, self.patterns["single_skill_template"]
        places = pieces(pattern)[1::2]
        for index, skill in enumerate(skills):
            if index and policy.joiner:
                yield Segment(policy.joiner)
            made = policy.content_processor(dict(skill)) if policy.content_processor else skill
            if missing := set(places) - made.keys():
                raise TemplateError(f"skills[{index}]: no {min(missing)!r}, which single_skill_template tells")
            fields = {place: given(told(made[place]), "flags", "skills", index, place) for place in places}
            parts = {place: fill("{field}", None, Kind.TOOLS, field=data) for place, data in fields.items()}
            yield from nested(pattern, None, **parts)


def told(value: Any) -> str:
    """A string as it is, everything else as JSON."""
    return value if isinstance(value, str) else tojson(value)


def spoken(turn: Turn, message: Message | None = None) -> Iterable[Said]:
    """What a message says, or what is made of it."""
    assert turn.index is not None, "the end says nothing"
    message = turn.message if message is None else message
    return fill("{content}", turn.index, KIND_OF[message.role], content=content(turn.index, message))


def results(wording: Wording) -> Brick:
    """Tool results in a row."""
    pattern = wording.patterns.get("observations_template")
    if pattern is None:
        return refuse(NO_RESULTS)
    open_, *rest = pieces(pattern)
    if rest[::2] not in (["observations"], ["observation"]):
        raise wording.wrong("observations_template", "it needs the place {observations}, once")
    each = wording.patterns["single_observation_template"]
    return run(open_, each, rest[1], observation=content, name=field("name"), tool_call_id=field("tool_call_id"))


def field(name: str) -> Callable[[int, Message], Data]:
    """A field of a message, to fill a place with."""
    return lambda index, message: given(getattr(message, name) or "", "messages", index, name)


def assistant(wording: Wording) -> Assistant:
    """What the model writes in these words."""
    written, thinks = wording.written, wording.written.after_reasoning is not None
    after = written.after_reasoning or ""
    return Assistant(
        open=written.open,
        stop=written.stop,
        stops=wording.stops,
        think=wording.patterns["reasoning_template"] + after if thinks else "",
        thinks=(lambda turn: bool(turn.message.reasoning)) if thinks else (lambda turn: False),
        no_think=after,
        calls=None if written.before_calls is None else calls(wording, written.before_calls),
        lent=written.lent,
        after=written.after,
        prepare=prepared(wording),
    )


def calls(wording: Wording, before: str) -> Calls:
    open_, _, close = pieces(wording.patterns["tool_calls_template"])
    one, joiner = wording.patterns["single_tool_call_template"], wording.tool_calls_joiner
    call = Call(one)
    if "{parameters}" in one:
        opening, _, closing = one.partition("{parameters}")
        if pieces(opening)[1::2] != ("name",) or len(pieces(closing)) > 1:
            raise wording.wrong("single_tool_call_template", "{parameters} goes with {name}, before it, alone")
        call = ParameterCall(opening, wording.patterns["single_parameter_template"], closing)
    return Calls(call, after_content=before, open=open_, between=joiner, close=close)


def prepared(wording: Wording) -> Callable[[Message, bool], Message]:
    """What the processors make of an assistant message."""
    answer, call = wording.assistant_policy.content_processor, wording.tool_policy.tool_call_content_processor

    def made(asked: ToolCall) -> ToolCall:
        assert call is not None, "only where calls are processed"
        new = call({"name": asked.name, "arguments": asked.arguments})
        return ToolCall(new["name"], told(new["arguments"]), asked.id)

    def prepare(message: Message, thinks: bool) -> Message:
        if answer:
            message = message.but(content=answer(text(message.content)))
        return message.but(tool_calls=tuple(map(made, message.tool_calls))) if call else message

    return prepare
