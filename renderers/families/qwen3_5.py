"""Qwen3.5: ChatML, all trimmed; the tools before the system message, a call with one element a parameter.

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
    </tool_call><|im_end|>

Every message after the last query has a think block, be there reasoning or not; those before it have none. Reasoning
written inline in the content (`<think>…</think>`) is split off. A value that is no string, list or object is spelled as
Python does (True, None). The prompt opens `<think>`, or closes it too without thinking, which is the default of the
small models. A conversation must hold a query, and may have a system message only at its start.

Differs from the official template, on purpose:
- content that is a mapping is told as JSON; upstream refuses it
- arguments must be JSON objects, and may be their text; upstream refuses text
- a tool result that comes first opens a turn as any other does; upstream leaves the opening out
- media of the assistant's own are refused
"""

from collections.abc import Iterable
from dataclasses import replace

from renderers.errors import TemplateError
from renderers.families import qwen3, qwen3_vl
from renderers.messages import Message, Turn, fact, last_where, text, tojson
from renderers.patterns import given, refuse, run, say, trimmed
from renderers.segments import Kind, Said
from renderers.template import Assistant, Template, first_is_system
from renderers.toolcalls import Calls, ParameterCall, python_spelled

SYSTEM = say("<|im_start|>system\n{content}<|im_end|>\n", content=trimmed)
USER = say("<|im_start|>user\n{content}<|im_end|>\n", content=trimmed)
RESULTS = run("<|im_start|>user", "\n<tool_response>\n{content}\n</tool_response>", "<|im_end|>\n", content=trimmed)
INTRO = "# Tools\n\nYou have access to the following functions:\n\n<tools>"
HOW = """
</tools>

If you choose to call a function ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within \
<tool_call></tool_call> XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not tell \
the user about function calls
</IMPORTANT>"""
CALL = ParameterCall(
    "<tool_call>\n<function={name}>\n",
    "<parameter={key}>\n{value}\n</parameter>\n",
    "</function>\n</tool_call>",
    spell=python_spelled,
)
CALLS = Calls(CALL, after_content="\n\n", between="\n")


def head(turn: Turn) -> Iterable[Said]:
    """One system turn: the tools, then the system message."""
    must_ask(turn)
    if not turn.tools:
        yield from SYSTEM(turn.at(0)) if first_is_system(turn) else ()
        return
    yield from say("<|im_start|>system\n")(turn)
    yield from offered(turn)
    if first_is_system(turn) and text(turn.messages[0].content).strip():
        yield from say("\n\n{content}", content=trimmed)(turn.at(0))
    yield from say("<|im_end|>\n")(turn)


def offered(turn: Turn) -> Iterable[Said]:
    """The tools, and how to call them."""
    yield from say(INTRO, Kind.TOOLS)(turn)
    for index, tool in enumerate(turn.tools):
        yield from say("\n{tool}", Kind.TOOLS, tool=given(tojson(tool), "tools", index))(turn)
    yield from say(HOW, Kind.TOOLS)(turn)


def is_query(message: Message) -> bool:
    return qwen3.is_query(message.but(content=text(message.content).strip()))


def must_ask(turn: Turn) -> None:
    if not any(map(is_query, turn.messages)):
        raise TemplateError("this template tells no conversation in which the user asks nothing")


last_query = fact(last_where(is_query))
"""Where the user last spoke: a tool result in a user's clothes is no query."""


def thinks(turn: Turn) -> bool:
    return 0 <= last_query(turn) < (turn.index or 0)


def prepare(message: Message, thinks: bool) -> Message:
    told = qwen3.split(bare(message))
    return told.but(reasoning=(told.reasoning or "").strip())


def bare(message: Message) -> Message:
    """A message without the blanks around its texts."""
    reasoning = message.reasoning
    return message.but(content=text(message.content).strip(), reasoning=reasoning and reasoning.strip())


def prompted(turn: Turn, *, thinking: bool) -> str:
    must_ask(turn)
    return qwen3.ASSISTANT + ("<think>\n" if thinking else "<think>\n\n</think>\n\n")


TEMPLATE = Template(
    start=(head,),
    turns={"system": refuse("the system message must be the first"), "user": USER, "tool": RESULTS},
    assistant=Assistant(
        open=qwen3.ASSISTANT,
        think="<think>\n{reasoning}\n</think>\n\n",
        thinks=thinks,
        prepare=prepare,
        calls=CALLS,
        stop="<|im_end|>",
        stops=qwen3.TEMPLATE.assistant.stops,
        after="\n",
    ),
    prompt=lambda turn: prompted(turn, thinking=turn.flags.get("enable_thinking", True)),
    media=qwen3_vl.MEDIA,
)
SMALL = replace(TEMPLATE, prompt=lambda turn: prompted(turn, thinking=turn.flags.get("enable_thinking", False)))
