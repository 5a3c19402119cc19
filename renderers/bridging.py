"""A sampled turn extended without rendering it again: the ids of the next prompt, or the reason why there are none.

The given ids stand at the front, one by one as they are: what the model wrote is never told anew, however it spelled
it. What follows is cut from the conversation told whole, behind the stop of that turn. For that the conversation is
recalled from the ids (`recalling`), unless the caller still has it. It is told twice: as it was when the turn was
sampled, and with the new messages. The first must be the beginning of the second, or the template would rewrite what
stands in the prompt; and the turn must read there as it reads in the ids. What the ids leave open (a system message
that has no mark of its own, tools that nobody named) is told both ways, and must make no difference.

So a turn of Qwen3 is bridged to tool results, not to the user's next words where it holds a thought: history drops
those (`Refusal.HISTORY`), and whoever goes on has to render, or train, that turn by itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise, takewhile, zip_longest
from typing import Any

import numpy as np

from renderers.closing import Ending, Refusal, Refused
from renderers.errors import TemplateError, TokenizerError
from renderers.media import MultiModalData
from renderers.messages import Message, Request, ToolCall
from renderers.parsing import Parsed, Parser
from renderers.prompts import SOME_TOOL, History, Ids, Prompts, Tools
from renderers.recalling import PROBES, sign
from renderers.rendered import Rendered, encode
from renderers.segments import Kind, Segment, Stream
from renderers.tokenizer import Tokenizer

Shown = Callable[[Stream, tuple[Message, ...]], Stream]
"""A stream in which the media of these messages are the tokens that they are."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """The prompt of the next turn in its four parts; nothing but a refusal where there is none."""

    prompt: tuple[int, ...] = ()
    completion: tuple[int, ...] = ()
    """What the model wrote: the only ids that can be trained."""
    close: tuple[int, ...] = ()
    """What it would have written to end its turn, where it was cut off: scaffold."""
    new: tuple[int, ...] = ()
    """The new messages, through the next generation prompt."""
    refusal: Refusal | None = None
    note: str = ""
    multi_modal_data: MultiModalData | None = None
    """Where media of the new messages stand among all ids, and what was made of them; None where there are none."""

    @property
    def token_ids(self) -> list[int] | None:
        """All ids in order; None where the bridge is refused."""
        return None if self.refusal else [*self.prompt, *self.completion, *self.close, *self.new]

    @property
    def sampled_mask(self) -> np.ndarray:
        """bool, (tokens,): the ids of the completion."""
        sizes = list(map(len, (self.prompt, self.completion, self.close, self.new)))
        return np.repeat([False, True, False, False], sizes)


class Bridger:
    """Bridges for one witness, one vocabulary and one setting of the flags.

    parser: reads completions. A witness that only writes has none: then what was sampled must be, character by
    character, what the witness tells of it as the content of a message.
    """

    def __init__(
        self, tell: Callable[[Request], Stream], tokenizer: Tokenizer, flags: Mapping[str, Any], parser: Parser | None
    ):
        self.witness, self.flags, self.parser = tell, flags, parser
        self.prompts = Prompts(tell, tokenizer, flags, parser)
        self.signs = self.prompts.signs

    def parse(self, completion: Sequence[int], history: History) -> Parsed | None:
        """What a completion says; None where nothing reads it."""
        if self.parser is None:
            return None
        asked = Request(history.messages, history.tools, self.flags)
        parsed = self.parser.parse(completion, asked)
        if completion and not parsed.ended and sign(completion[-1]) in self.prompts.marks.stops:  # history's
            return replace(self.parser.parse(completion[:-1], asked), ended=True)
        return parsed

    @cached_property
    def stable(self) -> bool:
        """Whether every probe is told as its first turns are, and then more."""
        return all(map(self._stable, PROBES))

    def _stable(self, probe: tuple[Message, ...]) -> bool:
        ends = [k for k in range(1, len(probe)) if probe[k - 1].role != probe[k].role]
        with suppress(TemplateError):
            told = [self.witness(Request(probe[:end], (), self.flags)).text for end in (*ends, len(probe))]
            return all(after.startswith(before) for before, after in pairwise(told))
        return True

    def bridge(
        self,
        prompt: Sequence[int],
        completion: Sequence[int],
        new: tuple[Message, ...],
        *,
        tools: Tools | None = None,
        messages: tuple[Message, ...] | None = None,
        shown: Shown = lambda stream, messages: stream,
    ) -> Bridge:
        """The next prompt. tools: None where nobody named them. messages: what the prompt tells, where the caller still
        has it; if the last one is the assistant's, it is what the completion says. shown: makes media the tokens that
        they are."""
        prompt, completion = tuple(map(int, prompt)), tuple(map(int, completion))
        try:
            _check(prompt, completion, new)
            if messages is None:
                histories = self.prompts.recalled(prompt, tools)
            else:
                histories = self.prompts.given(prompt, messages, tools)
            close, told = self._agreed(histories, completion, new, shown)
        except Refused as refused:
            return Bridge(refusal=refused.refusal, note=refused.note)
        except (TemplateError, TokenizerError) as error:
            return Bridge(refusal=Refusal.UNTELLABLE, note=str(error))
        ids, data = told.token_ids, told.multi_modal_data
        data = data and data.behind(len(prompt) + len(completion))
        return Bridge(prompt, completion, tuple(ids[:close]), tuple(ids[close:]), multi_modal_data=data)

    def _agreed(
        self, histories: list[History], completion: Ids, new: tuple[Message, ...], shown: Shown
    ) -> tuple[int, Rendered]:
        """What closes the turn, so many ids, and what follows, whatever the history was."""
        found, refused = dict[tuple[int, Ids], Rendered](), list[Refused]()
        for history in histories:
            told = self._sampled(history, completion)
            _check_answers(told, new)
            for sampled in _identified(told, new):
                try:
                    close, told = self._extension(history, sampled, completion, new, shown)
                    found[close, tuple(told.token_ids)] = told
                except Refused as reason:
                    refused.append(reason)
                except TemplateError as error:
                    refused.append(Refused(Refusal.UNTELLABLE, str(error)))
        if refused and not found:
            raise refused[0]
        if refused or len(found) > 1:
            raise Refused(Refusal.UNKNOWN, "what follows depends on what the ids do not show")
        ((close, _), told) = found.popitem()
        return close, told

    def _sampled(self, history: History, completion: Ids) -> Message:
        """What the completion says."""
        parsed = self.parse(completion, history)
        return history.sampled or (parsed.message if parsed else self._content(completion))

    def _extension(
        self, history: History, sampled: Message, completion: Ids, new: tuple[Message, ...], shown: Shown
    ) -> tuple[int, Rendered]:
        """What closes the turn, so many ids, and what follows."""
        turn, rest = self._told(history, sampled, new)
        if history.tools is SOME_TOOL and any(segment.kind is Kind.TOOLS for segment in rest):
            raise Refused(Refusal.UNKNOWN, "the tools are told again, and nobody named them")
        if self.parser is None and history.sampled is None and new[0].role == "tool":
            self._check_read(history, sampled, new, rest)
        close = self._ending(history, completion, turn).rest()
        stream = shown(Stream((*close, *rest)), (*history.messages, sampled, *new))
        told = encode([stream], self.prompts.tokenizer)[0]
        return int(np.searchsorted(told.owners, len(close))), told

    def _told(
        self, history: History, sampled: Message, new: tuple[Message, ...]
    ) -> tuple[list[Segment], list[Segment]]:
        """A turn with its stop, and what is told behind it."""
        after = self.prompts.tell((*history.messages, sampled, *new), history.tools)
        if not after.text.startswith(history.stream.text):
            raise Refused(Refusal.HISTORY, "what stands before this turn reads otherwise with the new messages")
        written = _behind(after.segments, len(history.stream.text))
        stops = [k for k, s in enumerate(written) if s.kind is Kind.STOP and s.message == len(history.messages)]
        if not stops:
            raise Refused(Refusal.OTHER_STOP, "this template ends the turn with no token of its own")
        return written[: stops[0] + 1], written[stops[0] + 1 :]

    def _check_read(self, history: History, sampled: Message, new: tuple[Message, ...], rest: list[Segment]) -> None:
        """Refuse results that are told otherwise behind calls: nothing here reads whether the turn made some."""
        ids = [message.tool_call_id for message in takewhile(lambda message: message.role == "tool", new)]
        made = tuple(ToolCall("f", "{}", known) for known in ids)
        with suppress(TemplateError):
            if self._told(history, sampled.but(tool_calls=made), new)[1] != rest:
                raise Refused(Refusal.UNKNOWN, "results are told by the calls before them, which nothing reads")

    def _ending(self, history: History, completion: Ids, told: list[Segment]) -> Ending:
        """A turn as it was sampled, beside what is told of it."""
        ids, parsed = self.prompts.encoded(told).ids.tolist(), self.parse(completion, history)
        said, would = self.signs.read(completion), self.signs.read(ids)
        if parsed is None:
            said, would = (self.signs.hide(self.signs.show(text)) for text in (said, would))
        again, before = self.parse(ids, history), self.parse(completion[:-1], history)
        told_again, over = again and again.message, bool(before and before.ended)
        prompted, marks = self.prompts.prompted(history), self.prompts.marks
        return Ending(said, parsed, over, prompted, tuple(told), would, told_again, marks, self.signs)

    def _content(self, completion: Ids) -> Message:
        """A completion as nothing but content."""
        said = self.signs.read(completion)
        stop = max((stop for stop in self.prompts.marks.stops if said.endswith(stop)), key=len, default="")
        return Message("assistant", self.signs.show(said.removesuffix(stop)))


def _check(prompt: Ids, completion: Ids, new: Sequence[Message]) -> None:
    """Refuse what needs no proof."""
    if min((*prompt, *completion), default=0) < 0:
        raise Refused(Refusal.UNREADABLE, "an id below 0, as padding is: leave it out")
    if not completion:
        raise Refused(Refusal.EMPTY_COMPLETION)
    if not new:
        raise Refused(Refusal.NOTHING_NEW)
    if any(message.role == "assistant" for message in new):
        raise Refused(Refusal.ASSISTANT)


def _check_answers(sampled: Message, new: Sequence[Message]) -> None:
    """Refuse results of calls that nobody made, where the completion tells the ids of its calls."""
    made = {call.id for call in sampled.tool_calls if call.id}
    strange = [m.tool_call_id for m in new if m.role == "tool" and made and m.tool_call_id not in made]
    if strange:
        raise Refused(Refusal.UNKNOWN, f"no call has the id {strange[0]!r}")


def _identified(sampled: Message, new: Sequence[Message]) -> Iterator[Message]:
    """Calls that the ids leave nameless, under the ids by which the results know them, whichever answers which."""
    known = [message.tool_call_id for message in new if message.role == "tool"][: len(sampled.tool_calls)]
    if not any(known) or any(call.id for call in sampled.tool_calls):
        yield sampled
        return
    for answers in (known, known[1:] + known[:1]):
        calls = [ToolCall(c.name, c.arguments, i) for c, i in zip_longest(sampled.tool_calls, answers) if c]
        yield sampled.but(tool_calls=tuple(calls))


def _behind(segments: Sequence[Segment], at: int) -> list[Segment]:
    """The segments behind so many characters."""
    left = list[Segment]()
    for segment, end in zip(segments, accumulate(len(segment.text) for segment in segments), strict=True):
        if end > at:
            left.append(segment.but(text=segment.text[-(end - at) :]))
    return left
