"""Llama 3.1 and 3.3: one system turn with the date, tools in the first user turn, one JSON call a message.

::

    <|start_header_id|>assistant<|end_header_id|>

    {"name": "{name}", "parameters": {arguments}}<|eot_id|>

The date is the flag `date_string`, and July 2024 where it is not given. Results are told as JSON strings. A
message that calls a tool says nothing else: its content is lost, as reasoning is, and so is its turn.

Differs from the official template, on purpose:
- content in parts is told as their joined text, content that is a mapping as a string that holds its JSON, and no
  content as nothing; upstream prints Python or JSON of each
- arguments are told as they were written; upstream writes a string of arguments as a JSON string
- media are refused: there are no words for them
- tools need a first message of the user's; upstream tells whoever speaks first as the user
- there is no `builtin_tools`: its calls are Python, which nothing reads back
"""

import json
from collections.abc import Iterable
from dataclasses import replace

from renderers.errors import TemplateError
from renderers.families import llama_3
from renderers.families.llama_3 import header, trimmed, turn_of
from renderers.messages import Message, Turn, text, tojson
from renderers.patterns import Brick, given, say
from renderers.segments import Kind, Said
from renderers.template import Template, first_is_system
from renderers.toolcalls import Call, Calls

KNOWLEDGE = "Cutting Knowledge Date: December 2023\nToday Date: "
SYSTEM = f"<|begin_of_text|>{header('system')}"
FORMAT = """Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.\
Do not use variables.

"""
IN_USER = """Given the following functions, please respond with a JSON for a function call with its proper arguments \
that best answers the given prompt.

"""
IN_SYSTEM = (
    "You have access to the following functions. To call a function, please respond with JSON for a function call."
)


def date(turn: Turn) -> Iterable[Said]:
    asked = turn.flags.get("date_string")
    if asked is None:
        return say("26 Jul 2024")(turn)
    return say("{date}", date=given(asked, "flags", "date_string"))(turn)


def head(date: Brick) -> Brick:
    """One system turn, always."""

    def brick(turn: Turn) -> Iterable[Said]:
        in_user, system = turn.flags.get("tools_in_user_message", True), first_is_system(turn)
        if turn.tools and in_user and [message.role for message in turn.messages[system : system + 1]] != ["user"]:
            raise TemplateError("tools are told in the first message after the system's, and that is not the user's")
        yield from say(SYSTEM + "Environment: ipython\n" * bool(turn.tools) + KNOWLEDGE)(turn)
        yield from date(turn)
        yield from say("\n\n")(turn)
        yield from () if in_user else offered(turn, IN_SYSTEM)
        if system:
            yield from say("{content}", content=trimmed(turn.at(0)))(turn.at(0))
        yield from say("<|eot_id|>")(turn)

    return brick


def offered(turn: Turn, how: str) -> Iterable[Said]:
    yield from say(how + FORMAT, Kind.TOOLS)(turn) if turn.tools else ()
    for index, tool in enumerate(turn.tools):
        indented = json.dumps(tool, ensure_ascii=False, indent=4)
        yield from say("{tool}\n\n", Kind.TOOLS, tool=given(indented, "tools", index))(turn)


def user(turn: Turn) -> Iterable[Said]:
    if turn.index != first_is_system(turn) or not turn.flags.get("tools_in_user_message", True):
        yield from turn_of("user")(turn)
        return
    yield from say(header("user"))(turn)
    yield from offered(turn, IN_USER)
    yield from say("{content}<|eot_id|>", content=trimmed(turn))(turn)


def result(turn: Turn) -> Iterable[Said]:
    quoted = given(tojson(text(turn.message.content)), "messages", turn.index or 0, "content")
    return say(header("ipython") + "{content}<|eot_id|>", content=quoted)(turn)


def prepare(message: Message, thinks: bool) -> Message:
    if len(message.tool_calls) > 1:
        raise TemplateError("this template has words for one tool call a message")
    return message.but(content="" if message.tool_calls else text(message.content).strip())


TEMPLATE = Template(
    start=(head(date),),
    turns={**llama_3.TEMPLATE.turns, "user": user, "tool": result},
    assistant=replace(
        llama_3.TEMPLATE.assistant,
        prepare=prepare,
        calls=Calls(Call('{"name": "{name}", "parameters": {arguments}}'), alone=('{"name": "',)),
    ),
    prompt=header("assistant"),
)
