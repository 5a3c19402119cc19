"""Qwen2.5: ChatML that always has a system turn, and tool calls as JSON, as Qwen3 has them; it never reasons.

::

    <|im_start|>assistant
    {content}
    <tool_call>
    {"name": "{name}", "arguments": {arguments}}
    </tool_call><|im_end|>

Reasoning is not told: it is lost, and so is its turn. Messages of an unknown role say nothing.

Differs from the official template, on purpose:
- content in parts is told as their joined text, and no content as nothing; upstream refuses both
- content that is a mapping is told as JSON; upstream prints its Python, and refuses it but from tools
- arguments are told as they were written; upstream writes a string of arguments as a JSON string
- media are refused: there are no words for them
"""

from collections.abc import Iterable
from dataclasses import replace

from renderers.families import qwen3
from renderers.messages import Turn
from renderers.patterns import say
from renderers.segments import Said
from renderers.template import Assistant, first_is_system

WHO = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."


def head(turn: Turn) -> Iterable[Said]:
    """One system turn, always: the system message or the default one, then the tools."""
    yield from say("<|im_start|>system\n")(turn)
    yield from say("{content}")(turn.at(0)) if first_is_system(turn) else say(WHO)(turn)
    if turn.tools:
        yield from say("\n\n")(turn)
        yield from qwen3.offered(turn)
    else:
        yield from say("<|im_end|>\n")(turn)


TEMPLATE = replace(
    qwen3.TEMPLATE,
    start=(head,),
    assistant=Assistant(
        open=qwen3.ASSISTANT,
        calls=qwen3.TEMPLATE.assistant.calls,
        stop="<|im_end|>",
        stops=qwen3.TEMPLATE.assistant.stops,
        after="\n",
    ),
    prompt=qwen3.ASSISTANT,
)
