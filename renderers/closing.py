"""A sampled turn beside the same turn as its template tells it: what is still to be written, or why they differ."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import takewhile

from renderers.arguments import CallStatus
from renderers.messages import Message, text
from renderers.parsing import Parsed
from renderers.recalling import SIGN, Marks, Signs
from renderers.segments import Kind, Segment


class Refusal(StrEnum):
    """Why a turn cannot be extended. The caller renders the whole conversation again."""

    NOTHING_NEW = "no new messages"
    ASSISTANT = "assistant content in the new messages"
    EMPTY_COMPLETION = "empty completion"
    AFTER_CLOSE = "tokens after the close"
    OPEN_REASONING = "open reasoning with stop"
    CALL_CUT = "call cut in the middle"
    OTHER_STOP = "the template closes this turn with another token"
    HISTORY = "history rewritten"
    """With the new messages, the template tells something otherwise that stands in the ids."""
    TOOLS = "tools changed"
    UNREADABLE = "not told by this template"
    """The prompt or the completion holds control tokens where this template has none."""
    UNKNOWN = "history unknown"
    """What follows depends on something that the ids do not show."""
    UNTELLABLE = "the template cannot tell this"


class Refused(Exception):
    """Carries a refusal out of the proof."""

    def __init__(self, refusal: Refusal, note: str = ""):
        super().__init__(refusal, note)
        self.refusal, self.note = refusal, note


@dataclass(frozen=True)
class Ending:
    """What was sampled (`said`, in signs) and what is told of it."""

    said: str
    parsed: Parsed | None
    """What it says; None where nothing reads it. Then it is told as data, whatever it spells."""
    over: bool
    """It was read to its end before its last token."""
    prompted: str
    """The generation prompt before it, in signs."""
    told: tuple[Segment, ...]
    """The turn with its stop."""
    would: str
    """The same, in signs."""
    again: Message | None
    """What that says."""
    marks: Marks
    signs: Signs

    def rest(self) -> list[Segment]:
        """What the template still has to write. Raises Refused where it writes another turn, or one that goes on."""
        if self.said == self.would:
            return []
        if self.over or self.said.startswith(self.would):
            raise Refused(Refusal.AFTER_CLOSE)
        if self.calls_cut:
            raise Refused(Refusal.CALL_CUT)
        if self.would.startswith(self.said):
            return self._last(self.would.removeprefix(self.said))
        if self.thinking and self.ended:
            raise Refused(Refusal.OPEN_REASONING)
        self._check_same()
        if self.ended:
            return self._stopped()
        tail = takewhile(lambda s: s.literal, reversed(self.told)) if self.thinking else self.told[-1:]
        return self._last(self.signs.write(list(tail)[::-1]))

    @cached_property
    def ended(self) -> str:
        """The stop that the model wrote."""
        known = max((stop for stop in self.marks.stops if self.said.endswith(stop)), key=len, default="")
        return known or (SIGN.findall(self.said)[-1] if self.parsed and self.parsed.ended else "")

    @property
    def thinking(self) -> bool:
        """Whether it ends within a thought."""
        thought = self.parsed and self.parsed.message.reasoning
        return bool(thought) and self.marks.thought not in self.prompted + self.said

    @property
    def calls_cut(self) -> bool:
        """Whether it breaks off in a call."""
        read = self.parsed and self.parsed.message.tool_calls
        begun = not self.ended and not read and any(lead in self.said for lead in self.marks.calls)
        return begun or bool(self.parsed and any(c.status is CallStatus.UNCLOSED for c in self.parsed.calls))

    def _stopped(self) -> list[Segment]:
        stop = self.signs.write(self.told[-1:])
        if self.ended != stop:
            sampled, told = self.signs.show(self.ended), self.signs.show(stop)
            raise Refused(Refusal.OTHER_STOP, f"sampled {sampled}, told {told}")
        return []

    def _last(self, left: str) -> list[Segment]:
        """The end of the turn, so many signs of it: words of the template, and none of a call."""
        close = list[Segment]()
        for segment in reversed(self.told):
            words = self.signs.write([segment])[-len(left) :]
            if not left:
                break
            if segment.kind is Kind.TOOL_CALL:
                raise Refused(Refusal.CALL_CUT)
            if not segment.literal:
                raise Refused(Refusal.HISTORY, "the completion is not all that the message says")
            close.append(segment.but(text=self.signs.show(words), kind=Kind.SCAFFOLD))
            left = left[: -len(words)]
        return close[::-1]

    def _check_same(self) -> None:
        """Refuse a turn that the template tells otherwise, beyond blanks and spelling."""
        if not self.parsed or not self.again:
            raise Refused(Refusal.HISTORY, "the template writes this turn otherwise than it was sampled")
        meant = _meant(self.parsed.message)
        if _meant(self.again) != meant:
            raise Refused(Refusal.HISTORY, "this turn reads otherwise with the new messages")
        shown, kept = text(self.parsed.message.content), [call.raw for call in self.parsed.calls if not call.call]
        shown = "".join(
            (shown, self.parsed.message.reasoning or "", *(c.arguments for c in self.parsed.message.tool_calls))
        )
        for raw in kept:
            shown = shown.replace(raw, "")
        for sign in set(SIGN.findall(self.said)):
            spelled = self.signs.show(sign)
            if shown.count(spelled) > self.said.count(spelled):
                raise Refused(Refusal.UNREADABLE, f"{spelled} stands in what was sampled")


def _meant(message: Message) -> tuple[object, ...]:
    """A message but for blanks."""
    calls = tuple((call.name, "".join(call.arguments.split())) for call in message.tool_calls)
    return text(message.content).split(), message.reasoning and message.reasoning.split(), calls
