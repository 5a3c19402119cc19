"""Qwen3-VL Instruct: Qwen3-2507 Instruct, whose system message comes first or is not told, with images and videos.

::

    <|im_start|>user
    <|vision_start|><|image_pad|><|vision_end|>{content}<|im_end|>

With `add_vision_id`, each is counted: `Picture 1: `, `Video 1: `.

Differs from the official template, on purpose:
- content that is a mapping is told as JSON; upstream tells nothing of it
- media of the system's or the assistant's are refused; upstream tells nothing of them
"""

from dataclasses import replace

from renderers.families import qwen3_2507
from renderers.media import Medium
from renderers.patterns import nothing

MEDIA = {
    "image": Medium("<|vision_start|>{pad}<|vision_end|>", "<|image_pad|>", label="Picture"),
    "video": Medium("<|vision_start|>{pad}<|vision_end|>", "<|video_pad|>", label="Video"),
}
TEMPLATE = replace(qwen3_2507.INSTRUCT, turns={**qwen3_2507.INSTRUCT.turns, "system": nothing}, media=MEDIA)
