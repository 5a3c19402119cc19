"""DeepSeek V3.1: DeepSeek V3 with tool calls; the assistant is marked only where it answers a user.

::

    <｜User｜>{content}<｜Assistant｜><think></think>{content}<｜tool▁calls▁begin｜>
    <｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>
    <｜tool▁output▁begin｜>{content}<｜tool▁output▁end｜>{content}<｜end▁of▁sentence｜>        (all of it in one line)

The template never tells reasoning: a field is lost, and an inline thought in an answer to a user is cut off it. With
`thinking=True` the generation prompt leaves the thought open. Tools are not told.

Differs from the official template as DeepSeek V3 does, and on purpose in this:
- arguments are told as they were written; upstream writes a string of arguments as a JSON string
- an inline thought stays in a message that follows one of the assistant's own, or none; upstream cuts it off there too
"""

from dataclasses import replace

from renderers.families import deepseek_v3
from renderers.families.deepseek_v3 import speaker
from renderers.messages import Message, Turn, text
from renderers.patterns import say
from renderers.toolcalls import Call, Calls


def answers(turn: Turn) -> bool:
    return speaker(turn) == "user"


def prepare(message: Message, thinks: bool) -> Message:
    """No reasoning, and in an answer to a user what follows an inline thought."""
    said = text(message.content)
    if thinks and not message.tool_calls and "</think>" in said:
        message = message.but(content=said.partition("</think>")[2])
    return message.but(reasoning="")


def prompt(turn: Turn) -> str:
    thinking = turn.flags.get("thinking", turn.flags.get("enable_thinking", False))
    return deepseek_v3.ASSISTANT + ("<think>" if thinking else "<think></think>") if answers(turn) else ""


TEMPLATE = replace(
    deepseek_v3.TEMPLATE,
    turns={**deepseek_v3.TEMPLATE.turns, "tool": say("<｜tool▁output▁begin｜>{content}<｜tool▁output▁end｜>")},
    assistant=replace(
        deepseek_v3.TEMPLATE.assistant,
        open=lambda turn: deepseek_v3.ASSISTANT if answers(turn) else "",
        think="<think>{reasoning}</think>",
        thinks=answers,
        prepare=prepare,
        calls=Calls(
            Call("<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>"),
            open="<｜tool▁calls▁begin｜>",
            close="<｜tool▁calls▁end｜>",
        ),
    ),
    prompt=prompt,
)
