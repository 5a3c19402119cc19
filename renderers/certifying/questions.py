"""What a template is asked, a row a question: where it can be seen, and what is seen there."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from renderers.messages import Message, Request, text
from renderers.segments import Kind, Origin, Segment, Stream, Verdict
from renderers.tracing.witness import TracedTemplate

REWRITTEN = frozenset({Verdict.HISTORY_REWRITTEN, Verdict.TURN_REWRITTEN, Verdict.SCATTERED})
MARKED = re.compile(r"\{%[-+]?\s*generation\b")
Some = Callable[[int, Message, Request], bool]
"""Whether a message is of those that are asked about."""


@dataclass(frozen=True)
class Seen:
    """A conversation as a template tells it."""

    template: TracedTemplate
    request: Request
    stream: Stream
    other: TracedTemplate
    """The template on another day."""

    def said(self, index: int, field: str) -> str:
        """What is told of a field of a message."""
        at = ("messages", index, field)
        return "".join(s.text for s in self.stream.segments if s.origin and s.origin[:3] == at)

    def lost(self, some: Some, field: str) -> list[Origin]:
        """Where this field holds what is told nowhere, of the messages that are asked about."""
        asked = {k for k, message in enumerate(self.request.messages) if some(k, message, self.request)}
        lost = (at for at in self.stream.lost if at[0] == "messages" and at[1] in asked)
        return [at for at in lost if at[2] == field]


@dataclass(frozen=True)
class Question:
    """Something that a template may do."""

    name: str
    about: Callable[[Request], bool]
    """Conversations in which it can be seen."""
    shows: Callable[[Seen], str | None]
    """The answer that one of them shows."""
    otherwise: str | Callable[[Seen], str]
    """The answer where none of them shows another."""
    odd: str = ""
    """The oddity that it is about (`conversations.oddities`)."""


def any_of(some: Some) -> Callable[[Request], bool]:
    return lambda request: any(some(index, message, request) for index, message in enumerate(request.messages))


def field(name: str, some: Some, field: str, odd: str = "") -> Question:
    """Is a field told, of messages like these?"""
    return Question(name, any_of(some), lambda seen: "dropped" if seen.lost(some, field) else None, "told", odd)


def calls(name: str, some: Some, otherwise: str | Callable[[Seen], str]) -> Question:
    """Are tool calls told, of messages like these? The first of each may be; and of one the name or the arguments."""

    def shows(seen: Seen) -> str | None:
        lost = seen.lost(some, "tool_calls")
        if not lost or all(at[3] for at in lost):
            return "all but the first dropped" if lost else None
        fields = {at[-1] for at in lost}
        return "dropped" if len(fields) > 1 else f"the {fields.pop()} dropped"

    return Question(name, any_of(some), shows, otherwise)


def _assistant(index: int, message: Message, request: Request) -> bool:
    return message.role == "assistant"


def _followed(index: int, message: Message, request: Request) -> bool:
    return message.role == "assistant" and index + 1 < len(request.messages)


def _thought_last(index: int, message: Message, request: Request) -> bool:
    return bool(message.reasoning) and index + 1 == len(request.messages)


def _thought_asked_on(index: int, message: Message, request: Request) -> bool:
    return bool(message.reasoning) and any(later.role == "user" for later in request.messages[index + 1 :])


def _thought_calling(index: int, message: Message, request: Request) -> bool:
    later = request.messages[index + 1 :]
    return bool(message.reasoning and message.tool_calls and later) and all(m.role != "user" for m in later)


def _calling(index: int, message: Message, request: Request) -> bool:
    return len(message.tool_calls) == 1


def _calling_twice(index: int, message: Message, request: Request) -> bool:
    return len(message.tool_calls) > 1


def _calling_and_saying(index: int, message: Message, request: Request) -> bool:
    return bool(message.tool_calls and message.content)


def _result(index: int, message: Message, request: Request) -> bool:
    return message.role == "tool"


def _developer(index: int, message: Message, request: Request) -> bool:
    return message.role == "developer"


def _late_system(index: int, message: Message, request: Request) -> bool:
    return message.role == "system" and index > 0


def _in_parts(index: int, message: Message, request: Request) -> bool:
    return not isinstance(message.content, str)


def _blanks(index: int, message: Message, request: Request) -> bool:
    said = text(message.content)
    return message.role == "assistant" and said != said.strip()


def _inline(index: int, message: Message, request: Request) -> bool:
    return message.role == "assistant" and "</think>" in text(message.content)


def _rewritten(seen: Seen) -> str | None:
    found = next((p for p in seen.stream.proofs if p.verdict in REWRITTEN), None)
    return found and f"no: message {found.message}: {found.verdict} {found.note}".rstrip()


def _unprompted(seen: Seen) -> str | None:
    found = next((p for p in seen.stream.proofs if p.verdict is Verdict.PROMPT_ABSENT), None)
    return found and f"no: message {found.message} was prompted with {found.note}, which is not told"


def _switched(seen: Seen) -> str | None:
    return next((f"no: with {p.note}" for p in seen.stream.proofs if p.verdict is Verdict.PROVED and p.note), None)


def _unstopped(seen: Seen) -> str | None:
    stopped = {segment.message for segment in seen.stream.segments if segment.kind is Kind.STOP}
    without = next((p.message for p in seen.stream.proofs if p.message not in stopped), None)
    return None if without is None else f"not always: message {without} has none"


def _stops(seen: Seen) -> str:
    return ", ".join(sorted({s.text for s in seen.stream.segments if s.kind is Kind.STOP}))


def _system(seen: Seen) -> str | None:
    """Dropped, or told without a control token between it and what a user says."""
    if not seen.said(0, "content"):
        return "dropped"
    data = [(k, s.kind) for k, s in enumerate(seen.stream.segments) if s.kind in (Kind.SYSTEM, Kind.USER)]
    for (start, one), (end, other) in pairwise(data):
        between = "".join(segment.text for segment in seen.stream.segments[start + 1 : end])
        if one is not other and not seen.template.tokens.control.search(between):
            return "told in the user's turn"
    return None


def _data(seen: Seen) -> list[int | None]:
    """In the order in which they are told: the messages of data; None for tools."""
    return [m for m in map(_teller, seen.stream.segments) if m != -1]


def _teller(segment: Segment) -> int | None:
    if segment.kind is Kind.TOOLS:
        return None
    return int(segment.origin[1]) if segment.origin and segment.origin[0] == "messages" else -1


def _moved(seen: Seen) -> str | None:
    late = next(k for k, m in enumerate(seen.request.messages) if _late_system(k, m, seen.request))
    told = _data(seen)
    if late not in told:
        return "dropped"
    return "moved to the front" if any(m is not None and m < late for m in told[told.index(late) :]) else None


def _tools_lost(seen: Seen) -> str | None:
    return "dropped" if any(at[0] == "tools" for at in seen.stream.lost) else None


def _tools_told(seen: Seen) -> str:
    told = _data(seen)
    before = told[told.index(None) - 1] if None in told[1:] and told[0] is not None else None
    return "told first" if before is None else f"told after what the {seen.request.messages[before].role} says"


def _dated(seen: Seen) -> str | None:
    return None if seen.other.tell(seen.request).text == seen.stream.text else "yes"


def _otherwise(some: Some) -> Callable[[Seen], str | None]:
    """What is told of the content of such a message, where that is not what it holds."""

    def shows(seen: Seen) -> str | None:
        for index, message in enumerate(seen.request.messages):
            told = seen.said(index, "content")
            if some(index, message, seen.request) and told != text(message.content):
                return f"told as {told!r}"
        return None

    return shows


def _twice(request: Request) -> bool:
    return any(one.role == other.role == "user" for one, other in pairwise(request.messages))


def _assistant_first(request: Request) -> bool:
    return request.messages[0].role == "assistant"


def _nothing(seen: Seen) -> None:
    return None


QUESTIONS = (
    Question("history is only added to", any_of(_followed), _rewritten, "yes"),
    Question("every turn opens with its generation prompt", any_of(_assistant), _unprompted, "yes"),
    Question("as it is served by default", any_of(_assistant), _switched, "yes"),
    Question("stop", any_of(_assistant), _unstopped, _stops),
    Question(
        "{% generation %} marks",
        any_of(_assistant),
        _nothing,
        lambda seen: "yes" if MARKED.search(seen.template.source) else "no",
    ),
    Question("prints the date", bool, _dated, "no"),
    Question("system message", lambda request: request.messages[0].role == "system", _system, "a turn of its own"),
    Question("late system message", any_of(_late_system), _moved, "told where it stands", "late system"),
    field("developer message", _developer, "content", odd="developer"),
    field("content in parts", _in_parts, "content", odd="in parts"),
    Question("two user messages in a row", _twice, _nothing, "told", "twice"),
    Question("assistant message first", _assistant_first, _nothing, "told", "assistant first"),
    Question("blanks around an answer", any_of(_blanks), _otherwise(_blanks), "kept", "blanks"),
    field("reasoning of the last message", _thought_last, "reasoning_content"),
    field("reasoning before a later user message", _thought_asked_on, "reasoning_content"),
    field("reasoning between tool calls", _thought_calling, "reasoning_content"),
    Question("a thought written in the content", any_of(_inline), _otherwise(_inline), "left there", "inline"),
    Question("tools", lambda request: bool(request.tools), _tools_lost, _tools_told),
    calls("tool calls", _calling, "told"),
    Question(
        "tool arguments",
        any_of(_calling),
        lambda seen: "dropped" if any(at[-1] == "arguments" for at in seen.lost(_calling, "tool_calls")) else None,
        lambda seen: "text, as it is" if seen.template.writes_raw_arguments else "an object",
    ),
    calls("parallel tool calls", _calling_twice, "told"),
    field("content beside tool calls", _calling_and_saying, "content"),
    field("tool results", _result, "content"),
)
