"""DeepSeek V3.2: marks of who begins to speak, calls one element a parameter, and a thought that history drops.

::

    <｜User｜>{content}<｜Assistant｜><think>{reasoning}</think>{content}

    <｜DSML｜function_calls>
    <｜DSML｜invoke name="{name}">
    <｜DSML｜parameter name="{key}" string="true">{value}</｜DSML｜parameter>
    </｜DSML｜invoke>
    </｜DSML｜function_calls><｜end▁of▁sentence｜>

    <function_results>
    <result>{content}</result>
    </function_results>

There is no official chat template: what is official is an encoder, `encoding_dsv32.py`, and this tells what that writes
with the tools in the first system message. Without `thinking`, its mode "thinking", every turn opens with `</think>`
alone. Thoughts stand after the last user's or developer's message. The encoder writes the generation prompt behind
every user message and every last result; here it belongs to the turn that it prompts.

Differs from the encoder, on purpose:
- a prompt that no message of the assistant follows is told closed; the encoder opens a thought before a late system
  message, if no user speaks again
- a message that nobody asks for, as one after another of the assistant's own, tells no thought; the encoder tells one
  that was never opened
- a message after the last user's with neither a thought nor a call is told with an empty thought; the encoder raises
- with `thinking`, developers are told; the encoder drops them, and then raises
- content in parts is told as their joined text, content that is a mapping as JSON, and no content as nothing; the
  encoder writes Python's repr
- media are refused: there are no words for them
"""

from collections.abc import Iterable

from renderers.errors import TemplateError
from renderers.families.deepseek_v3 import ASSISTANT
from renderers.messages import Turn, fact, function_of, last_where, tojson
from renderers.patterns import Brick, given, say
from renderers.segments import Kind, Said
from renderers.template import Assistant, Template, first_is_system, recalls
from renderers.toolcalls import Calls, ParameterCall

INTRO = """\n
## Tools
You have access to a set of tools you can use to answer the user's question.
You can invoke functions by writing a "<｜DSML｜function_calls>" block like the following as part of your reply to the \
user:
<｜DSML｜function_calls>
<｜DSML｜invoke name="$FUNCTION_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$FUNCTION_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜function_calls>
String and scalar parameters should be specified as is without any escaping or quotes, while lists and objects should \
use JSON format. The "string" attribute should be set to "true" for string type parameters and "false" for other types \
(numbers, booleans, arrays, objects).
If the thinking_mode is enabled, then after function results you should strongly consider outputting a thinking block. \
Here is an example:
<｜DSML｜function_calls>
...
</｜DSML｜function_calls>
<function_results>
...
</function_results>
<think>...thinking about results</think>
Here are the functions available in JSONSchema format:
<functions>
"""
CALL = ParameterCall(
    '<｜DSML｜invoke name="{name}">\n',
    '<｜DSML｜parameter name="{key}" string="{string}">{value}</｜DSML｜parameter>\n',
    "</｜DSML｜invoke>",
    empty="\n",
)


def head(turn: Turn) -> Iterable[Said]:
    """The system message, then the tools."""
    yield from say("<｜begin▁of▁sentence｜>")(turn)
    yield from say("{content}")(turn.at(0)) if first_is_system(turn) else ()
    if turn.tools:
        yield from say(INTRO, Kind.TOOLS)(turn)
        for index, tool in enumerate(turn.tools):
            declared = given(tojson(function_of(tool)), "tools", index)
            yield from say("{tool}\n", Kind.TOOLS, tool=declared)(turn)
        yield from say("</functions>\n", Kind.TOOLS)(turn)


def asking(pattern: str, mark: str) -> Brick:
    """Words that ask the assistant on; closed where somebody else speaks."""

    def brick(turn: Turn) -> Iterable[Said]:
        answered = turn.role(1) in ("assistant", None)
        return say(pattern if answered else f"{pattern}{mark}</think>")(turn)

    return brick


def result(turn: Turn) -> Iterable[Said]:
    number, calls = place(turn)
    if number > calls:
        raise TemplateError(f"message {turn.index}: a tool result without a call before it")
    yield from say("\n\n<function_results>" if number == 1 else "")(turn)
    yield from (LAST_RESULT if number == calls else RESULT)(turn)


def place(turn: Turn) -> tuple[int, int]:
    """How many results there are up to this one, and how many calls they answer."""
    index = at = turn.index or 0
    while at >= 0 and turn.messages[at].role == "tool":
        at -= 1
    return index - at, len(turn.messages[at].tool_calls) if at >= 0 else 0


last_asked = fact(last_where(lambda message: message.role in ("user", "developer")))


def mark(turn: Turn) -> str:
    """What hands the turn to the assistant: nothing, where nobody asks."""
    before = turn.role(-1)
    if before != "tool":
        return ASSISTANT if before in ("user", "developer") else ""
    number, calls = place(turn.at((len(turn.messages) if turn.index is None else turn.index) - 1))
    return "\n\n" * (number == calls)


def thinks(turn: Turn) -> bool:
    thinking = turn.flags.get("thinking", False)
    if turn.index is None:
        return thinking and bool(mark(turn))
    told = (thinking and turn.index > last_asked(turn)) or (recalls(turn) and bool(turn.message.reasoning))
    return told and bool(mark(turn))


def prompt(turn: Turn) -> str:
    return mark(turn) and mark(turn) + ("<think>" if thinks(turn) else "</think>")


RESULT = say("\n<result>{content}</result>")
LAST_RESULT = asking("\n<result>{content}</result>\n</function_results>", "\n\n")
TEMPLATE = Template(
    start=(head,),
    turns={
        "system": say("{content}"),
        "developer": asking("<｜User｜>\n\n# The user's message is: {content}", ASSISTANT),
        "user": asking("<｜User｜>{content}", ASSISTANT),
        "tool": result,
    },
    assistant=Assistant(
        open=lambda turn: mark(turn) if thinks(turn) else prompt(turn),
        think="<think>{reasoning}</think>",
        thinks=thinks,
        calls=Calls(
            CALL,
            open="\n\n<｜DSML｜function_calls>\n",
            between="\n",
            close="\n</｜DSML｜function_calls>",
        ),
        stop="<｜end▁of▁sentence｜>",
    ),
    prompt=prompt,
)
