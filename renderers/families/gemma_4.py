"""Gemma 4: calls, their results and the answer share one model turn; values have a syntax of their own.

::

    <|turn>model
    <|channel>thought
    {reasoning}
    <channel|><|tool_call>call:{name}{{key}:{value},…}<tool_call|><|tool_response>response:{name}{value:<|"|>{content}
    <|"|>}<tool_response|>{content}<turn|>        (from the channel on, but for its breaks, in one line)

Reasoning stands after the last user message, where there is some; with `preserve_thinking`, in every message that
calls; a thought written inline is dropped. What is said beside calls stands behind them, and once they are answered
behind the results: such a turn is never what the model wrote. Calls end with `<|tool_response>`, answered or not.
Messages of the assistant in a row are one turn. Parameters are sorted by name. The media of a result stand behind it.

Differs from the official template, on purpose:
- a result that is a mapping is told as a string that holds its JSON; upstream tells its keys, or refuses it
- arguments given as JSON text are told as the object; upstream refuses text
- a tool result without a call before it is refused; upstream leaves it out
- a system message in parts is told as their joined text; upstream puts a blank behind each
- media of the system's or the assistant's own are refused
"""

from collections.abc import Iterable

from renderers.errors import TemplateError
from renderers.families.gemma_values import GemmaCall, declaration
from renderers.media import Medium
from renderers.messages import Message, Turn, last_user, text
from renderers.patterns import Brick, content, fill, given, say, trimmed_parts
from renderers.segments import Kind, Said, phrase, segments_of
from renderers.template import Assistant, Template, Told
from renderers.toolcalls import Calls

MODEL = "<|turn>model\n"
RESULT = 'response:{name}{value:<|"|>{content}<|"|>}<tool_response|>'


def instructed(turn: Turn) -> bool:
    return turn.first in ("system", "developer")


def head(turn: Turn) -> Iterable[Said]:
    """One system turn, if there is anything to say in it: whether to think, the system message, the tools."""
    thinking = turn.flags.get("enable_thinking", False)
    yield from say("<bos>")(turn)
    if not (thinking or turn.tools or instructed(turn)):
        return
    yield from say("<|turn>system\n" + "<|think|>\n" * thinking)(turn)
    yield from say("{content}", content=trimmed_parts)(turn.at(0)) if instructed(turn) else ()
    for index, tool in enumerate(turn.tools):
        yield from declaration(tool, index)
    yield from say("<turn|>\n")(turn)


def spoken(role: str) -> Brick:
    return say(f"<|turn>{role}\n{{content}}<turn|>\n", content=trimmed_parts)


def speaker(turn: Turn) -> int | None:
    """The message before this one that is no tool result."""
    at = (len(turn.messages) if turn.index is None else turn.index) - 1
    while at >= 0 and turn.messages[at].role == "tool":
        at -= 1
    return at if at >= 0 and not (at == 0 and instructed(turn)) else None


def result(turn: Turn) -> Iterable[Said]:
    """A result under the name of its call; behind the last one, what was said beside the calls."""
    at, message = speaker(turn), turn.message
    if at is None or not turn.messages[at].tool_calls:
        raise TemplateError(f"message {turn.index}: a tool result without a call before it")
    caller, index = turn.messages[at], turn.index or 0
    path = ("messages", at, "tool_calls")
    named = {call.id: given(call.name, *path, n, "function", "name") for n, call in enumerate(caller.tool_calls)}
    name = named.get(message.tool_call_id, given(message.name or "", "messages", index, "name"))
    if turn.role(-1) == "tool":
        yield from say("<|tool_response>")(turn)
    told = content(index, message)
    said, shown = (tuple(d for d in told if (d[1][-1] in ("content", "text")) is texts) for texts in (True, False))
    words = RESULT if name[0][0] else RESULT.replace("{name}", "unknown")
    yield from say(words + "{media}", name=name, content=said, media=shown)(turn)
    if turn.role(1) != "tool":
        said = prepare(caller, False).content
        yield from fill("{content}", at, Kind.ANSWER, content=given(text(said), "messages", at, "content"))
        yield from say("<turn|>\n" if turn.role(1) != "assistant" and (said or turn.role(1)) else "")(turn)


class Gemma(Template):
    """Where the model's own words stand: behind its calls, and behind their results where there are any."""

    def turn(self, turn: Turn) -> Told:
        told = tuple(segments_of(super().turn(turn)))
        if turn.message.role != "assistant":
            return told
        if turn.message.tool_calls:
            said = () if turn.role(1) == "tool" else tuple(s for s in told if s.kind is Kind.ANSWER)
            *called, end = (segment for segment in told if segment.kind is not Kind.ANSWER)
            return (*called, *said, end)
        return told if turn.role(1) == "assistant" else (*told, phrase("\n", Kind.SCAFFOLD, turn.index))


def thinks(turn: Turn) -> bool:
    kept = turn.flags.get("preserve_thinking", False) and turn.message.tool_calls
    return bool(turn.message.reasoning and ((turn.index or 0) > last_user(turn) or kept))


def prepare(message: Message, thinks: bool) -> Message:
    """One text, each part of it without the blanks around it and thoughts written inline."""
    parts = [message.content] if isinstance(message.content, str) else [part.text for part in message.content]
    return message.but(content="".join(map(bare, parts)))


def bare(said: str) -> str:
    return "".join(part.partition("<|channel>")[0] for part in said.split("<channel|>")).strip()


def opening(turn: Turn) -> str:
    before = speaker(turn)
    return MODEL if before is None or turn.messages[before].role != "assistant" else ""


def stop(turn: Turn) -> str:
    return "<|tool_response>" if turn.message.tool_calls else "" if turn.role(1) == "assistant" else "<turn|>"


def prompt(turn: Turn) -> str:
    """Nothing where the model's turn goes on behind calls; behind results, a thought if one is wanted."""
    before = speaker(turn)
    if before is None or not turn.messages[before].tool_calls:
        return MODEL
    thinking = turn.flags.get("enable_thinking", False) and turn.role(-1) == "tool"
    return "<|channel>thought\n" if thinking else ""


TEMPLATE = Gemma(
    start=(head,),
    head=instructed,
    turns={**{role: spoken(role) for role in ("system", "developer", "user")}, "tool": result},
    assistant=Assistant(
        open=opening,
        think="<|channel>thought\n{reasoning}\n<channel|>",
        thinks=thinks,
        prepare=prepare,
        calls=Calls(GemmaCall(), behind=True),
        stop=stop,
        stops=("<turn|>", "<|tool_response>"),
    ),
    prompt=prompt,
    media={
        "image": Medium("{pad}", "<|image|>", "<|image>{pad}<image|>"),
        "audio": Medium("{pad}", "<|audio|>"),
        "video": Medium("{pad}", "<|video|>"),
    },
)
