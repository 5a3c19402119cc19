"""DeepSeek V3: no turns, only marks of who begins to speak; results stand where the assistant goes on.

::

    <｜begin▁of▁sentence｜>{system}<｜User｜>{content}<｜Assistant｜>{content}<｜end▁of▁sentence｜>
    <｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>{content}<｜tool▁output▁end｜><｜tool▁outputs▁end｜>

Tools, tool calls and reasoning are lost: this template tells calls only of messages whose content is null, which
transformers does not let through, and then leaves a single call open. Results are told: the first in a conversation
opens the outputs, and only who follows at once closes them.

Differs from the official template, on purpose:
- a system message that others precede is refused; upstream tells it before them, where no model saw it
- content in parts is told as their joined text, content that is a mapping as JSON, and no content as nothing; upstream
  raises
- media are refused: there are no words for them
"""

from collections.abc import Iterable

from renderers.errors import TemplateError
from renderers.messages import Turn
from renderers.patterns import nothing, say
from renderers.segments import Said
from renderers.template import Assistant, Template, never

ASSISTANT = "<｜Assistant｜>"


def system(turn: Turn) -> Iterable[Said]:
    """System messages stand first, a paragraph each."""
    before = {message.role for message in turn.messages[: turn.index]}
    if before - {"system", "developer"}:
        raise TemplateError(f"message {turn.index}: this template tells a system message before all others")
    return say("\n\n{content}" if before & {"system"} else "{content}")(turn)


def speaker(turn: Turn) -> str | None:
    """Who spoke last, of the roles that have a voice here."""
    step = -1
    while turn.role(step) in ("system", "developer"):
        step -= 1
    return turn.role(step)


def result(turn: Turn) -> Iterable[Said]:
    told = any(message.role == "tool" for message in turn.messages[: turn.index])
    yield from say("\n" if told else "<｜tool▁outputs▁begin｜>")(turn)
    yield from say("<｜tool▁output▁begin｜>{content}<｜tool▁output▁end｜>")(turn)
    yield from say("" if turn.role(1) in ("tool", "user") else "<｜tool▁outputs▁end｜>")(turn)


def prompt(turn: Turn) -> str:
    return "" if speaker(turn) == "tool" else ASSISTANT


TEMPLATE = Template(
    start=(say("<｜begin▁of▁sentence｜>"),),
    head=never,
    turns={"system": system, "developer": nothing, "user": say("<｜User｜>{content}"), "tool": result},
    assistant=Assistant(open=prompt, stop="<｜end▁of▁sentence｜>"),
    prompt=prompt,
)
