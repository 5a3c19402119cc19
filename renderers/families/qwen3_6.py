"""Qwen3.6: Qwen3.5 that writes every value but a string as JSON, and can preserve the thinking before the last query.

Differs from the official template as Qwen3.5 does.
"""

from dataclasses import replace

from renderers.families import qwen3_5
from renderers.messages import Turn
from renderers.toolcalls import spelled


def thinks(turn: Turn) -> bool:
    return turn.flags.get("preserve_thinking", False) or qwen3_5.thinks(turn)


CALLS = replace(qwen3_5.CALLS, call=replace(qwen3_5.CALL, spell=spelled))
TEMPLATE = replace(qwen3_5.TEMPLATE, assistant=replace(qwen3_5.TEMPLATE.assistant, thinks=thinks, calls=CALLS))
