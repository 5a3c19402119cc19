"""DeepSeek R1: DeepSeek V3, whose prompt opens a thought that no message shows, with tool calls.

::

    <｜Assistant｜>{content}<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}
    ```json
    {arguments}
    ```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜><｜tool▁outputs▁begin｜>…<｜tool▁outputs▁end｜>{content}

Reasoning is lost, and a thought written inline is cut off an answer to a user: only what answers a tool is what the
model wrote. The first call of a conversation opens the assistant and the calls; every other begins at a new line, and
what is said beside it in a later message is lost. Outputs are closed where an answer follows, or nothing.

Differs from the official template as DeepSeek V3 does.
"""

from collections.abc import Iterable
from dataclasses import replace

from renderers.families import deepseek_v3
from renderers.families.deepseek_v3 import ASSISTANT, speaker
from renderers.messages import Message, Request, Turn, text
from renderers.patterns import say
from renderers.segments import Kind, Said, segments_of
from renderers.template import Template, Told
from renderers.toolcalls import Call, Calls

BEGIN = "<｜tool▁calls▁begin｜>"


class R1(Template):
    """Calls that begin with a line break, where any stand before."""

    def turn(self, turn: Turn) -> Told:
        told = super().turn(turn)
        if not (turn.message.tool_calls and called(turn)):
            return told
        told = tuple(segment for segment in segments_of(told) if segment.kind is not Kind.ANSWER)
        return tuple(segment.but(text="\n") if segment.text == BEGIN else segment for segment in told)


def called(turn: Turn) -> bool:
    """Whether any message before this one calls."""
    return any(message.tool_calls for message in turn.messages[: turn.index])


def opening(turn: Turn) -> str:
    calls = turn.index is not None and bool(turn.message.tool_calls)
    return "" if (called(turn) if calls else speaker(turn) == "tool") else ASSISTANT


def arrange(request: Request) -> Request:
    """Answers to a user without a thought written inline."""
    messages = (answer(Turn(request, index)) for index in range(len(request.messages)))
    return request.but(messages=tuple(messages))


def answer(turn: Turn) -> Message:
    message = turn.message
    plain = message.role == "assistant" and not message.tool_calls and speaker(turn) != "tool"
    _, closed, said = text(message.content).rpartition("</think>")
    return message.but(content=said) if plain and closed else message


def closing(turn: Turn) -> bool:
    """Whether an answer follows the outputs, or nothing."""
    after = (m for m in turn.messages[(turn.index or 0) + 1 :] if m.role not in ("system", "developer"))
    follows = next(after, None)
    return follows is None or (follows.role == "assistant" and not follows.tool_calls)


def result(turn: Turn) -> Iterable[Said]:
    first = not any(message.role == "tool" for message in turn.messages[: turn.index])
    yield from say("<｜tool▁outputs▁begin｜>" if first else "")(turn)
    yield from say("<｜tool▁output▁begin｜>{content}<｜tool▁output▁end｜>")(turn)
    yield from say("<｜tool▁outputs▁end｜>" if closing(turn) else "")(turn)


V3 = deepseek_v3.TEMPLATE
TEMPLATE = R1(
    start=V3.start,
    head=V3.head,
    turns={**V3.turns, "tool": result},
    assistant=replace(
        V3.assistant,
        open=opening,
        think="<think>\n{reasoning}\n</think>\n\n",
        calls=Calls(
            Call("<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```<｜tool▁call▁end｜>"),
            open=BEGIN,
            between="\n",
            close="<｜tool▁calls▁end｜>",
        ),
    ),
    prompt=lambda turn: deepseek_v3.prompt(turn) and ASSISTANT + "<think>\n",
    arrange=arrange,
    views={"tool": closing},
)
