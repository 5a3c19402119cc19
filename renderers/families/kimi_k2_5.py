"""Kimi K2.5: Kimi K2 Thinking without a system turn of its own, and with a switch.

The generation prompt opens the thought, or with `thinking=False` closes it at once. Moonshot's own serving writes the
tools in TypeScript: the template takes that text as the flag `tools_ts_str`, and writes JSON without it.

An image is told as one token in a place of its own, however large: the model is given its size beside the ids.

Differs from the official template as Kimi K2 does, but that images are told of users and tools.
"""

from collections.abc import Iterable
from dataclasses import replace

from renderers.families import kimi_k2, kimi_k2_thinking
from renderers.media import Medium
from renderers.messages import Turn
from renderers.patterns import flagged, given, say
from renderers.segments import Kind, Said


def tools(turn: Turn) -> Iterable[Said]:
    typescript = turn.flags.get("tools_ts_str")
    if not (turn.tools and typescript):
        yield from kimi_k2.tools(turn)
        return
    told = given(typescript, "flags", "tools_ts_str")
    yield from say("<|im_system|>tool_declare<|im_middle|>{tools}<|im_end|>", Kind.TOOLS, tools=told)(turn)


@flagged
def prompt(turn: Turn) -> str:
    return kimi_k2.ASSISTANT + ("<think>" if turn.flags.get("thinking", True) else kimi_k2_thinking.NO_THINK)


MEDIA = {"image": Medium("<|media_begin|>image<|media_content|>{pad}<|media_end|>\n", "<|media_pad|>")}
TEMPLATE = replace(kimi_k2_thinking.TEMPLATE, start=(tools,), prompt=prompt, media=MEDIA)
