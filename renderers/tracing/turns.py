"""What did the model write, and would inference have seen the same before it?

For the assistant message i: W is the whole render, P the render of the messages before i with the generation prompt,
C that of the messages through i. The turn starts after P, if W starts with P. It reaches as far as C and W agree, and
stops with the last control token there. Only W is traced: P and C are plain renders, needed as text alone.

A template may look at all of its messages whenever it likes, so P and C are told for each turn, through `render`.
They are prefixes of one conversation, each longer than the last, and share what they tell alike (`shared`). P is told
only as far as it agrees with W, and C only for what P has proved.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

from renderers.errors import TemplateError
from renderers.hub import REASONING_FIELDS
from renderers.segments import Verdict
from renderers.tracing.places import Place, is_data, message_of
from renderers.tracing.runs import Run, Tokens, common
from renderers.tracing.shared import Prefixes

NONE: Mapping[str, Any] = {}
QUESTION = ({"role": "user", "content": "x"},)
"""The shortest history."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model writes of one assistant message: text[start:end], the stop token included."""

    message: int
    start: int
    end: int
    stop: tuple[int, int] | None
    verdict: Verdict
    note: str = ""


@dataclass(eq=False)
class Prover:
    """One conversation as the template tells it: whole, and, through `render`, in part."""

    text: str
    runs: Sequence[Run]
    messages: Sequence[Mapping[str, Any]]
    render: Callable[[Sequence[Mapping[str, Any]], bool, Mapping[str, Any]], Iterator[str]]
    """The plain text of messages, with the generation prompt or not, under other switches, piece by piece as it is
    written. Raises TemplateError on the way."""
    tokens: Tokens
    switches: Sequence[Mapping[str, Any]]
    generating: bool = False
    """The whole render ends with the generation prompt."""
    watch: Prefixes | None = None
    """Of the render that was told last: what it depended on."""
    worth: Sequence[Mapping[str, Any]] = field(default=(), init=False)
    """The switches that the last prompt depends on."""
    hopeless: list[tuple[Mapping[str, Any], float, float]] = field(default_factory=list, init=False)
    """Switches under which no prompt of so few to so many messages begins the render."""
    near: dict[int, list[Run]] = field(default_factory=dict, init=False)
    """Every run of a message, by message."""
    data: dict[int, list[Run]] = field(default_factory=dict, init=False)
    """The runs among them that are its own fields."""

    served: dict[int, Mapping[str, Any]] = field(default_factory=dict, init=False)
    """The switch that proved a turn, where one had to be set."""

    def __post_init__(self) -> None:
        self.starts = [run.start for run in self.runs]
        for run in self.runs:
            owner = message_of(run.place)
            if owner is not None:
                self.near.setdefault(owner, []).append(run)
                if is_data(run.place):
                    self.data.setdefault(owner, []).append(run)

    def turns(self) -> list[Turn]:
        """A turn for each assistant message."""
        return [self.turn(i) for i, message in enumerate(self.messages) if message.get("role") == "assistant"]

    def turn(self, i: int) -> Turn:
        opening = self._opening(i)
        if opening is None:
            return Turn(i, 0, 0, None, Verdict.INVISIBLE)
        start, verdict, note = opening
        closed, walked = self._closed(i, verdict), self._walked(i, start)
        reach = common(closed, self.text)
        reach = min(self.tokens.whole(self.text, reach), self.tokens.whole(closed, reach))
        if verdict is not Verdict.PROVED or any(reach < run.end <= walked for run in self.data.get(i, ())):
            verdict = Verdict.TURN_REWRITTEN if verdict is Verdict.PROVED else verdict
            reach = walked + self._rest_of_closing(i, start, walked, closed)
        stop = self._stop(min(self._quiet(i, start, reach), reach), reach)
        end = stop[1] if stop else max(reach, start)
        if verdict is Verdict.PROVED and not self._ended(stop, closed, reach):
            verdict = Verdict.TURN_REWRITTEN
        if verdict is Verdict.PROVED and any(run.start >= end and _spoken(run.place) for run in self.data.get(i, ())):
            verdict = Verdict.SCATTERED
        return Turn(i, start, end, stop, verdict, note)

    def _opening(self, i: int) -> tuple[int, Verdict, str] | None:
        """Where the turn starts, and whether inference would see what is before; None where nothing is told of it."""
        same, pieces = self._shared(i)
        if 0 < same == sum(map(len, pieces)) <= self.unsaid[i]:
            return same, Verdict.PROVED, ""
        if i not in self.near:
            return None
        prompt = "".join(pieces)
        if not prompt:
            return self._after(self.header, i), Verdict.PROMPT_REFUSED, ""
        if same > self.unsaid[i]:
            return self._switched(i) or self._absent(prompt, self.unsaid[i])
        if same >= self._history(i):
            told = self._whole(self.messages[:i], False) or ""
            opened = common(told, prompt)
            if i and same >= opened:  # the history is as it was: the generation prompt itself differs
                return self._switched(i) or self._absent(prompt, same)
        who = message_of(self._run(same).place)
        note = "before the first message" if who is None else f"at message {who}"
        return self._switched(i) or (self._after(self.header, i), Verdict.HISTORY_REWRITTEN, note)

    def _whole(
        self, messages: Sequence[Mapping[str, Any]], prompt: bool, switch: Mapping[str, Any] = NONE
    ) -> str | None:
        """A part told to its end; None where the template refuses."""
        try:
            return "".join(self.render(messages, prompt, switch))
        except TemplateError:
            return None

    def _shared(self, i: int) -> tuple[int, list[str]]:
        """How far the prompt of this message is in the whole render, and its pieces; none where it is refused.

        Where the two part before the history is told, nobody needs the rest: the prompt ends there. Nobody prompts
        from no message at all.
        """
        if not i:
            return 0, []
        same, prompt, parted = 0, [], False
        history = self._history(i)
        try:
            for piece in self.render(self.messages[:i], True, {}):
                prompt.append(piece)
                if not parted and self.text.startswith(piece, same):
                    same += len(piece)
                elif not parted:
                    same, parted = same + common(piece, self.text[same : same + len(piece)]), True
                    if same < history:
                        break
        except TemplateError:
            return 0, []
        self.worth = [switch for switch in self.switches if not self.watch or self.watch.asked(switch)]
        return same, prompt

    def _history(self, i: int) -> int:
        """The end of the last data of earlier messages that is told before this one."""
        return self._earlier(i, self.near[i][0].end) if i in self.near else 0

    def _earlier(self, i: int, before: int) -> int:
        """The end of the last data of earlier messages that begins before this character."""
        runs = reversed(self.runs[: bisect_left(self.starts, before)])
        return next((run.end for run in runs if is_data(run.place) and _message(run) < i), 0)

    def _closed(self, i: int, verdict: Verdict) -> str:
        """The render through this message, as inference left it. What is not proved needs its last words only."""
        if verdict is not Verdict.PROVED:
            return self._whole([*QUESTION, self.messages[i]], False) or ""
        switch = self.served.get(i, NONE)
        if i + 1 == len(self.messages) and not self.generating and not switch:
            return self.text
        return self._whole(self.messages[: i + 1], False, switch) or ""

    def _switched(self, i: int) -> tuple[int, Verdict, str] | None:
        """Would inference see this prompt with a switch set? One that proved an earlier turn is asked first.

        A switch at which the template did not look before the two parted makes no other prompt of it.
        """
        for switch in self.worth:
            size = self._begins(i, switch)
            if 0 < size <= self.unsaid[i]:
                self.switches = [switch, *(other for other in self.switches if other is not switch)]
                self.served[i] = switch
                return size, Verdict.PROVED, ", ".join(f"{name}={value!r}" for name, value in switch.items())
        return None

    def _begins(self, i: int, switch: Mapping[str, Any]) -> int:
        """How long the prompt of this message is under a switch, if the whole render begins with it; else 0."""
        if any(flip is switch and low <= i <= high for flip, low, high in self.hopeless):
            return 0
        size = 0
        try:
            for piece in self.render(self.messages[:i], True, switch):
                if not self.text.startswith(piece, size):
                    break
                size += len(piece)
            else:
                return size
        except TemplateError:
            pass
        self.hopeless += [(switch, *self.watch.alike(i))] if self.watch else []
        return 0

    def _absent(self, prompt: str, same: int) -> tuple[int, Verdict, str]:
        start = min(self.tokens.whole(self.text, same), self.tokens.whole(prompt, same))
        return start, Verdict.PROMPT_ABSENT, repr(prompt[start:][:40])

    @cached_property
    def unsaid(self) -> list[int]:
        """For each message: how much is told before it, or one after it, says something. A prompt that reaches further
        is spelled by data: a prompt is the template's own words."""
        first = (self.data[i][0].start if i in self.data else len(self.text) for i in range(len(self.messages))[::-1])
        return [*accumulate(first, min)][::-1]

    @cached_property
    def header(self) -> str:
        """What the generation prompt adds after a user message."""
        told, prompt = self._whole(QUESTION, False), self._whole(QUESTION, True)
        return prompt[len(told) :] if prompt and told is not None else ""

    def _after(self, header: str, i: int) -> int:
        """Where the turn goes on after its header, of which the render may hold a part only.

        A template that gathers messages writes words between those of others while it is at this one.
        """
        near, data = self.near[i], self.data.get(i)
        other = self._earlier(i, data[0].start if data else near[-1].end)
        first = next((run.start for run in near if run.start >= other), near[-1].start)
        before = max(data[0].start if data else len(self.text), first)
        at = self.text.find(header, first, before) if header else -1
        if at >= 0:
            return at + len(header)
        return self.tokens.whole(self.text, first + common(header, self.text[first : min(before, first + len(header))]))

    def _walked(self, i: int, start: int) -> int:
        """Where the runs of this message end, read on from the start of its turn."""
        end = start
        for at in range(max(bisect_right(self.starts, start) - 1, 0), len(self.runs)):
            run = self.runs[at]
            if run.end <= start:
                continue
            apart = run.place is None and run.start > start and end > start
            if apart or message_of(run.place) not in (i, None):
                break
            end = run.end
        return end

    def _rest_of_closing(self, i: int, start: int, walked: int, closed: str) -> int:
        """How much the message, told last, still writes after its own end (an opening of the tool's answer)."""
        tail = self.text[self._quiet(i, start, walked) : walked]
        at = closed.rfind(tail) if tail else -1
        rest = closed[at + len(tail) :] if at >= 0 else ""
        return len(rest) if rest and self.text.startswith(rest, walked) else 0

    def _quiet(self, i: int, start: int, reach: int) -> int:
        """The end of the turn's last own data."""
        return max((run.end for run in self.data.get(i, ()) if start <= run.start < reach), default=start)

    def _stop(self, quiet: int, reach: int) -> tuple[int, int] | None:
        """The last control token of the turn; else the one that begins where it ends (the next role, in GLM)."""
        found = self.tokens.controls(self.text, quiet, reach)
        marks = [mark for mark in found if not any(is_data(self._run(at).place) for at in (mark[0], mark[1] - 1))]
        inside = [mark for mark in marks if mark[0] < reach]
        return inside[-1] if inside else marks[-1] if marks else None

    def _ended(self, stop: tuple[int, int] | None, closed: str, reach: int) -> bool:
        """Whether the message, told last, has stopped where the whole render and it part: no token is left of it."""
        if stop is None or stop[0] == reach:
            return reach == len(closed)
        return not any(self.tokens.control.finditer(closed, reach))

    def _run(self, at: int) -> Run:
        """The run that holds this character."""
        return self.runs[bisect_right(self.starts, at) - 1]


def _message(run: Run) -> int:
    owner = message_of(run.place)
    return -1 if owner is None else owner


def _spoken(place: Place) -> bool:
    """Content or reasoning. Calls are told again by others: tool results name their tool."""
    return place is not None and len(place) > 2 and place[2] in ("content", *REASONING_FIELDS)
