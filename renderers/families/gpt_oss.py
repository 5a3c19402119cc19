"""gpt-oss (Harmony): whatever is said is a message of its own, on a channel, maybe to a recipient.

::

    <|start|>assistant<|channel|>analysis<|message|>{reasoning}<|end|>
    <|start|>assistant to=functions.{name}<|channel|>commentary json<|message|>{arguments}<|call|>
    <|start|>functions.{name} to=assistant<|channel|>commentary<|message|>{content}<|end|>
    <|start|>assistant<|channel|>final<|message|>{content}<|return|>        (all of it in one line)

The first message, if the system's or the developer's, is the developer's; others of theirs say nothing. Tools are told
as TypeScript, results as JSON strings. Reasoning before a call is told until an answer follows, and reasoning before an
answer where that is the last message. An answer in history ends with `<|end|>`, which no model writes there: only the
last one is proved. Content beside a call is its reasoning. Of calls in one message the first is told; the others are
lost, and so is their turn. The day is the flag `today`; the family refuses without it.

Differs from the official template, on purpose:
- content in parts is told as their joined text, no content as nothing, and content that is a mapping as a string that
  holds its JSON; upstream refuses the first two
- arguments are told as they were written; upstream writes a string of arguments as a JSON string
- content that spells channels is told, for data is no control token; upstream refuses it
- a tool without a description is told without; upstream refuses it
- media are refused: there are no words for them; there is no `builtin_tools`
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from renderers.arguments import Schemas, status_of
from renderers.errors import TemplateError
from renderers.families.typescript import signature
from renderers.messages import Message, ToolCall, Turn, function_of, last_answer, text, tojson
from renderers.patterns import given, nothing, say, take, today
from renderers.segments import Kind, Said
from renderers.template import Assistant, Template
from renderers.toolcalls import Call, Calls, Read

ASSISTANT = "<|start|>assistant"
IDENTITY = "You are ChatGPT, a large language model trained by OpenAI."
EFFORTS = ("low", "medium", "high")
CHANNELS = "# Valid channels: analysis, commentary, final. Channel must be included for every message."
CALLS = "\nCalls to these tools must go to the commentary channel: 'functions'."
NAMED = "<|start|>functions.{name} to=assistant<|channel|>commentary<|message|>{content}<|end|>"


def instructed(turn: Turn) -> bool:
    return turn.first in ("system", "developer")


def system(turn: Turn) -> Iterable[Said]:
    """What the model is, the day, and the channels."""
    effort, identity = turn.flags.get("reasoning_effort", "medium"), turn.flags.get("model_identity")
    told = given(identity or "", "flags", "model_identity")
    yield from say("<|start|>system<|message|>" + (IDENTITY if identity is None else "{identity}"), identity=told)(turn)
    yield from say("\nKnowledge cutoff: 2024-06\nCurrent date: {date}\n\n", date=today(turn, "%Y-%m-%d"))(turn)
    yield from say(f"Reasoning: {effort}\n\n{CHANNELS}")(turn)
    yield from say(CALLS, Kind.TOOLS)(turn) if turn.tools else ()
    yield from say("<|end|>")(turn)


def developer(turn: Turn) -> Iterable[Said]:
    """Instructions and tools, if there are any."""
    instructions = instructed(turn) and bool(text(turn.messages[0].content))
    if not instructions and not turn.tools:
        return
    yield from say("<|start|>developer<|message|>")(turn)
    yield from say("# Instructions\n\n{content}\n\n")(turn.at(0)) if instructions else ()
    yield from offered(turn) if turn.tools else ()
    yield from say("<|end|>")(turn)


def offered(turn: Turn) -> Iterable[Said]:
    yield from say("# Tools\n\n## functions\n\nnamespace functions {\n\n", Kind.TOOLS)(turn)
    for index, tool in enumerate(turn.tools):
        yield from say("{tool}", Kind.TOOLS, tool=given(signature(function_of(tool)), "tools", index))(turn)
    yield from say("} // namespace functions", Kind.TOOLS)(turn)


def result(turn: Turn) -> Iterable[Said]:
    """A result, under the name of the last call before it."""
    index = turn.index or 0
    spoken = next((i for i in range(index - 1, -1, -1) if turn.messages[i].role == "assistant"), None)
    if spoken is None or not turn.messages[spoken].tool_calls:
        raise TemplateError(f"message {index}: a tool result without a call before it")
    called = given(turn.messages[spoken].tool_calls[0].name, "messages", spoken, "tool_calls", 0, "function", "name")
    quoted = given(tojson(text(turn.message.content)), "messages", index, "content")
    yield from say(NAMED, name=called, content=quoted)(turn)


def closing(turn: Turn) -> bool:
    return turn.last and not turn.request.generating


def thinks(turn: Turn) -> bool:
    """Before a call until there is an answer; before an answer where it is the last word."""
    if turn.message.tool_calls:
        thought = turn.message.reasoning or text(turn.message.content)
        return bool(thought) and (turn.index or 0) > last_answer(turn)
    return turn.message.reasoning is not None and closing(turn)


def stop(turn: Turn) -> str:
    return "<|call|>" if turn.message.tool_calls else "<|return|>" if closing(turn) else "<|end|>"


def prepare(message: Message, thinks: bool) -> Message:
    """Of a message that calls: the first call, and what it says as its reasoning."""
    said = text(message.content)
    if not message.tool_calls:
        return message
    if said and message.reasoning:
        raise TemplateError("this template has no words for content and reasoning both, beside a tool call")
    return message.but(reasoning=said or message.reasoning, content="", tool_calls=message.tool_calls[:1])


@dataclass(frozen=True)
class HarmonyCall(Call):
    """A call that is read in the model's own spelling too: it names the recipient behind the channel."""

    spelled: tuple[str, ...] = (
        "<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{arguments}",
        "<|channel|>commentary to=functions.{name} json<|message|>{arguments}",
        "<|channel|>commentary to=functions.{name}<|message|>{arguments}",
    )

    def read(self, text: str, schemas: Schemas, *, loose: bool = False) -> Read | None:
        patterns = (self.pattern, *self.spelled)
        found = next(filter(None, (take(pattern, text, value="arguments") for pattern in patterns)), None)
        return found and Read(ToolCall(**found[0]), found[1], status_of(found[0]["arguments"]))

    def worded(self, change: Callable[[str], str]) -> Call:
        return HarmonyCall(change(self.pattern), tuple(map(change, self.spelled)))


TEMPLATE = Template(
    start=(system, developer),
    head=instructed,
    turns={
        "system": nothing,
        "developer": nothing,
        "user": say("<|start|>user<|message|>{content}<|end|>"),
        "tool": result,
    },
    assistant=Assistant(
        open=ASSISTANT,
        think="<|channel|>analysis<|message|>{reasoning}<|end|><|start|>assistant",
        thinks=thinks,
        before_answer="<|channel|>final<|message|>",
        beside="<|channel|>commentary<|message|>{content}<|end|><|start|>assistant",
        prepare=prepare,
        calls=Calls(
            HarmonyCall(" to=functions.{name}<|channel|>commentary json<|message|>{arguments}"),
            alone=(" to=functions.", "<|channel|>commentary to=functions."),
        ),
        stop=stop,
        stops=("<|return|>", "<|call|>"),
    ),
    prompt=ASSISTANT,
)
