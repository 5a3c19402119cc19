"""Mistral Nemo: no headers; tools stand before the last user turn, and the system message in it.

::

    <s>[INST]{content}[/INST]{content}</s>[AVAILABLE_TOOLS][{tools}][/AVAILABLE_TOOLS][INST]{system}

    {content}[/INST][TOOL_CALLS][{"name": "{name}", "arguments": {arguments}, "id": "{id}"}]</s>
    [TOOL_RESULTS]{"content": {content}, "call_id": "{id}"}[/TOOL_RESULTS]        (all of it in one line)

The system message is told only where the user speaks last: an earlier turn never shows what it was written under. A
message that calls tools says nothing else: its content is lost, as reasoning is, and so is its turn. An id has nine
characters: others are refused, or with the flag `number_calls`, which upstream has not, told as numbers of nine digits.
Users and assistants take turns, calls and results aside.

Differs from the official template, on purpose:
- content in parts is told as their joined text, and content that is a mapping as JSON; upstream prints Python, or fails
- arguments are told as they were written; upstream writes a string of arguments as a JSON string
- media are refused: there are no words for them
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from renderers.errors import TemplateError
from renderers.messages import Message, ToolCall, Turn, fact, function_of, text, tojson
from renderers.patterns import given, say
from renderers.segments import Kind, Said
from renderers.template import Assistant, Template, first_is_system
from renderers.toolcalls import Call, Calls, numbered

RESULT = '[TOOL_RESULTS]{"content": {content}, "call_id": "{id}"}[/TOOL_RESULTS]'


def checked(turn: Turn) -> Iterable[Said]:
    """Says nothing, and refuses whoever speaks out of turn, and ids of another length."""
    told = turn.messages[first_is_system(turn) :]
    spoken = [message.role for message in told if message.role != "tool" and not message.tool_calls]
    if any((role == "user") != (place % 2 == 0) for place, role in enumerate(spoken)):
        raise TemplateError("users and assistants must take turns")
    check_ids(turn)
    return iter(())


def check_ids(turn: Turn) -> None:
    for index, message in enumerate(turn.messages):
        ids = [call.id for call in message.tool_calls] + [message.tool_call_id] * (message.role == "tool")
        if any(len(known or "") != 9 for known in ids):
            cure = "number_calls=True gives it such an id"
            raise TemplateError(f"message {index}: the id of a tool call must have nine characters; {cure}")


def known_as(call: ToolCall, number: int) -> str:
    return call.id if call.id and len(call.id) == 9 else f"{number:09}"


@fact
def last_asked(turn: Turn) -> Message | None:
    return next((message for message in reversed(turn.messages) if message.role == "user"), None)


def opens_tools(turn: Turn) -> bool:
    """Whether tools stand here: before each message that says what the last of the user's says."""
    return bool(turn.tools) and turn.message == last_asked(turn)


def user(turn: Turn) -> Iterable[Said]:
    if opens_tools(turn):
        yield from offered(turn)
    yield from say("[INST]")(turn)
    if turn.last and first_is_system(turn):
        yield from say("{content}\n\n")(turn.at(0))
    yield from say("{content}[/INST]")(turn)


def offered(turn: Turn) -> Iterable[Said]:
    yield from say("[AVAILABLE_TOOLS][", Kind.TOOLS)(turn)
    for index, tool in enumerate(turn.tools):
        signature = given(spelled(function_of(tool)), "tools", index)
        lead = ", " * bool(index) + '{"type": "function", "function": {'
        yield from say(lead + "{tool}}}", Kind.TOOLS, tool=signature)(turn)
    yield from say("][/AVAILABLE_TOOLS]", Kind.TOOLS)(turn)


def spelled(function: Mapping[str, Any]) -> str:
    """A function's fields as JSON, but for strings: those stand between quotes as they are."""
    told = {key: value for key, value in function.items() if key != "return"}
    return ", ".join(f'"{key}": ' + (f'"{v}"' if isinstance(v, str) else tojson(v)) for key, v in told.items())


def result(turn: Turn) -> Iterable[Said]:
    known = given(turn.message.tool_call_id or "", "messages", turn.index or 0, "tool_call_id")
    return say(RESULT, id=known)(turn)


def prepare(message: Message, thinks: bool) -> Message:
    return message.but(content="" if message.tool_calls else text(message.content))


TEMPLATE = Template(
    start=(checked, say("<s>")),
    turns={"user": user, "tool": result},
    views={"user": opens_tools},
    assistant=Assistant(
        open="",
        prepare=prepare,
        calls=Calls(
            Call('{"name": "{name}", "arguments": {arguments}, "id": "{id}"}'),
            open="[TOOL_CALLS][",
            between=", ",
            close="]",
        ),
        stop="</s>",
    ),
    prompt="",
    arrange=partial(numbered, known_as=known_as),
)
