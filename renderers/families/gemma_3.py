"""Gemma 3: users and models take turns; the system message opens the first user's.

::

    <start_of_turn>user
    {system}

    {content}<end_of_turn>
    <start_of_turn>model
    {content}<end_of_turn>

What is said is trimmed, but the system message. Tools, tool calls and reasoning have no words: they are lost.

Differs from the official template, on purpose:
- media are refused; upstream writes a place for each, to be filled with its tokens
- a system message in parts is told whole; upstream tells its first part
- users and assistants alone take turns; upstream tells any role in the assistant's place
"""

from collections.abc import Iterable

from renderers.errors import TemplateError
from renderers.messages import Content, Message, Turn
from renderers.patterns import given, say
from renderers.segments import Said
from renderers.template import Assistant, Template, first_is_system

MODEL = "<start_of_turn>model\n"
TAKING_TURNS = ("user", "assistant")


def checked(turn: Turn) -> Iterable[Said]:
    """Says nothing, and refuses whoever speaks out of turn."""
    for place, message in enumerate(turn.messages[first_is_system(turn) :]):
        if message.role != TAKING_TURNS[place % 2]:
            raise TemplateError(f"users and assistants must take turns, and here speaks the {message.role}")
    return iter(())


def trimmed(said: Content) -> str:
    return said.strip() if isinstance(said, str) else "".join(part.text.strip() for part in said)


def user(turn: Turn) -> Iterable[Said]:
    index = turn.index or 0
    yield from say("<start_of_turn>user\n")(turn)
    yield from say("{content}\n\n")(turn.at(0)) if index and index == first_is_system(turn) else ()
    said = given(trimmed(turn.message.content), "messages", index, "content")
    yield from say("{content}<end_of_turn>\n", content=said)(turn)


def prepare(message: Message, thinks: bool) -> Message:
    return message.but(content=trimmed(message.content))


TEMPLATE = Template(
    start=(checked, say("<bos>")),
    turns={"user": user},
    assistant=Assistant(open=MODEL, prepare=prepare, stop="<end_of_turn>", after="\n"),
    prompt=MODEL,
)
