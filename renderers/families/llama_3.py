"""Llama 3: a header with the role, then what was said, trimmed; the model has no words for tools.

::

    <|start_header_id|>assistant<|end_header_id|>

    {content}<|eot_id|>

Every role has a header of its own name. Reasoning and tool calls are not told: they are lost, and so is their turn.

Differs from the official template, on purpose:
- content in parts is told as their joined text, content that is a mapping as JSON, and no content as nothing; upstream
  prints the Python of each
- media are refused: there are no words for them
"""

from renderers.messages import Message, Turn, text
from renderers.patterns import Brick, Data, given, say
from renderers.template import Assistant, Template, never


def header(role: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


def trimmed(turn: Turn) -> Data:
    return given(text(turn.message.content).strip(), "messages", turn.index or 0, "content")


def turn_of(role: str) -> Brick:
    pattern = header(role) + "{content}<|eot_id|>"
    return lambda turn: say(pattern, content=trimmed(turn))(turn)


def prepare(message: Message, thinks: bool) -> Message:
    return message.but(content=text(message.content).strip())


TEMPLATE = Template(
    start=(say("<|begin_of_text|>"),),
    head=never,
    turns={role: turn_of(role) for role in ("system", "developer", "user", "tool")},
    assistant=Assistant(
        open=header("assistant"), prepare=prepare, stop="<|eot_id|>", stops=("<|end_of_text|>", "<|eom_id|>")
    ),
    prompt=header("assistant"),
)
