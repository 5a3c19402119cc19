"""Mistral Small 3.2: no headers; system turns where they stand, tools before the last user turn, calls behind content.

::

    [SYSTEM_PROMPT]{content}[/SYSTEM_PROMPT][AVAILABLE_TOOLS][{tools}][/AVAILABLE_TOOLS][INST]{content}[/INST]
    {content}[TOOL_CALLS]{name}[CALL_ID]{id}[ARGS]{arguments}</s>
    [TOOL_RESULTS]{id}[TOOL_CONTENT]{content}[/TOOL_RESULTS]        (all of it in one line)

Messages of the user in a row are one turn, a blank line between them as between parts of content. An id has nine
characters, as in Mistral Nemo, which has the flag `number_calls` too. Reasoning is lost. The template is that of
Mistral's own generator, `mistral-common`.

Differs from it, on purpose:
- two assistant messages in a row are refused; upstream makes one of them, which no model wrote
- a result that is a mapping is told as JSON, one in parts as their joined text; upstream prints Python
- arguments are told as they were written; upstream writes none as `{}`
- media are refused: there are no words for them
"""

from collections.abc import Callable, Iterable
from itertools import pairwise

from renderers.errors import TemplateError
from renderers.families import mistral_nemo
from renderers.families.mistral_nemo import check_ids
from renderers.messages import Message, Turn, fact, text, tojson
from renderers.patterns import Brick, given, say
from renderers.segments import Kind, Said
from renderers.template import Assistant, Template, never
from renderers.toolcalls import Call, Calls

FOLLOWS = {
    None: ("user", "system"),
    "system": ("user", "assistant", "system"),
    "user": ("user", "assistant", "system"),
    "assistant": ("user", "tool"),
    "tool": ("user", "assistant", "tool"),
}
"""Who may speak after whom."""


def ordered(turn: Turn) -> Iterable[Said]:
    """Says nothing, and refuses whoever speaks out of turn."""
    for before, role in pairwise([None, *(message.role for message in turn.messages)]):
        if role not in FOLLOWS.get(before, ()):
            raise TemplateError(f"the {role} may not speak {f'after the {before}' if before else 'first'}")
    return iter(())


def identified(turn: Turn) -> Iterable[Said]:
    check_ids(turn)
    return iter(())


def said(message: Message) -> str:
    parts = message.content
    return parts if isinstance(parts, str) else "\n\n".join(part.text for part in parts)


def user(opens_tools: Callable[[Turn], bool]) -> Brick:
    """The user's messages in a row, as one turn."""

    def brick(turn: Turn) -> Iterable[Said]:
        opens, closes = turn.role(-1) != "user", turn.role(1) != "user"
        if opens and turn.tools and opens_tools(turn):
            yield from offered(turn)
        told = given(said(turn.message), "messages", turn.index or 0, "content")
        yield from say(("[INST]" if opens else "\n\n") + "{content}" + "[/INST]" * closes, content=told)(turn)

    return brick


def offered(turn: Turn) -> Iterable[Said]:
    yield from say("[AVAILABLE_TOOLS][", Kind.TOOLS)(turn)
    for index, tool in enumerate(turn.tools):
        yield from say(", " * bool(index) + "{tool}", Kind.TOOLS, tool=given(tojson(tool), "tools", index))(turn)
    yield from say("][/AVAILABLE_TOOLS]", Kind.TOOLS)(turn)


@fact
def last_asked(turn: Turn) -> int:
    """Where the last turn of the user's begins; -1 if nowhere."""
    told = [message.role == "user" for message in turn.messages]
    return max((i for i, asks in enumerate(told) if asks and (not i or not told[i - 1])), default=-1)


def asked_last(turn: Turn) -> bool:
    return bool(turn.tools) and turn.index == last_asked(turn)


def result(turn: Turn) -> Iterable[Said]:
    known = given(turn.message.tool_call_id or "", "messages", turn.index or 0, "tool_call_id")
    return say("[TOOL_RESULTS]{id}[TOOL_CONTENT]{content}[/TOOL_RESULTS]", id=known)(turn)


def prepare(message: Message, thinks: bool) -> Message:
    if not text(message.content) and not message.tool_calls:
        raise TemplateError("an assistant message must say something or call a tool")
    return message.but(content=said(message))


TEMPLATE = Template(
    start=(ordered, identified, say("<s>")),
    head=never,
    turns={
        "system": lambda turn: say(
            "[SYSTEM_PROMPT]{content}[/SYSTEM_PROMPT]",
            content=given(said(turn.message), "messages", turn.index or 0, "content"),
        )(turn),
        "user": user(asked_last),
        "tool": result,
    },
    views={"user": asked_last},
    assistant=Assistant(
        open="",
        prepare=prepare,
        calls=Calls(Call("[TOOL_CALLS]{name}[CALL_ID]{id}[ARGS]{arguments}")),
        stop="</s>",
    ),
    prompt="",
    arrange=mistral_nemo.TEMPLATE.arrange,
)
