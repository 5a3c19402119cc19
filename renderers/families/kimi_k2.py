"""Kimi K2: every turn under a name, no line breaks between turns, and a call known by its id.

::

    <|im_assistant|>assistant<|im_middle|>{content}<|tool_calls_section_begin|>
    <|tool_call_begin|>functions.{name}:{number}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>
    <|tool_calls_section_end|><|im_end|>        (all of it in one line)

A turn's header is the message's `name`, or its role. The id of a call is all that is told of its function: Moonshot
asks for `functions.{name}:{number}`, numbered through the conversation. Of a call with any other id the name is lost,
and so is its turn; with the flag `number_calls`, which upstream has not, such calls and their results get an id of this
form. Reasoning is lost: this model has none.

Differs from the official template, on purpose:
- content that is a mapping is told as JSON; upstream tells its keys
- an assistant's own name is not told: its header would not be the generation prompt's
- media are refused: there are no words for them
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from renderers.arguments import Schemas, status_of
from renderers.messages import Message, ToolCall, Turn
from renderers.patterns import Brick, Data, fill, given, say, take
from renderers.segments import Kind, Said
from renderers.template import Assistant, Template, never
from renderers.toolcalls import Call, Calls, Change, Read, numbered

ASSISTANT = "<|im_assistant|>assistant<|im_middle|>"
KIMI = "<|im_system|>system<|im_middle|>You are Kimi, an AI assistant created by Moonshot AI.<|im_end|>"


@dataclass(frozen=True)
class CallById(Call):
    """A call whose id names its function: places `{id}` and `{arguments}`."""

    def write(self, index: int, position: int, call: ToolCall) -> Iterable[Said]:
        place = ("messages", index, "tool_calls", position)
        told = given(call.id or "", *place, "id")
        if call.id and function(call.id) == call.name:
            number = call.id.removeprefix(f"functions.{call.name}")
            name = given(call.name, *place, "function", "name")
            told = (*given("functions.", *place, "id"), *name, *given(number, *place, "id"))
        arguments = given(call.arguments, *place, "function", "arguments")
        return fill(self.pattern, index, Kind.TOOL_CALL, Kind.TOOL_CALL, id=told, arguments=arguments)

    def read(self, text: str, schemas: Schemas, *, loose: bool = False) -> Read | None:
        found = None if loose else take(self.pattern, text, value="arguments")
        if not found:
            return None
        known, arguments = found[0]["id"], found[0]["arguments"]
        return Read(ToolCall(function(known), arguments, known), found[1], status_of(arguments))

    def worded(self, change: Change) -> "CallById":
        return CallById(change(self.pattern))


def function(known: str) -> str:
    """The function that an id names; "" if none."""
    name, colon, number = known.removeprefix("functions.").rpartition(":")
    return name if colon and number.isdecimal() and known.startswith("functions.") else ""


def known_as(call: ToolCall, number: int) -> str:
    """The id of a call: its own, if that names its function."""
    return call.id if call.id and function(call.id) == call.name else f"functions.{call.name}:{number}"


def named(mark: str, role: str, body: str = "{content}") -> Brick:
    """A turn under the name of who speaks, or of the role."""
    plain, own = (
        say(f"<|im_{mark}|>{who}<|im_middle|>{body}<|im_end|>", name=name, id=answered) for who in (role, "{name}")
    )
    return lambda turn: (own if turn.message.name else plain)(turn)


def name(index: int, message: Message) -> Data:
    return given(message.name or "", "messages", index, "name")


def answered(index: int, message: Message) -> Data:
    """The call that a result answers."""
    return given(message.tool_call_id or "", "messages", index, "tool_call_id")


def tools(turn: Turn) -> Iterable[Said]:
    """All tools as one list, without a space."""
    if not turn.tools:
        return
    last = len(turn.tools) - 1
    spelled = (json.dumps(tool, ensure_ascii=False, separators=(",", ":")) for tool in turn.tools)
    listed = tuple((("," if i else "[") + tool + "]" * (i == last), ("tools", i)) for i, tool in enumerate(spelled))
    yield from say("<|im_system|>tool_declare<|im_middle|>{tools}<|im_end|>", Kind.TOOLS, tools=listed)(turn)


def kimi(words: str) -> Brick:
    """Who it is, where no system message stands first."""
    return lambda turn: say("" if turn.first == "system" else words)(turn)


TEMPLATE = Template(
    start=(tools, kimi(KIMI + "\n")),
    head=never,
    turns={
        "system": named("system", "system"),
        "developer": named("system", "developer"),
        "user": named("user", "user"),
        "tool": named("system", "tool", "## Return of {id}\n{content}"),
    },
    assistant=Assistant(
        open=ASSISTANT,
        calls=Calls(
            CallById("<|tool_call_begin|>{id}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"),
            open="<|tool_calls_section_begin|>",
            close="<|tool_calls_section_end|>",
        ),
        stop="<|im_end|>",
    ),
    prompt=ASSISTANT,
    arrange=partial(numbered, known_as=known_as),
)
