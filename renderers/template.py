"""A template, declared: how each role is told, and what the model itself writes.

What the model is *told* is bricks, never read back: a brick sees its own message, the roles beside it, tools and flags.
What the model *writes* is one `Assistant`, and all of it is read back: it sees its own message and whether it `thinks`,
which may hang on facts of the whole conversation. `proving` relies on both.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

from renderers.errors import TemplateError
from renderers.media import Medium, placed, shown
from renderers.messages import Message, Request, Turn, last_user, text
from renderers.patterns import FLAGGED, STEADY, Brick, content, fill, given
from renderers.segments import PLACES, Kind, Phrase, Shape, Told, joint, literally, phrase, segments_of, together
from renderers.toolcalls import Calls

PRESERVING = {"preserve_all_thinking": bool, "preserve_thinking_between_tool_calls": bool}
"""Flags of every template that tells thoughts: those of all history, or since the last user message, are told too."""
Frame = tuple[tuple[Shape, ...], tuple[Shape, ...], Shape | None]
Words = str | Callable[[Turn], str]
"""Words, or a choice of them for a turn."""


def never(turn: Turn) -> bool:
    return False


def as_it_is(message: Message, thinks: bool) -> Message:
    return message


def as_asked(request: Request) -> Request:
    return request


def worded(words: Words, turn: Turn) -> str:
    return words if isinstance(words, str) else words(turn)


def recalls(turn: Turn) -> bool:
    """Whether a thought of this message is asked to be told, even if the template itself drops it."""
    if not turn.flags:
        return False
    between = turn.flags.get("preserve_thinking_between_tool_calls", False)
    return turn.flags.get("preserve_all_thinking", False) or (between and (turn.index or 0) > last_user(turn))


def first_is_system(turn: Turn) -> bool:
    return turn.first == "system"


@dataclass(frozen=True)
class Assistant:
    """What the model writes, in the order it writes it: reasoning, content, calls, stop."""

    open: Words
    stop: Words
    """What ends the turn; "" where only the role marker of the next turn does (`lent`)."""
    stops: tuple[str, ...] = ()
    """All that the model may end a turn with, where `stop` is a choice."""
    think: str = ""
    """A pattern with the place `{reasoning}`, written where `thinks` holds."""
    thinks: Callable[[Turn], bool] = never
    no_think: str = ""
    """Words written where it does not hold."""
    after_think: str = ""
    """Words between reasoning and content, where there are both."""
    before_content: str = ""
    """Words before content, where there is any."""
    before_answer: str = ""
    """Words before content where nothing is called, be there any or not."""
    beside: str = ""
    """A pattern with the place `{content}`: how models say something before they call, though no message is told so."""
    calls: Calls | None = None
    lent: tuple[str, ...] = ()
    """Role markers that end this turn as they begin the next one: the model samples them as its stop."""
    after: str = ""
    """What the template puts behind the stop."""
    prepare: Callable[[Message, bool], Message] = as_it_is
    """What this template makes of a message that thinks or does not: trims it, splits inline reasoning off."""

    def write(self, index: int, message: Message, *, opening: str, thinks: bool, stop: str) -> Told:
        told = self.prepare(message, thinks)
        texts, origins, shapes = [], [], []
        if thinks and self._thought:
            texts.append(told.reasoning or "")
            origins.append(("messages", index, "reasoning_content" if message.reasoning else "content"))
        said, calls, many = told.content, told.tool_calls, 1
        if isinstance(said, str):  # as most are
            texts.append(said)
            origins.append(("messages", index, "content"))
        else:
            data = content(index, told)
            texts += [part for part, _ in data]
            origins += [origin for _, origin in data]
            said, many = text(said), len(data)
        frame = opening, thinks, said != "", calls != (), many, stop
        if calls and self.calls:
            for one in self.calls.write(index, told):
                texts += one.texts
                origins += one.origins
                shapes.append(one.shape)
        before, after, whole = self._frames.get(frame) or self._frames.setdefault(frame, self._framed(*frame))
        if whole is not None and not shapes:
            return (Phrase(whole, index, tuple(texts), tuple(origins)),)
        return together((*before, *shapes, *after), index, tuple(texts), tuple(origins))

    def _framed(self, opening: str, thinks: bool, says: bool, calls: bool, texts: int, stop: str) -> Frame:
        """What stands up to the end of the content, and behind the calls; both as one, where that may be."""
        answer = (self.after_think * (thinks and says), self.before_content * says, self.before_answer * (not calls))
        words = (
            (opening, Kind.SCAFFOLD),
            (self.no_think * (not thinks), Kind.REASONING),
            *((said, Kind.ANSWER) for said in answer),
        )
        opens, *others = [(literally(said, kind),) if said else () for said, kind in words]
        before = (*opens, *self._thought * thinks, *chain.from_iterable(others), *(PLACES[Kind.ANSWER],) * texts)
        ends = ((stop, Kind.STOP), (self.after, Kind.SCAFFOLD))
        after = tuple(literally(words, kind) for words, kind in ends if words)
        return before, after, joint(*before, *after)

    @cached_property
    def _frames(self) -> dict[tuple, Frame]:
        """Found once."""
        return {}

    @cached_property
    def _thought(self) -> tuple[Shape, ...]:
        return tuple(one.shape for one in fill(self.think, 0, Kind.REASONING, Kind.REASONING, reasoning=given("")))

    @cached_property
    def recalling(self) -> bool:
        """Whether there are words for a thought."""
        return bool(self.think and self.prepare(Message("assistant", "said", reasoning="thought"), True).reasoning)

    def worded(self, change: Callable[[str], str]) -> "Assistant":
        """The same with every pattern that is read back changed."""
        names = ("think", "no_think", "after_think", "before_content", "before_answer", "beside")
        words = {name: change(getattr(self, name)) for name in names}
        stop = change(self.stop) if isinstance(self.stop, str) else ""
        stops, lent = tuple(map(change, self.stops)), tuple(map(change, self.lent))
        return replace(self, **words, stop=stop, stops=stops, lent=lent, calls=self.calls and self.calls.worded(change))

    def lend(self, told: Told, index: int) -> Told:
        """The turn after message `index`: where it begins with that message's stop, that is the message's."""
        opening = next(segments_of(told), None)
        stop = opening and opening.literal and next(filter(opening.text.startswith, self.lent), "")
        if not opening or not stop:
            return told
        _, *rest = segments_of(told)
        cut = [opening.but(text=opening.text.removeprefix(stop))] if opening.text != stop else []
        return (phrase(stop, Kind.STOP, index), *cut, *rest)


@dataclass(frozen=True)
class Template:
    """How a conversation is told."""

    turns: Mapping[str, Brick]
    """How every role but the assistant's is told."""
    assistant: Assistant
    prompt: Words
    """The generation prompt that stands before a turn (at the end: before the next one)."""
    start: tuple[Brick, ...] = ()
    """What stands before the first turn: the tools, a system turn that is always there."""
    head: Callable[[Turn], bool] = first_is_system
    """Whether `start` tells the first message."""
    arrange: Callable[[Request], Request] = as_asked
    """What is made of a conversation before it is told; of each message by what stands before it, and nothing else."""
    media: Mapping[str, Medium] = field(default_factory=dict)
    """How media are told, by kind: `image`, `video`, `audio`."""
    views: Mapping[str, Callable[[Turn], Hashable]] = field(default_factory=dict)
    """By role: all that telling it depends on of what is neither its message, nor before it, nor the next role."""

    def asked(self, request: Request) -> Request:
        """What is told of a request: arranged, its media in words. Raises TemplateError for media that have none."""
        return self.arrange(shown(request, self.media))

    def told(self, request: Request) -> list[Told]:
        """What stands before the first message, then every message; generation prompts are not cut off yet.

        Raises TemplateError for a conversation that this template has no words for.
        """
        plain, seeing, turn = request.anew(request.flags), self._viewers, self.turn
        told = [self.opening(plain)]
        told += [turn(Turn(request if m.role in seeing else plain, index)) for index, m in enumerate(request.messages)]
        assert not plain.facts, "what is told sees no facts: a proof would miss that one has changed"
        return told

    def prompts(self, request: Request) -> Callable[[int], str]:
        """The generation prompt before each message, and at the end."""
        if isinstance(self.prompt, str) or hasattr(self.prompt, FLAGGED):
            asked = worded(self.prompt, Turn(request))
            return lambda index: asked
        return lambda index: worded(self.prompt, Turn(request.until(index, generating=True)))

    def opening(self, request: Request) -> Told:
        """What stands before the first message that is not told in it."""
        if not request.messages:
            raise TemplateError("an empty conversation: there is no message to tell")
        end = Turn(request)
        told = [said for brick in self.start for said in brick(end)]
        return tuple(told if isinstance(request.messages[0].content, str) else placed(segments_of(told), self.media))

    def steady(self, role: str) -> bool:
        """Whether a role is told the same at the end as before a message of the assistant's."""
        return role in self._steady

    @cached_property
    def _steady(self) -> frozenset[str]:
        steady = (role for role, brick in self.turns.items() if hasattr(brick, STEADY) and role not in self._viewers)
        return frozenset(() if self.looks_ahead else steady)

    def view(self, turn: Turn) -> Hashable:
        """All that telling a message depends on beside it, if its role is one of the `viewers`: found once."""
        request, index = turn.request, turn.index
        assert index is not None, "the end of a conversation is no message"
        seen = request.views.get(index)
        if seen is None:
            seen = request.views[index] = self._viewers[request.messages[index].role](turn)
        return seen

    @property
    def viewers(self) -> Collection[str]:
        """Roles of which the telling depends on what follows, beyond the next role."""
        return self._viewers

    @cached_property
    def _viewers(self) -> Mapping[str, Callable[[Turn], Hashable]]:
        """By role: what finds the view of those that have one."""
        return {"assistant": self.writing, **self.views}

    def writing(self, turn: Turn) -> tuple[str, bool, str]:
        """What an assistant message opens with, whether it thinks, and its stop."""
        told, flags = self.assistant, turn.request.flags
        thinks = told.thinks(turn) or (flags and recalls(turn) and told.prepare(turn.message, True).reasoning)
        opening = told.open if isinstance(told.open, str) else told.open(turn)
        return opening, bool(thinks), told.stop if isinstance(told.stop, str) else told.stop(turn)

    @property
    def looks_ahead(self) -> bool:
        """Whether telling the model's message depends on the role of the next: `writing` has all that this one sees."""
        return type(self).turn is not Template.turn

    def turn(self, turn: Turn) -> Told:
        """One message, its generation prompt not cut off yet."""
        request, index = turn.request, turn.index or 0
        message = request.messages[index]
        role = message.role
        if role == "assistant":
            seen: Any = request.views.get(index) or self.view(turn)  # of the assistant, what `writing` found
            opening, thinks, stop = seen
            return self.assistant.write(index, message, opening=opening, thinks=thinks, stop=stop)
        if not index and self.start and self.head(turn):
            return ()
        if role not in self.turns:
            raise TemplateError(f"message {turn.index}: this template has no turn for role {role!r}")
        told = tuple(self.turns[role](turn))
        if not isinstance(message.content, str):
            told = tuple(placed(segments_of(told), self.media))
        if self.assistant.lent and turn.role(-1) == "assistant":
            return self.assistant.lend(told, index - 1)
        return told
