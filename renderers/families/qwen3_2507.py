"""Qwen3-2507: one hybrid became two models, and the template of Qwen3 two siblings.

Instruct never reasons: its reasoning is not told, so it is lost, and so is its turn. Thinking always does: the prompt
opens `<think>`, so a turn that Qwen3 tells without a thought is no turn that this model could have written.

They differ from the official templates as Qwen3 does.
"""

from dataclasses import replace

from renderers.families import qwen2_5, qwen3

INSTRUCT = replace(qwen3.TEMPLATE, assistant=qwen2_5.TEMPLATE.assistant, prompt=qwen3.ASSISTANT)
THINKING = replace(qwen3.TEMPLATE, prompt=qwen3.ASSISTANT + "<think>\n")
