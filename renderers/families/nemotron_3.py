"""Nemotron 3 Nano, Super and Ultra: ChatML with a system turn always, tools declared in XML, calls as Qwen3.5's.

::

    <|im_start|>assistant
    <think>
    {reasoning}
    </think>
    {content}
    <tool_call>
    <function={name}>
    <parameter={key}>
    {value}
    </parameter>
    </function>
    </tool_call>
    <|im_end|>

A turn without reasoning opens with `<think></think>`, as the prompt does without thinking; with it the prompt opens
`<think>`. Reasoning stands after the last user message; with `truncate_history_thinking=False` before it too. A value
that is no string, list or object is spelled as Python does (True, None). Super (`low_effort`) and Ultra
(`medium_effort`) say in the last user message how much to think. Ultra has no newlines around `</think>`.

Differs from the official template, on purpose:
- reasoning written inline in the content (`<think>…</think>`) is split off, and an opened thought is content; upstream
  leaves both where they are, and knows no thought there
- before the last user message, content beside calls keeps its leading blanks, where nothing is reasoned, as it does
  after it, and those of Ultra lose the blanks behind it; upstream trims the first, and keeps the second
- a tool result that comes first opens a turn as any other does; upstream leaves the opening out
- content in parts is told as their joined text, and content that is a mapping as JSON; upstream writes a Python repr
- arguments given as JSON text are told as the object; upstream refuses text
- media are refused: there are no words for them; upstream writes a Python repr
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from renderers.arguments import mapping
from renderers.families import qwen3, qwen3_5
from renderers.families.glm_4_5 import thinking
from renderers.messages import Message, Turn, function_of, last_user, text, tojson
from renderers.patterns import Brick, flagged, given, run, say
from renderers.segments import Kind, Said
from renderers.template import Assistant, Template, first_is_system
from renderers.toolcalls import Calls, ParameterCall, python_spelled

OPENING = "<|im_start|>system\n"


def head(turn: Turn) -> Iterable[Said]:
    """One system turn: the system message, then the tools."""
    yield from say(OPENING)(turn)
    system = first_is_system(turn) and text(turn.messages[0].content)
    yield from say("{content}")(turn.at(0)) if system else ()
    if turn.tools:
        yield from say(("\n\n" if system else "") + qwen3_5.INTRO, Kind.TOOLS)(turn)
        for index, tool in enumerate(turn.tools):
            declared = declaration(function_of(tool))
            yield from say("{tool}", Kind.TOOLS, tool=given(declared, "tools", index))(turn)
        yield from say(qwen3_5.HOW, Kind.TOOLS)(turn)
    yield from say("<|im_end|>\n")(turn)


def declaration(function: Mapping[str, Any]) -> str:
    """A tool in XML."""
    parameters = function.get("parameters") or {}
    lines = ["\n<function>", element("name", function.get("name", ""))]
    lines += [element("description", str(function["description"]).strip())] if "description" in function else []
    lines += [
        "\n<parameters>",
        *(parameter(name, mapping(of)) for name, of in mapping(parameters.get("properties")).items()),
    ]
    lines += others(parameters, "type", "properties", "required")
    lines += [element("required", tojson(parameters["required"]))] if "required" in parameters else []
    lines += ["\n</parameters>", *others(function, "type", "name", "description", "parameters"), "\n</function>"]
    return "".join(lines)


def parameter(name: str, of: Mapping[str, Any]) -> str:
    spell = {"type": str, "description": lambda value: str(value).strip(), "enum": tojson}
    told = [element(key, how(of[key])) for key, how in spell.items() if key in of]
    lines = ["\n<parameter>", element("name", name), *told, *others(of, "name", *spell), "\n</parameter>"]
    return "".join(lines)


def element(key: str, value: str) -> str:
    return f"\n<{key}>{value}</{key}>"


def others(of: Mapping[str, Any], *told: str) -> list[str]:
    """What else a schema says."""
    return [element(key, python_spelled(value)) for key, value in of.items() if key not in told]


def thinks(turn: Turn) -> bool:
    kept = not turn.flags.get("truncate_history_thinking", True) or (turn.index or 0) > last_user(turn)
    return kept and reasons(qwen3.split(turn.message))


def reasons(message: Message) -> bool:
    return bool((message.reasoning or "").strip())


def prepare(message: Message, thinks: bool) -> Message:
    """Content without the blanks after it; where a thought was, its newline stays before content without calls."""
    told = qwen3.split(message)
    said = text(told.content).rstrip()
    if reasons(told) and not thinks:
        said = said.strip() if told.tool_calls else said and "\n" + said
    return told.but(content=said)


def prepare_ultra(message: Message, thinks: bool) -> Message:
    told = qwen3.split(message)
    return told.but(content=text(told.content).rstrip())


def effort(flag: str, words: str) -> dict[str, Any]:
    """Words in the last user message, where the flag asks for them."""
    asked: Brick = say("<|im_start|>user\n{content}" + words + "<|im_end|>\n")

    def view(turn: Turn) -> bool:
        return bool(turn.flags.get(flag)) and turn.index == last_user(turn)

    def user(turn: Turn) -> Iterable[Said]:
        yield from (asked if view(turn) else qwen3.USER)(turn)

    return {"turns": {**NANO.turns, "user": user}, "views": {"user": view}}


NANO = Template(
    start=(head,),
    turns={
        "system": qwen3.SYSTEM,
        "user": qwen3.USER,
        "developer": say("<|im_start|>developer\n{content}<|im_end|>\n"),
        "tool": run("<|im_start|>user\n", "<tool_response>\n{content}\n</tool_response>\n", "<|im_end|>\n"),
    },
    assistant=Assistant(
        open=qwen3.ASSISTANT,
        think="<think>\n{reasoning}\n</think>",
        thinks=thinks,
        no_think="<think></think>",
        after_think="\n",
        prepare=prepare,
        calls=Calls(
            ParameterCall(
                "<tool_call>\n<function={name}>\n",
                "<parameter={key}>\n{value}\n</parameter>\n",
                "</function>\n</tool_call>\n",
                spell=python_spelled,
            ),
            open="\n",
        ),
        stop="<|im_end|>",
        after="\n",
    ),
    prompt=flagged(lambda turn: qwen3.ASSISTANT + ("<think>\n" if thinking(turn) else "<think></think>")),
)
SUPER = replace(NANO, **effort("low_effort", "\n\n{reasoning effort: low}"))
ULTRA = replace(
    NANO,
    assistant=replace(NANO.assistant, think="<think>\n{reasoning}</think>", after_think="", prepare=prepare_ultra),
    **effort("medium_effort", "\n\n{reasoning effort: efficient}"),
)
