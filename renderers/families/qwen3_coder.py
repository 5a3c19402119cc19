"""Qwen3-Coder: ChatML, tools declared in XML, a call with one element a parameter; it never reasons.

::

    <|im_start|>assistant
    {content}

    <tool_call>
    <function={name}>
    <parameter={key}>
    {value}
    </parameter>
    </function>
    </tool_call><|im_end|>

Content beside calls is trimmed. A value that is no string, list or object is spelled as Python does (True, None). Where
there are tools and no system message, a default one is told. Reasoning is not told: it is lost, and so is its turn.

Differs from the official template, on purpose:
- content in parts is told as their joined text, and no content as nothing; upstream refuses both
- content that is a mapping is told as JSON; upstream prints its Python, and refuses it but from tools
- arguments must be JSON objects, and may be their text; upstream refuses text
- a tool result that comes first opens a turn as any other does; upstream leaves the opening out
- media are refused: there are no words for them
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from renderers.families import qwen2_5, qwen3, qwen3_5
from renderers.messages import Message, Turn, function_of, text
from renderers.patterns import given, run, say
from renderers.segments import Kind, Said
from renderers.template import first_is_system
from renderers.toolcalls import python_spelled

WHO = "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks."
DEVELOPER = say("<|im_start|>developer\n{content}<|im_end|>\n")
RESULTS = run("<|im_start|>user\n", "<tool_response>\n{content}\n</tool_response>\n", "<|im_end|>\n")
INTRO = "\n\n# Tools\n\nYou have access to the following tools:\n\n<tools>"
HOW = """
</tools>

If you choose to call a tool ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
value_2
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: the tool calling block MUST begin with an opening <tool_call> tag \
and end with a closing </tool_call> tag.
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not tell \
the user about function calls
</IMPORTANT>"""


def head(turn: Turn) -> Iterable[Said]:
    """One system turn: the system message, or a default one where there are tools, then the tools."""
    system = first_is_system(turn)
    if not (system or turn.tools):
        return
    yield from say("<|im_start|>system\n")(turn)
    yield from say("{content}")(turn.at(0)) if system else say(WHO)(turn)
    if turn.tools:
        yield from say(INTRO, Kind.TOOLS)(turn)
        for index, tool in enumerate(turn.tools):
            told = given(declared(function_of(tool)), "tools", index)
            yield from say("\n<function>{tool}\n</function>", Kind.TOOLS, tool=told)(turn)
        yield from say(HOW, Kind.TOOLS)(turn)
    yield from say("<|im_end|>\n")(turn)


def declared(tool: Mapping[str, Any]) -> str:
    """A tool in XML, one element a field."""
    schema = mapping(tool.get("parameters"))
    each = "".join(parameter(name, mapping(fields)) for name, fields in mapping(schema.get("properties")).items())
    more = elements(schema, but=("type", "properties"))
    rest = elements(tool, but=("type", "name", "description", "parameters"))
    return f"\n<name>{tool.get('name', '')}</name>{description(tool)}\n<parameters>{each}{more}\n</parameters>{rest}"


def parameter(name: str, fields: Mapping[str, Any]) -> str:
    kind = f"\n<type>{fields['type']}</type>" if "type" in fields else ""
    rest = elements(fields, but=("name", "type", "description"))
    return f"\n<parameter>\n<name>{name}</name>{kind}{description(fields)}{rest}\n</parameter>"


def description(fields: Mapping[str, Any]) -> str:
    return f"\n<description>{str(fields['description']).strip()}</description>" if "description" in fields else ""


def elements(fields: Mapping[str, Any], *, but: Collection[str]) -> str:
    return "".join(f"\n<{name}>{python_spelled(value)}</{name}>" for name, value in fields.items() if name not in but)


def mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def prepare(message: Message, thinks: bool) -> Message:
    return message.but(content=text(message.content).strip()) if message.tool_calls else message


TEMPLATE = replace(
    qwen2_5.TEMPLATE,
    start=(head,),
    turns={**qwen3.TEMPLATE.turns, "developer": DEVELOPER, "tool": RESULTS},
    assistant=replace(
        qwen2_5.TEMPLATE.assistant,
        prepare=prepare,
        calls=qwen3_5.CALLS,
    ),
)
