"""GLM-5.1 and GLM-5.2: GLM-5 with reasoning as it is, and tools declared by their function alone.

Reasoning is not trimmed, and an empty one is told too. A tool that says `defer_loading` is not declared; of the others
that key and `strict` are left out. GLM-5.2 opens with a system turn that says how much to think (unless it does not
think at all), and opens a turn without reasoning with `<think></think>`.

Differs from the official template as GLM-4.5 does, and:
- media are refused; upstream tells the model that it cannot see them
- references to tools (`tool_reference` in a result) are refused; upstream tells their declarations
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from renderers.families import glm_5
from renderers.families.glm_4_5 import INTRO, thinking
from renderers.families.glm_5 import HOW, kept
from renderers.messages import Message, Turn, function_of, text, tojson
from renderers.patterns import flagged, given, say
from renderers.segments import Kind, Said


def tools(turn: Turn) -> Iterable[Said]:
    """A system turn of its own that declares the tools."""
    if turn.tools:
        yield from say(INTRO, Kind.TOOLS)(turn)
        for index, tool in enumerate(turn.tools):
            function = function_of(tool)
            if not function.get("defer_loading"):
                yield from say("{tool}\n", Kind.TOOLS, tool=given(declared(function), "tools", index))(turn)
        yield from say(HOW, Kind.TOOLS)(turn)


def declared(function: Mapping[str, Any]) -> str:
    return tojson({key: value for key, value in function.items() if key not in ("defer_loading", "strict")})


def effort(turn: Turn) -> Iterable[Said]:
    """How much to think, in a system turn of its own."""
    if thinking(turn):
        how = "High" if turn.flags.get("reasoning_effort") == "high" else "Max"
        yield from say(f"<|system|>Reasoning Effort: {how}")(turn)


def split(message: Message) -> Message:
    """Reasoning written inline moves to its field, as it is."""
    said = text(message.content)
    if message.reasoning is not None or "</think>" not in said:
        return message
    reasoning = said.partition("</think>")[0].rpartition("<think>")[2]
    return message.but(reasoning=reasoning, content=said.rpartition("</think>")[2])


def thinks(turn: Turn) -> bool:
    return kept(turn) and split(turn.message).reasoning is not None


def prepare(message: Message, thinks: bool) -> Message:
    message = split(message)
    return message.but(content=text(message.content).strip())


GLM_5_1 = replace(
    glm_5.TEMPLATE,
    start=(say("[gMASK]<sop>"), tools),
    assistant=replace(glm_5.TEMPLATE.assistant, thinks=thinks, prepare=prepare),
)
GLM_5_2 = replace(
    GLM_5_1,
    start=(say("[gMASK]<sop>"), effort, tools),
    assistant=replace(GLM_5_1.assistant, no_think="<think></think>"),
    prompt=flagged(lambda turn: "<|assistant|>" + ("<think>" if thinking(turn) else "<think></think>")),
)
