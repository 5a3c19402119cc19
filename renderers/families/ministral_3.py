"""Ministral 3: Mistral Small 3.2 without ids, and with tools before the first user turn.

::

    {content}[TOOL_CALLS]{name}[ARGS]{arguments}</s>[TOOL_RESULTS]{content}[/TOOL_RESULTS]

It differs from Mistral's own generator as Mistral Small 3.2 does.
"""

from dataclasses import replace

from renderers.families import mistral_small_3_2
from renderers.families.mistral_small_3_2 import ordered, user
from renderers.messages import Turn
from renderers.patterns import say
from renderers.template import as_asked
from renderers.toolcalls import Call, Calls


def asked_first(turn: Turn) -> bool:
    return all(message.role != "user" for message in turn.messages[: turn.index])


TEMPLATE = replace(
    mistral_small_3_2.TEMPLATE,
    start=(ordered, say("<s>")),
    turns={
        **mistral_small_3_2.TEMPLATE.turns,
        "user": user(asked_first),
        "tool": say("[TOOL_RESULTS]{content}[/TOOL_RESULTS]"),
    },
    views={},
    arrange=as_asked,
    assistant=replace(mistral_small_3_2.TEMPLATE.assistant, calls=Calls(Call("[TOOL_CALLS]{name}[ARGS]{arguments}"))),
)
