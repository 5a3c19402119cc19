"""MiniMax M2 and M2.7: a system turn always, calls in one section, results in one turn.

::

    ]~b]ai
    <think>
    {reasoning}
    </think>

    {content}
    <minimax:tool_call>
    <invoke name="{name}">
    <parameter name="{key}">{value}</parameter>
    </invoke>
    </minimax:tool_call>[e~[

Without a system message the model is told who it is (`model_identity`). Reasoning stands after the last user message,
where there is some; inline reasoning (`<think>…</think>`) is split off. The prompt always opens `<think>`: a turn that
shows no reasoning is never what the model would write. A system message elsewhere, and a developer, say nothing.

Differs from the official template, on purpose:
- a tool result in parts is told as their joined text; upstream tells a result a part, or a Python repr
- arguments given as JSON text are told as the object; upstream refuses text
- media are refused: there are no words for them; upstream tells nothing of them
"""

from collections.abc import Iterable
from dataclasses import replace

from renderers.errors import TemplateError
from renderers.messages import Message, Turn, function_of, last_user, text, tojson
from renderers.patterns import Brick, given, nothing, run, say
from renderers.segments import Kind, Said
from renderers.template import Assistant, Template, first_is_system
from renderers.toolcalls import Calls, ParameterCall

INTRO = """

# Tools
You may call one or more tools to assist with the user query.
Here are the tools available in JSONSchema format:

<tools>
"""
HOW = """</tools>

When making tool calls, use XML format to invoke tools and pass parameters:

<minimax:tool_call>
<invoke name="tool-name-1">
<parameter name="param-key-1">param-value-1</parameter>
<parameter name="param-key-2">param-value-2</parameter>
...
</invoke>
</minimax:tool_call>"""
RESULTS = run("]~b]tool", "\n<response>{content}</response>", "[e~[\n")


def head(identity: str) -> Brick:
    """One system turn: the system message or who the model is, then the tools."""

    def brick(turn: Turn) -> Iterable[Said]:
        yield from say("]~!b[]~b]system\n")(turn)
        if first_is_system(turn) and text(turn.messages[0].content):
            yield from say("{content}")(turn.at(0))
        elif "model_identity" in turn.flags:
            told = given(turn.flags["model_identity"], "flags", "model_identity")
            yield from say("{identity}", identity=told)(turn)
        else:
            yield from say(identity)(turn)
        if turn.tools:
            yield from say(INTRO, Kind.TOOLS)(turn)
            for index, tool in enumerate(turn.tools):
                declared = given(tojson(function_of(tool)), "tools", index)
                yield from say("<tool>{tool}</tool>\n", Kind.TOOLS, tool=declared)(turn)
            yield from say(HOW, Kind.TOOLS)(turn)
        yield from say("[e~[\n")(turn)

    return brick


def result(turn: Turn) -> Iterable[Said]:
    before = (message for message in reversed(turn.messages[: turn.index]) if message.role == "assistant")
    spoken = next(before, None)
    if not (spoken and spoken.tool_calls):
        raise TemplateError(f"message {turn.index}: a tool result, and the message before it calls no tool")
    yield from RESULTS(turn)


def thinks(turn: Turn) -> bool:
    return (turn.index or 0) > last_user(turn) and bool(split(turn.message).reasoning)


def split(message: Message) -> Message:
    """Reasoning written inline moves to its field."""
    said = text(message.content)
    if message.reasoning is not None or "</think>" not in said:
        return message
    reasoning = said.partition("</think>")[0].strip("\n").rpartition("<think>")[2].strip("\n")
    return message.but(reasoning=reasoning, content=said.rpartition("</think>")[2].strip("\n"))


M2 = Template(
    start=(head("You are a helpful assistant."),),
    turns={"system": nothing, "developer": nothing, "user": say("]~b]user\n{content}[e~[\n"), "tool": result},
    assistant=Assistant(
        open="]~b]ai\n",
        think="<think>\n{reasoning}\n</think>\n\n",
        thinks=thinks,
        prepare=lambda message, thinks: split(message),
        calls=Calls(
            ParameterCall('<invoke name="{name}">\n', '<parameter name="{key}">{value}</parameter>\n', "</invoke>\n"),
            open="\n<minimax:tool_call>\n",
            close="</minimax:tool_call>",
        ),
        stop="[e~[",
        after="\n",
    ),
    prompt="]~b]ai\n<think>\n",
)
M2_7 = replace(M2, start=(head("You are a helpful assistant. Your name is MiniMax-M2.7 and is built by MiniMax."),))
