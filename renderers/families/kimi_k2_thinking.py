"""Kimi K2 Thinking: Kimi K2 with a thought, empty or not, in every message of the assistant.

::

    <|im_assistant|>assistant<|im_middle|><think>{reasoning}</think>{content}<|im_end|>

Reasoning stands only in messages after the last answer that calls no tool: that answer itself has lost it. So agents'
steps are trained with their reasoning, answers only if they have none.

Differs from the official template as Kimi K2 does.
"""

from dataclasses import replace

from renderers.families import kimi_k2
from renderers.messages import Turn, last_answer

THINK = "<think>{reasoning}</think>"
NO_THINK = "<think></think>"


def thinks(turn: Turn) -> bool:
    return bool(turn.message.reasoning) and (turn.index or 0) > last_answer(turn)


TEMPLATE = replace(
    kimi_k2.TEMPLATE,
    start=(kimi_k2.tools, kimi_k2.kimi(kimi_k2.KIMI)),
    assistant=replace(kimi_k2.TEMPLATE.assistant, think=THINK, no_think=NO_THINK, thinks=thinks),
)
