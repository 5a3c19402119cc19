"""Qwen3-VL Instruct, its text: Qwen3-2507 Instruct, whose system message comes first or is not told.

Differs from the official template, on purpose:
- content that is a mapping is told as JSON; upstream tells nothing of it
- media are refused: how many tokens an image is, its size tells, and no template
"""

from dataclasses import replace

from renderers.families import qwen3_2507
from renderers.patterns import nothing

TEMPLATE = replace(qwen3_2507.INSTRUCT, turns={**qwen3_2507.INSTRUCT.turns, "system": nothing})
