"""Qwen3: ChatML with reasoning after the last query, and tool calls as JSON.

::

    <|im_start|>assistant
    <think>
    {reasoning}
    </think>

    {content}
    <tool_call>
    {"name": "{name}", "arguments": {arguments}}
    </tool_call><|im_end|>

Reasoning stands only in messages after the last query: always in the last message (even if there is none), else where
there is some. Reasoning written inline in the content (`<think>…</think>`) is split off. Messages of an unknown role
say nothing. The first revision of the template tells the same of all that both can tell.

Differs from the official template, on purpose:
- content in parts is told as their joined text, and content that is a mapping as JSON; upstream tells nothing of either
- content that is nothing but line breaks is none beside a thought and calls, and the break that upstream tells between
  them is left out: the model never wrote it
- media are refused: there are no words for them; upstream tells nothing of them
"""

from collections.abc import Iterable

from renderers.messages import Message, Turn, fact, last_where, text, tojson
from renderers.patterns import flagged, given, nothing, once, run, say
from renderers.segments import Kind, Said
from renderers.template import Assistant, Template
from renderers.toolcalls import Call, Calls

SYSTEM = say("<|im_start|>system\n{content}<|im_end|>\n")
USER = say("<|im_start|>user\n{content}<|im_end|>\n")
RESULTS = run("<|im_start|>user", "\n<tool_response>\n{content}\n</tool_response>", "<|im_end|>\n")
ASSISTANT = "<|im_start|>assistant\n"
INTRO = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>"""
HOW = """
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
"""


def head(turn: Turn) -> Iterable[Said]:
    """One system turn: the system message, then the tools."""
    system = turn.first == "system"
    if not turn.tools:
        return SYSTEM(turn.at(0)) if system else ()
    said = say("{content}\n\n")(turn.at(0)) if system else ()
    return (*say("<|im_start|>system\n")(turn), *said, *offered(turn))


@once
def offered(turn: Turn) -> Iterable[Said]:
    """The tools, and how to call them: the end of the system turn."""
    yield from say(INTRO, Kind.TOOLS)(turn)
    for index, tool in enumerate(turn.tools):
        yield from say("\n{tool}", Kind.TOOLS, tool=given(tojson(tool), "tools", index))(turn)
    yield from say(HOW, Kind.TOOLS)(turn)


def is_query(message: Message) -> bool:
    if message.role != "user":
        return False
    said = text(message.content)
    return not (said.startswith("<tool_response>") and said.endswith("</tool_response>"))


last_query = fact(last_where(is_query))
"""Where the user last spoke: a tool result in a user's clothes is no query."""


def thinks(turn: Turn) -> bool:
    return 0 <= last_query(turn) < (turn.index or 0) and (turn.last or bool(split(turn.message).reasoning))


def split(message: Message) -> Message:
    """Reasoning written inline moves to its field."""
    if message.reasoning is not None or "</think>" not in (said := text(message.content)):
        return message
    reasoning = said.partition("</think>")[0].rstrip("\n").rpartition("<think>")[2].lstrip("\n")
    return message.but(reasoning=reasoning, content=said.rpartition("</think>")[2].lstrip("\n"))


def prepare(message: Message, thinks: bool) -> Message:
    message = split(message)
    if not thinks:
        return message
    return message.but(reasoning=(message.reasoning or "").strip("\n"), content=text(message.content).lstrip("\n"))


@flagged
def prompt(turn: Turn) -> str:
    return ASSISTANT + ("" if turn.flags.get("enable_thinking", True) else "<think>\n\n</think>\n\n")


TEMPLATE = Template(
    start=(head,),
    turns={"system": SYSTEM, "user": USER, "tool": RESULTS, "developer": nothing},
    assistant=Assistant(
        open=ASSISTANT,
        think="<think>\n{reasoning}\n</think>\n\n",
        thinks=thinks,
        prepare=prepare,
        calls=Calls(
            Call('<tool_call>\n{"name": "{name}", "arguments": {arguments}}\n</tool_call>'),
            after_content="\n",
            between="\n",
        ),
        stop="<|im_end|>",
        stops=("<|endoftext|>",),
        after="\n",
    ),
    prompt=prompt,
)
