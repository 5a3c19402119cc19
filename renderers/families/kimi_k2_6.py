"""Kimi K2.6: Kimi K2.5 with `preserve_thinking`, which keeps the reasoning of every message.

Without it, `thinking=False` empties the thoughts of history too.

Differs from the official template as Kimi K2.5 does.
"""

from dataclasses import replace

from renderers.families import kimi_k2_5, kimi_k2_thinking
from renderers.messages import Turn


def thinks(turn: Turn) -> bool:
    if turn.flags.get("preserve_thinking", False):
        return bool(turn.message.reasoning)
    return turn.flags.get("thinking", True) and kimi_k2_thinking.thinks(turn)


TEMPLATE = replace(kimi_k2_5.TEMPLATE, assistant=replace(kimi_k2_5.TEMPLATE.assistant, thinks=thinks))
