"""What a prompt tells: the conversation behind ids, recalled from them or given by a caller who still has it.

What the ids leave open (a system message that has no mark of its own, tools that nobody named) is told every way.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, takewhile
from typing import Any

from renderers.closing import Refusal, Refused
from renderers.errors import TemplateError
from renderers.messages import Message, Request, Turn
from renderers.parsing import Parser
from renderers.recalling import Marks, Signs, tells
from renderers.rendered import Rendered, encode
from renderers.segments import Kind, Segment, Stream
from renderers.template import worded
from renderers.tokenizer import Tokenizer

Ids = tuple[int, ...]
Tools = tuple[Mapping[str, Any], ...]
SOME_TOOL: Tools = ({"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}},)
"""Stands for tools that the prompt tells and nobody named."""
SYSTEM = Message("system", "S")
"""Stands for a system message that the ids do not show."""


@dataclass(frozen=True)
class History:
    """What a prompt tells, and how."""

    messages: tuple[Message, ...]
    tools: Tools
    stream: Stream
    sampled: Message | None = None
    """What the completion says, where the caller knows."""


class Prompts:
    """The prompts of one witness, one vocabulary and one setting of the flags; `parser` reads turns of the model."""

    def __init__(
        self, tell: Callable[[Request], Stream], tokenizer: Tokenizer, flags: Mapping[str, Any], parser: Parser | None
    ):
        self.witness, self.tokenizer, self.flags, self.parser = tell, tokenizer, flags, parser
        self.signs = Signs(tokenizer)

    def tell(self, messages: tuple[Message, ...], tools: Tools = ()) -> Stream:
        """A conversation with its generation prompt."""
        return self.witness(Request(messages, tools, self.flags, generating=True))

    def read(self, opening: str, said: str) -> Message:
        """What an assistant message of a prompt says."""
        if self.parser is None:
            return Message("assistant", said)
        asked = Request((Message("user"),), (), self.flags)
        opened = worded(self.parser.template.assistant.open, Turn(asked))
        return self.parser.parse((opening + said).removeprefix(opened), asked, prompt_ids=()).message

    @cached_property
    def marks(self) -> Marks:
        return Marks(self.tell, self.signs)

    def given(self, prompt: Ids, messages: tuple[Message, ...], tools: Tools | None) -> list[History]:
        """The history that the caller knows, if the prompt tells its tools and ends as it does."""
        sampled = messages[-1] if messages and messages[-1].role == "assistant" else None
        told, text = messages[:-1] if sampled else messages, self.signs.read(prompt)
        history = History(told, tools or (), self.tell(told, tools or ()), sampled)
        if not self._offers(history, text, known=True):
            if tools is not None:
                raise Refused(Refusal.TOOLS, "the prompt tells other tools")
            history = History(told, SOME_TOOL, self.tell(told, SOME_TOOL), sampled)
        if not text.endswith(self.prompted(history)):
            raise Refused(Refusal.UNREADABLE, "the prompt does not end as these messages are prompted")
        return [history]

    def prompted(self, history: History) -> str:
        """The generation prompt, in signs."""
        return self.signs.write(s for s in history.stream.segments[-1:] if s.message is None)

    def recalled(self, prompt: Ids, tools: Tools | None) -> list[History]:
        """Every history that the prompt may tell, as far as its control tokens show."""
        text, recalled, found = self.signs.read(prompt), self.marks.recall(prompt, self.read), list[History]()
        for told in _led(recalled.messages):
            for offered in ((), SOME_TOOL) if tools is None else (tools,):
                with suppress(TemplateError):
                    found.append(History(told, offered, self.tell(told, offered)))
        open_ = tools is None
        found = [h for h in found if tells(h.stream, h.messages, text, recalled, self.signs, any_tools=open_)]
        if not found and tools is not None and self.recalled(prompt, None):
            raise Refused(Refusal.TOOLS, "the prompt does not tell these tools")
        if not found:
            raise Refused(Refusal.UNREADABLE, "the prompt has control tokens where this template has none")
        if tools is not None and not any(self._offers(history, text) for history in found):
            raise Refused(Refusal.TOOLS, "the prompt tells other tools")
        return found

    def _offers(self, history: History, prompt: str, *, known: bool = False) -> bool:
        """Whether a prompt tells the tools that a history tells; of none, whether it tells none.

        known: its messages are what the prompt says, and not recalled, tools and all, from turns that hold both.
        """
        if history.tools:
            return all(self.signs.read(told.ids) in prompt for told in map(self.encoded, _offered(history, known)))
        with suppress(TemplateError):
            words = self._announced(self.tell(history.messages, SOME_TOOL).segments)
            return words in self.signs.write(history.stream.segments) or words not in prompt
        return True

    def _announced(self, told: Sequence[Segment]) -> str:
        """The template's words before the first tool, in signs."""
        first = next((k for k, segment in enumerate(told) if segment.kind is Kind.TOOLS), 0)
        lead = [*takewhile(lambda s: s.literal, told[:first][::-1])][::-1]
        return self.signs.write([*lead, *takewhile(lambda s: s.literal, told[first:])]).strip()

    def encoded(self, segments: Iterable[Segment]) -> Rendered:
        return encode([Stream(tuple(segments))], self.tokenizer)[0]


def _offered(history: History, known: bool) -> Iterator[Sequence[Segment]]:
    """Each run of tools between its neighbours: the run alone stands where more tools are told, too."""
    told = history.stream.segments
    for tools, run in groupby(range(len(told)), lambda place: told[place].kind is Kind.TOOLS):
        if tools:
            places = list(run)
            around = range(max(places[0] - 1, 0), min(places[-1] + 2, len(told)))
            yield [told[k] for k in around if k in places or known or told[k].literal]


def _led(messages: tuple[Message, ...]) -> Iterator[tuple[Message, ...]]:
    """A conversation with and without instructions before it: templates write some of their own, and hide some."""
    lead = sum(1 for _ in takewhile(lambda message: message.role in ("system", "developer"), messages))
    yield from (messages[k:] for k in range(lead + 1))
    if not lead:
        yield (SYSTEM, *messages)
