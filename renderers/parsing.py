"""A completion read back, with the patterns that write it: at once, or while it is still being sampled.

What the model wrote as a control token is one character here that no text can hold, so data that only spells one is not
taken for it. Nothing is stripped, arguments stay verbatim, and what cannot be read as a call is kept as it is; a
completion that was cut off is read as far as it goes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from renderers.arguments import CallStatus, schemas_of
from renderers.calling import Found
from renderers.disguise import Disguise, Ear
from renderers.errors import TemplateError, TokenizerError
from renderers.hub import to_hub
from renderers.listening import Listener
from renderers.messages import Message, Request, ToolCall, Turn
from renderers.proving import holds, seamed
from renderers.rendered import encode
from renderers.segments import Kind, Segment, Stream, segments_of
from renderers.template import Template, worded
from renderers.tokenizer import Tokenizer

Piece = tuple[Kind, str]
"""A stretch of text, and what it is."""


@dataclass(frozen=True)
class ParsedCall:
    """What stands where tool calls do."""

    call: ToolCall | None
    """As it is in the message; None where it cannot be read as a call: then all of it is `raw`."""
    status: CallStatus
    raw: str
    """Its text, words of the template included, control tokens spelled out."""
    span: tuple[int, int] | None
    """Its tokens in the completion, half open; None where text was parsed."""


@dataclass(frozen=True)
class Parsed:
    """What the model said."""

    message: Message
    ended: bool
    """Whether it stopped by itself."""
    calls: tuple[ParsedCall, ...] = ()
    exact: bool = False
    """Whether telling `message` again, after the same conversation, gives the very same ids."""
    pieces: tuple[Piece, ...] = ()
    """The whole completion, control tokens spelled out, cut by what it is; what follows the stop is scaffold."""

    @property
    def content(self) -> str:
        return self.message.content if isinstance(self.message.content, str) else ""

    @property
    def reasoning_content(self) -> str | None:
        return self.message.reasoning

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The message's calls in the Hub's shape."""
        return to_hub([self.message])[0].get("tool_calls", [])


class Parser:
    """A template's own words as a tokenizer writes them, to read completions with. Made once for both."""

    def __init__(self, template: Template, tokenizer: Tokenizer):
        self.template, self.tokenizer, self.disguise = template, tokenizer, Disguise(tokenizer)
        self.own = template.assistant.worded(self.disguise.hide)
        self.signs = tuple(map(self.disguise.hide, self.stops))
        """`stops`, as they are read."""

    def parse(
        self, completion: Iterable[int] | str, request: Request, *, prompt_ids: Sequence[int] | None = None
    ) -> Parsed:
        """The message that a completion tells after this conversation. Never raises for what a model may have written.

        Ids are exact. In text, whatever spells a control token is taken for it. `prompt_ids`: the prompt that was
        really given, where that is not the conversation's own.
        """
        listening = Listening(self, request, prompt_ids)
        if isinstance(completion, str):
            listening.ids = None
            listening.listener.add(self.disguise.spot(completion))
        else:
            listening.feed(completion)
        return listening.close()

    def prompted(self, request: Request, prompt_ids: Sequence[int] | None) -> str:
        """What the generation prompt has written of the turn, behind its opening."""
        end = Turn(request)
        opening = worded(self.template.assistant.open, end)
        if prompt_ids is None:
            return worded(self.template.prompt, end).removeprefix(opening)
        (words,) = self.tokenizer.split_batch([opening])
        ids = np.asarray(prompt_ids, np.int64)
        opened = np.flatnonzero(ids == words[0].id) if words else ids[:0]
        told = self.tokenizer.decode(ids[opened[-1] :].tolist()) if len(opened) else ""
        stopped = any(stop and stop in told for stop in self.stops)
        return "" if stopped else told.removeprefix(opening) * told.startswith(opening)

    @cached_property
    def stops(self) -> tuple[str, ...]:
        """All that ends a turn."""
        own, eos = self.template.assistant, self.tokenizer.special_tokens.get("eos_token", "")
        stop = own.stop if isinstance(own.stop, str) else ""
        return tuple(dict.fromkeys(filter(None, (stop, *own.stops, *own.lent, eos))))

    def tells(self, message: Message, request: Request, prompted: str, stop: str) -> Stream | None:
        """The sampled words of a message, told again behind its prompt; None where they would not be told so."""
        asked = self.template.asked(request.but(messages=(*request.messages, message), generating=False))
        turn = Turn(asked, len(asked.messages) - 1)
        prompt = worded(self.template.assistant.open, Turn(request)) + prompted
        try:
            told = self.template.turn(turn)
            self.template.opening(asked)  # where some templates refuse whom they would not tell
        except (TemplateError, RecursionError):
            return None
        sampled = tuple(segment for segment in segments_of(seamed(told, prompt)) if segment.kind.sampled)
        lent = (Segment(stop, Kind.STOP),) if stop in self.template.assistant.lent else ()
        return Stream((*sampled, *lent)) if holds(told, prompt) else None


