"""GLM-5, and GLM-4.7-Flash: GLM-4.5 without newlines, a turn without reasoning opens with a bare `</think>`.

::

    <|assistant|><think>{reasoning}</think>{content}<tool_call>{name}<arg_key>{key}</arg_key><arg_value>{value}</arg_value></tool_call>

The prompt opens `<think>`, or is `</think>` without thinking, so a turn without reasoning is what a model writes that
does not think. With `clear_thinking=False` reasoning stays before the last user message too.

Differs from the official template as GLM-4.5 does.
"""

from dataclasses import replace

from renderers.families import glm_4_5, qwen3
from renderers.families.glm_4_5 import thinking, tools
from renderers.messages import Turn, last_user
from renderers.patterns import flagged, nothing, run, say
from renderers.toolcalls import Calls, ParameterCall

HOW = """</tools>

For each function call, output the function name and arguments within the following XML format:
<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>{arg-value-1}</arg_value><arg_key>{arg-key-2}\
</arg_key><arg_value>{arg-value-2}</arg_value>...</tool_call>"""


def kept(turn: Turn) -> bool:
    """Whether reasoning stands here."""
    return not turn.flags.get("clear_thinking", True) or (turn.index or 0) > last_user(turn)


def thinks(turn: Turn) -> bool:
    return kept(turn) and bool(qwen3.split(turn.message).reasoning)


TEMPLATE = replace(
    glm_4_5.TEMPLATE,
    start=(say("[gMASK]<sop>"), tools(HOW)),
    turns={
        "system": say("<|system|>{content}"),
        "user": say("<|user|>{content}"),
        "tool": run("<|observation|>", "<tool_response>{content}</tool_response>", ""),
        "developer": nothing,
    },
    assistant=replace(
        glm_4_5.TEMPLATE.assistant,
        think="<think>{reasoning}</think>",
        thinks=thinks,
        no_think="</think>",
        before_content="",
        calls=Calls(
            ParameterCall("<tool_call>{name}", "<arg_key>{key}</arg_key><arg_value>{value}</arg_value>", "</tool_call>")
        ),
    ),
    prompt=flagged(lambda turn: "<|assistant|>" + ("<think>" if thinking(turn) else "</think>")),
)
