"""SmolLM3: ChatML under one system turn with the date and the reasoning mode.

::

    <|im_start|>assistant
    <think>

    </think>
    {content}<|im_end|>

The empty thought stands in every message where the mode is `/no_think`: the system message says so, or
`enable_thinking=False`. Reasoning is told only where it is written in the content. The system turn ends only where
tools are told (`xml_tools`, `python_tools`) or where `/system_override` keeps all but the message out of it. The
template knows no other tools and no calls: they are lost. Only the first system message is told.

A call that the model writes as `xml_tools` or `python_tools` asks (`<tool_call>`, `<code>`) is read back as content:
history tells content and nothing else. Read as a call, it would be lost from the next prompt.

Differs from the official template, on purpose:
- the date is the flag `today`; without it a conversation whose system turn has one is refused. Upstream asks the clock
- content in parts is told as their joined text, and content that is a mapping as JSON; upstream tells nothing of either
- media are refused: there are no words for them
"""

from collections.abc import Iterable

from renderers.messages import Message, Turn, text
from renderers.patterns import Brick, given, nothing, say, today
from renderers.segments import Kind, Said
from renderers.template import Assistant, Template

ASSISTANT = "<|im_start|>assistant\n"
NO_THINK = "<think>\n\n</think>\n"
SMOL = "You are a helpful AI assistant named SmolLM, trained by Hugging Face."
THINKING = """ Your role as an assistant involves thoroughly exploring questions through a systematic thinking \
process before providing the final precise and accurate solutions. This requires engaging in a \
comprehensive cycle of analysis, summarizing, exploration, reassessment, reflection, backtracking, \
and iteration to develop well-considered thinking process. Please structure your response into two \
main sections: Thought and Solution using the specified format: <think> Thought section </think> \
Solution section. In the Thought section, detail your reasoning process in steps. Each step should \
include detailed considerations such as analysing questions, summarizing relevant findings, \
brainstorming new ideas, verifying the accuracy of the current steps, refining any errors, and \
revisiting previous steps. In the Solution section, based on various attempts, explorations, and \
reflections from the Thought section, systematically present the final solution that you deem \
correct. The Solution section should be logical, accurate, and concise and detail necessary steps \
needed to reach the conclusion."""
XML = (
    """You may call one or more functions to assist with the user query.
You are provided with function signatures within <tools></tools> XML tags:

<tools>
""",
    """</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>""",
)
PYTHON = (
    """When you send a message containing Python code between '<code>' and '</code>' tags, it will be executed in a \
stateful Jupyter notebook environment, and you will then be given the output to continued reasoning in an agentic loop.

You can use the following tools in your python code like regular functions:
<tools>
""",
    """</tools>

The state persists between code executions: so variables that you define in one step are still available thereafter.""",
)


def system(turn: Turn) -> str:
    return text(turn.messages[0].content) if turn.first == "system" else ""


def thinks(turn: Turn) -> bool:
    """The reasoning mode: the last word is the system message's."""
    if "/no_think" in system(turn):
        return False
    return "/think" in system(turn) or turn.flags.get("enable_thinking", True)


def head(turn: Turn) -> Iterable[Said]:
    own = system(turn).replace("/no_think", "").replace("/think", "").rstrip()
    yield from say("<|im_start|>system\n")(turn)
    if "/system_override" in own:
        yield from instructions(turn, own.replace("/system_override", "").rstrip(), "<|im_end|>\n")
        return
    yield from say("## Metadata\n\nKnowledge Cutoff Date: June 2025\nToday Date: ")(turn)
    yield from say("{date}\n", date=today(turn, "%d %B %Y"))(turn)
    yield from say(f"Reasoning Mode: {'/think' if thinks(turn) else '/no_think'}\n\n## Custom Instructions\n\n")(turn)
    if own:
        yield from instructions(turn, own, "\n\n")
    else:
        yield from say(SMOL + THINKING * thinks(turn) + "\n\n")(turn)
    yield from tools(turn)


def instructions(turn: Turn, own: str, after: str) -> Iterable[Said]:
    return say("{content}" + after, content=given(own, "messages", 0, "content"))(turn.at(0))


def tools(turn: Turn) -> Iterable[Said]:
    if not (turn.flags.get("xml_tools") or turn.flags.get("python_tools")):
        return
    yield from say("### Tools\n\n", Kind.TOOLS)(turn)
    yield from listed(turn, "xml_tools", *XML)
    yield from listed(turn, "python_tools", *PYTHON)
    yield from say("\n\n<|im_end|>\n")(turn)


def listed(turn: Turn, flag: str, before: str, after: str) -> Iterable[Said]:
    """Tools as Python prints them."""
    tools = turn.flags.get(flag)
    if tools:
        yield from say(before, Kind.TOOLS)(turn)
        for index, tool in enumerate(tools):
            yield from say("{tool}\n", Kind.TOOLS, tool=given(str(tool), "flags", flag, index))(turn)
        yield from say(after, Kind.TOOLS)(turn)


def prepare(message: Message, thinks: bool) -> Message:
    return message.but(content=text(message.content).lstrip("\n"))


def prompt(turn: Turn) -> str:
    return ASSISTANT + ("" if thinks(turn) else NO_THINK)


USER: Brick = say("<|im_start|>user\n{content}<|im_end|>\n")

TEMPLATE = Template(
    start=(head,),
    turns={"system": nothing, "developer": nothing, "user": USER, "tool": USER},
    assistant=Assistant(
        open=ASSISTANT,
        thinks=thinks,
        no_think=NO_THINK,
        prepare=prepare,
        stop="<|im_end|>",
        after="\n",
    ),
    prompt=prompt,
)
