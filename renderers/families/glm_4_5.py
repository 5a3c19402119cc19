"""GLM-4.5: roles as single tokens, no stop of its own, a call with one element a parameter.

::

    <|assistant|>
    <think>{reasoning}</think>
    {content}
    <tool_call>{name}
    <arg_key>{key}</arg_key>
    <arg_value>{value}</arg_value>
    </tool_call><|observation|>

A turn ends with the role marker of the next one, `<|user|>` or `<|observation|>`, which the model samples: the last
turn of an example has no stop, so it is not trained. Every turn has a think block; reasoning stands only after the last
user message, and is trimmed, as content is. Reasoning written inline in the content (`<think>…</think>`) is split off.
Without thinking the prompt closes an empty block, and user messages end with `/nothink`. Developers say nothing.

Differs from the official template, on purpose:
- a tool result in parts is told as their joined text; upstream writes a Python repr of each
- arguments given as JSON text are told as the object; upstream refuses text
- media are refused: there are no words for them; upstream tells nothing of them
"""

from collections.abc import Iterable

from renderers.families import qwen3
from renderers.messages import Message, Turn, last_user, text, tojson
from renderers.patterns import Brick, flagged, given, nothing, run, say
from renderers.segments import Kind, Said
from renderers.template import Assistant, Template, never
from renderers.toolcalls import Calls, ParameterCall

INTRO = """<|system|>
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
"""
HOW = """</tools>

For each function call, output the function name and arguments within the following XML format:
<tool_call>{function-name}
<arg_key>{arg-key-1}</arg_key>
<arg_value>{arg-value-1}</arg_value>
<arg_key>{arg-key-2}</arg_key>
<arg_value>{arg-value-2}</arg_value>
...
</tool_call>"""


def tools(how: str) -> Brick:
    """A system turn of its own that declares the tools."""

    def brick(turn: Turn) -> Iterable[Said]:
        if turn.tools:
            yield from say(INTRO, Kind.TOOLS)(turn)
            for index, tool in enumerate(turn.tools):
                yield from say("{tool}\n", Kind.TOOLS, tool=given(tojson(tool), "tools", index))(turn)
            yield from say(how, Kind.TOOLS)(turn)

    return brick


def user(turn: Turn) -> Iterable[Said]:
    yield from say("<|user|>\n{content}")(turn)
    if not thinking(turn) and not text(turn.message.content).endswith("/nothink"):
        yield from say("/nothink")(turn)


def thinking(turn: Turn) -> bool:
    return turn.flags.get("enable_thinking", True)


def thinks(turn: Turn) -> bool:
    return (turn.index or 0) > last_user(turn) and bool(qwen3.split(turn.message).reasoning)


def prepare(message: Message, thinks: bool) -> Message:
    message = qwen3.split(message)
    reasoning = message.reasoning and message.reasoning.strip()
    return message.but(reasoning=reasoning, content=text(message.content).strip())


TEMPLATE = Template(
    start=(say("[gMASK]<sop>"), tools(HOW)),
    head=never,
    turns={
        "system": say("<|system|>\n{content}"),
        "user": user,
        "tool": run("<|observation|>", "\n<tool_response>\n{content}\n</tool_response>", ""),
        "developer": nothing,
    },
    assistant=Assistant(
        open="<|assistant|>",
        think="\n<think>{reasoning}</think>",
        thinks=thinks,
        no_think="\n<think></think>",
        before_content="\n",
        prepare=prepare,
        calls=Calls(
            ParameterCall(
                "<tool_call>{name}\n",
                "<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n",
                "</tool_call>",
            ),
            open="\n",
            between="\n",
        ),
        stop="",
        stops=("<|endoftext|>",),
        lent=("<|user|>", "<|observation|>"),
    ),
    prompt=flagged(lambda turn: "<|assistant|>" + ("" if thinking(turn) else "\n<think></think>")),
)