class Listening:
    """A completion, read while it is sampled. All of it costs what reading it at once does."""

    def __init__(self, parser: Parser, request: Request, prompt_ids: Sequence[int] | None = None):
        self.parser, self.request, self.prompt_ids = parser, request, prompt_ids
        self.prompted = parser.prompted(request, prompt_ids)
        self.listener = Listener(parser.own, parser.signs, schemas_of(request.tools))
        hidden = parser.disguise.spot(self.prompted)
        self.listener.add(hidden)
        self.begin = self.known = len(hidden)
        self.ear = Ear(parser.disguise, self.begin)
        self.ids: list[int] | None = []

    def feed(self, ids: Iterable[int]) -> tuple[Piece, ...]:
        """What more ids tell, as far as it can no longer change."""
        more = list(map(int, ids))
        if self.ids is not None:
            self.ids += more
        self.listener.add(self.ear.hear(more))
        return self.news()

    def news(self) -> tuple[Piece, ...]:
        told = list(self.listener.heard(self.known))
        self.known += sum(len(text) for _, text in told)
        return tuple((kind, self.parser.disguise.show(text)) for kind, text in told)

    @property
    def parsed(self) -> Parsed:
        """The message so far, as if the completion ended here. Reads it all again: for what is new, see `feed`."""
        return self.parser.parse(self.ids or (), self.request, prompt_ids=self.prompt_ids)

    @property
    def calls(self) -> tuple[ParsedCall, ...]:
        """The calls so far that can no longer change."""
        return tuple(map(self.call, self.listener.found))

    def close(self) -> Parsed:
        """The message, now that there is no more."""
        listener, show = self.listener, self.parser.disguise.show
        listener.add(self.ear.end(), last=True)
        calls = self.calls
        reasoning = None if listener.reasoning is None else show(listener.reasoning)
        told = tuple(call.call for call in calls if call.call)
        message = Message("assistant", show(listener.content), reasoning, told)
        pieces = tuple((kind, show(text)) for kind, text in listener.heard(self.begin))
        return Parsed(message, listener.tape.stopped, calls, self.exact(message, pieces), pieces)

    def call(self, found: Found) -> ParsedCall:
        show, call = self.parser.disguise.show, found.call
        told = call and ToolCall(show(call.name), show(call.arguments), call.id and show(call.id))
        raw = show(self.listener.tape.text[found.begin : found.end])
        span = None if self.ids is None else self.ear.span(found.begin, found.end)
        return ParsedCall(told, found.status or CallStatus.OK, raw, span)

    def exact(self, message: Message, pieces: Sequence[Piece]) -> bool:
        """Whether telling the message again gives all of this."""
        stop = next((text for kind, text in pieces if kind is Kind.STOP), "")
        stream = self.parser.tells(message, self.request, self.prompted, stop)
        if stream is None or self.ids is None:
            return stream is not None and stream.text == "".join(text for _, text in pieces)
        try:
            return encode([stream], self.parser.tokenizer)[0].ids.tolist() == self.ids
        except TokenizerError:
            return False
