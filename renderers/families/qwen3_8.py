"""Qwen3.8: Qwen3.6 that preserves thinking unless told not to, and is told how hard to think.

While it may think, the flag `reasoning_effort` puts a sentence before all else in the system turn ("medium" puts none).
A system turn that says nothing is left out. Inline reasoning stays in the content.

Differs from the official template as Qwen3.5 does, and:
- arguments that are no text at all are refused; upstream takes them for none
- a `reasoning_effort` that there is not is refused without thinking too
"""

from collections.abc import Iterable
from dataclasses import replace

from renderers.families import qwen3_5, qwen3_6
from renderers.messages import Message, Turn, text
from renderers.patterns import say, trimmed
from renderers.segments import Said
from renderers.template import first_is_system

EFFORTS = {
    "xhigh": """Reasoning effort is set to xhigh. Please think carefully through the task, validate key assumptions, \
consider plausible alternatives, and prioritize correctness, consistency, and clarity in the final answer.""",
    "medium": "",
    "low": """Reasoning effort is set to low. Keep your thinking brief and focused, moving directly to the conclusion \
without unnecessary elaboration.""",
}


def head(turn: Turn) -> Iterable[Said]:
    """One system turn, if it says anything: how hard to think, the tools, the system message."""
    qwen3_5.must_ask(turn)
    thinking = turn.flags.get("enable_thinking", True)
    effort = EFFORTS[turn.flags.get("reasoning_effort", "xhigh")] if thinking else ""
    system = first_is_system(turn) and bool(text(turn.messages[0].content).strip())
    paragraphs = [
        *([say(effort)] if effort else []),
        *([qwen3_5.offered] if turn.tools else []),
        *([say("{content}", content=trimmed)] if system else []),
    ]
    for number, paragraph in enumerate(paragraphs):
        yield from say("\n\n" if number else "<|im_start|>system\n")(turn)
        yield from paragraph(turn.at(0) if system and number == len(paragraphs) - 1 else turn)
    yield from say("<|im_end|>\n")(turn) if paragraphs else ()


def thinks(turn: Turn) -> bool:
    return turn.flags.get("preserve_thinking", True) or qwen3_5.thinks(turn)


def prepare(message: Message, thinks: bool) -> Message:
    return qwen3_5.bare(message)


TEMPLATE = replace(
    qwen3_6.TEMPLATE,
    start=(head,),
    assistant=replace(qwen3_6.TEMPLATE.assistant, thinks=thinks, prepare=prepare),
)
