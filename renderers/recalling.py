"""The conversation that prompt ids tell, recalled: who spoke, in which order, and what.

A template marks its turns with control tokens, and no data can be one. Which words open and close the turns of a role
is found by having the template tell a few probes, so this holds for declared and traced templates alike. What the
tokens leave open (a system message without a mark, which tools there are) is for the caller to try both ways.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, groupby, pairwise, takewhile

from renderers.errors import TemplateError
from renderers.messages import Message, Role, ToolCall
from renderers.segments import Kind, Segment, Stream
from renderers.tokenizer import Tokenizer
from renderers.tracing.runs import common

Tell = Callable[[tuple[Message, ...]], Stream]
Read = Callable[[str, str], Message]
"""An assistant message, of its opening and the text that was sampled (control tokens spelled out)."""
ID = "000000000"
"""The id of a call that the ids do not tell: as long as Mistral wants it."""
ASK, ANSWER, TOOL = Message("user", "Q"), Message("assistant", "A"), Message("tool", "R", tool_call_id=ID)
CALL = Message("assistant", "", tool_calls=(ToolCall("f", "{}", ID),))
THOUGHT, PLANNED = ANSWER.but(reasoning="T"), CALL.but(reasoning="T")
HALVES = "".join(map(chr, range(0xD800, 0xDC00)))
SIGN = re.compile("[\ud800-\udbff][\udc00-\udfff]")
PROBES: tuple[tuple[Message, ...], ...] = (
    (ASK, ANSWER, ASK, THOUGHT, ASK),
    (ASK, CALL, TOOL, PLANNED, TOOL, ANSWER, ASK),
    (ASK, CALL, TOOL, TOOL, PLANNED),
    (ASK, CALL, TOOL),
    (ASK, CALL, TOOL, ASK),
    *((Message(role, "S"), ASK, ANSWER, ASK) for role in ("system", "developer")),
    *((ASK, ANSWER, Message(role, "S"), ASK) for role in ("system", "developer")),
)


class Signs:
    """Control tokens as pairs of characters that no text can hold, so that text shows where they really stand."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.control = tokenizer, frozenset(tokenizer.control.values())
        longest_first = sorted(tokenizer.control, key=len, reverse=True)
        self.spelled = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def read(self, ids: Iterable[int]) -> str:
        """The text of ids."""
        runs = groupby(map(int, ids), lambda token: token if token in self.control else None)
        return "".join(self.tokenizer.decode(r) if token is None else sign(token) * len([*r]) for token, r in runs)

    def write(self, segments: Iterable[Segment]) -> str:
        """The text of segments: data has no control tokens."""
        return "".join(self.hide(segment.text) if segment.literal else segment.text for segment in segments)

    def hide(self, words: str) -> str:
        return self.spelled.sub(lambda found: sign(self.tokenizer.control[found[0]]), words)

    def show(self, text: str) -> str:
        """The text with its control tokens spelled out."""
        return SIGN.sub(lambda found: self.tokenizer.token_text(token_of(found[0])), text)


def sign(token: int) -> str:
    return chr(0xD800 + token // 1024) + chr(0xDC00 + token % 1024)


def token_of(sign: str) -> int:
    return (ord(sign[0]) - 0xD800) * 1024 + ord(sign[1]) - 0xDC00


@dataclass(frozen=True)
class Recalled:
    """What the ids of a prompt tell."""

    messages: tuple[Message, ...]
    told: list[str]
    """The signs of all that no model wrote, and of its stops."""


class Marks:
    """The words around the turns of a template, in signs: learnt from what it tells of probes."""

    opens: dict[str, Role]
    closes: set[str]
    """What ends a turn that is told."""
    own: str
    """What opens a turn of the model."""
    stops: set[str]
    ends: set[str]
    """Those that the model itself writes, in a turn that is proved; history may tell others."""
    calls: set[str]
    """What tool calls begin with."""
    thought: str = ""
    """What a thought ends with."""
    bare: bool
    """Some turns of the model open with no sign: they begin where what was told ends."""
    again: bool
    """The model opens its turn again after a thought."""

    def __init__(self, tell: Tell, signs: Signs):
        self.signs, self.opens, self.closes, self.stops, self.calls = signs, {}, set(), set(), set()
        self.ends = set()
        prompts, opens, sampled = set[str](), set[str](), list[str]()
        for probe, stream in _told(tell):
            prompts.add(signs.write(_tail(stream.segments, lambda s: s.message is None)))
            for index, message in enumerate(probe):
                own = [segment for segment in stream.segments if segment.message == index]
                if message.role == "assistant":
                    opens.add(signs.write(takewhile(lambda s: not s.kind.sampled, own)))
                    sampled.append(signs.write(s for s in own if s.kind.sampled))
                    self._learn(own, proved=index in stream.trainable)
                elif not all(segment.literal for segment in own):
                    self.opens[signs.write(takewhile(lambda s: s.literal, own))] = message.role
                    self.closes.add(signs.write(_tail(own, lambda s: s.literal)))
        own = max(prompts, default="")
        for other in prompts | opens:
            own = own[: common(own, other)].rstrip(HALVES) or own
        self.bare, self.again = "" in prompts, any(own and own in said for said in sampled)
        self.own, self.opens[own] = own, "assistant"
        self.opens = {words: role for words, role in self.opens.items() if SIGN.search(words)}
        self.closes = set(filter(SIGN.search, self.closes))

    def _learn(self, own: Sequence[Segment], *, proved: bool) -> None:
        """The stop, the calls and the thought of an assistant message."""
        stops = [self.signs.write([s]) for s in own if s.kind is Kind.STOP]
        self.stops.update(stops)
        self.ends.update(stops * proved)
        words = [self.signs.write([s]).strip() for s in own if s.kind is Kind.TOOL_CALL and s.literal]
        self.calls.update(list(filter(None, words))[:1])
        after = [b for a, b in pairwise(own) if not a.literal and a.kind is Kind.REASONING and b.literal]
        closing = self.signs.write(after[:1]).strip()
        self.thought = (SIGN.findall(closing) or [closing])[0] or self.thought

    def recall(self, ids: Sequence[int], read: Read) -> Recalled:
        """The conversation that a prompt tells, its generation prompt left out."""
        messages, told, show = list[Message](), list[str](), self.signs.show
        for role, opening, said, rest in self._turns(self.signs.read(ids)):
            told += SIGN.findall(rest if role == "assistant" else opening + rest)
            if role == "assistant":
                messages.append(read(show(opening), show(said)))
            elif role:
                messages.append(Message(role, show(said)))
        return Recalled(_answered(messages), told)

    def _turns(self, text: str) -> Iterator[tuple[Role | None, str, str, str]]:
        """Turn by turn: whose (None: nobody's), its opening, what was said, and the rest that no model wrote."""
        found = list(_any_of(self.opens).finditer(text))
        if self.again:
            found = [
                b
                for a, b in pairwise([None, *found])
                if b and not (a and self._role(a) == self._role(b) == "assistant")
            ]
        starts = [*(mark.start() for mark in found), len(text)]
        yield None, "", "", text[: starts[0]]
        for mark, end in zip(found, starts[1:], strict=True):
            role, said = self._role(mark), text[mark.end() : end]
            if role == "assistant":
                prompt = end == len(text) and not self._stop(said)
                yield (None, mark[0], "", said) if prompt else self._written(mark[0], said)
                continue
            close = _any_of(self.closes).search(said)
            rest = said[close.end() :] if close and self.bare and role in ("user", "tool") else ""
            yield role, mark[0], said[: close.start()] if close else said, said.removesuffix(rest)
            if rest:
                yield self._written("", rest)

    def _role(self, mark: re.Match[str]) -> Role:
        return self.opens[mark[0]]

    def _written(self, opening: str, said: str) -> tuple[Role, str, str, str]:
        stop = self._stop(said)
        at = stop.start() if stop else len(said)
        return "assistant", opening, said[:at], said[at:]

    def _stop(self, said: str) -> re.Match[str] | None:
        return next(reversed(list(_any_of(self.stops).finditer(said))), None)


def tells(
    stream: Stream, history: Sequence[Message], prompt: str, recalled: Recalled, signs: Signs, *, any_tools: bool
) -> bool:
    """Whether a stream of this history may be what a prompt tells: the same signs, and all of its words, in order.

    any_tools: its tools only stand for those of the prompt.
    """
    told = list(_unwritten(stream, history))
    if not _alike(told, recalled.told, signs, any_tools):
        return False
    at = 0
    for words in (signs.write([s]) for s in told if s.literal and s.kind is not Kind.TOOLS):
        at = prompt.find(words, at) + len(words)
        if at < len(words):
            return False
    return True


def _alike(told: Sequence[Segment], recalled: list[str], signs: Signs, any_tools: bool) -> bool:
    """Whether these are the signs recalled, but for those of the tools."""
    kinds = [(found, s.kind is Kind.TOOLS) for s in told for found in SIGN.findall(signs.write([s]))]
    offered = [k for k, (_, of_tools) in enumerate(kinds) if of_tools and any_tools]
    before, after = (kinds[: offered[0] + 1], kinds[offered[-1] + 1 :]) if offered else (kinds, [])
    first, last = ([found for found, _ in part] for part in (before, after))
    if not offered:
        return first == recalled
    between = len(recalled) - len(first) - len(last)
    return between >= 0 and recalled[: len(first)] == first and recalled[len(first) + between :] == last


def _unwritten(stream: Stream, history: Sequence[Message]) -> Iterator[Segment]:
    """What no model wrote, and its stops."""
    writing = {index for index, message in enumerate(history) if message.role == "assistant"}
    for segment in stream.segments:
        if segment.kind is Kind.STOP:
            writing.discard(segment.message or 0)
        if segment.message not in writing:
            yield segment


def _told(tell: Tell) -> Iterator[tuple[tuple[Message, ...], Stream]]:
    """The probes that a template can tell."""
    for probe in PROBES:
        with suppress(TemplateError):
            yield probe, tell(probe)


def _tail(segments: Sequence[Segment], wanted: Callable[[Segment], bool]) -> list[Segment]:
    return list(takewhile(wanted, reversed(segments)))[::-1]


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _answered(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Messages in which each tool result names the call that it answers: the next one, as far as ids tell."""
    asked, told, number = list[str](), list[Message](), count()
    for message in messages:
        if message.role == "tool":
            message = message.but(tool_call_id=asked.pop(0) if asked else ID)
        if message.tool_calls:
            calls = tuple(ToolCall(c.name, c.arguments, c.id or f"{next(number):09}") for c in message.tool_calls)
            message, asked = message.but(tool_calls=calls), [call.id or ID for call in calls]
        told.append(message)
    return tuple(told)
