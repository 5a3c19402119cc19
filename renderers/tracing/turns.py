"""What did the model write, and would inference have seen the same before it?

For the assistant message i: W is the whole render, P the render of the messages before i with the generation prompt,
C that of the messages through i. The turn starts after P, if W starts with P. It reaches as far as C and W agree, and
stops with the last control token there. Only W is traced: P and C are plain renders, needed as text alone.

A template may look at all of its messages whenever it likes, so P and C are told for each turn. They are prefixes of
one conversation, and share what they tell alike (`shared`). P is told only as far as it agrees with W, and C only for
what P has proved.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

from renderers.hub import REASONING_FIELDS
from renderers.segments import Verdict
from renderers.tracing.places import Place, message_of
from renderers.tracing.runs import Run, Tokens, common
from renderers.tracing.shared import NONE, Prefixes, Told

QUESTION = ({"role": "user", "content": "x"},)
"""The shortest history."""
SPOKEN = frozenset({"content", *REASONING_FIELDS})


class Turn(NamedTuple):
    """What the model writes of one assistant message: text[start:end], the stop token included."""

    message: int
    start: int
    end: int
    stop: tuple[int, int] | None
    verdict: Verdict
    note: str = ""


@dataclass(eq=False)
class Prover:
    """One conversation as the template tells it, whole and in part."""

    text: str
    runs: Sequence[Run]
    messages: Sequence[Mapping[str, Any]]
    prefixes: Prefixes
    tokens: Tokens
    switches: Sequence[Mapping[str, Any]]
    generating: bool = False
    """The whole render ends with the generation prompt."""
    watched: Sequence[frozenset[str]] | None = field(default=None, init=False)
    """The flags that the last prompt depends on."""
    near: dict[int, list[Run]] = field(default_factory=dict, init=False)
    """Every run of a message, by message."""
    data: dict[int, list[Run]] = field(default_factory=dict, init=False)
    """The runs among them that are its own fields."""

    served: dict[int, Mapping[str, Any]] = field(default_factory=dict, init=False)
    """The switch that proved a turn, where one had to be set."""

    def __post_init__(self) -> None:
        self.starts = [run.start for run in self.runs]
        self.owners: list[int | None] = []
        """The message of each run."""
        for run in self.runs:
            place, owner = run.place, None
            if place and place[0] == "messages" and len(place) > 1:
                owner: Any = place[1]
                self.near.setdefault(owner, []).append(run)
                if type(place) is tuple:
                    self.data.setdefault(owner, []).append(run)
            self.owners.append(owner)

    def turns(self) -> list[Turn]:
        """A turn for each assistant message."""
        return [self.turn(i) for i, message in enumerate(self.messages) if message.get("role") == "assistant"]

    def turn(self, i: int) -> Turn:
        opening = self._opening(i)
        if opening is None:
            return Turn(i, 0, 0, None, Verdict.INVISIBLE)
        start, verdict, note = opening
        closed, own = self._closed(i, verdict), self.data.get(i, ())
        reach = self._agreed(closed) if closed else 0
        if not closed or (own and reach < own[-1].end):
            walked = self._walked(i, start)
            if not closed or any(reach < run.end <= walked for run in own):
                verdict = Verdict.TURN_REWRITTEN if verdict is Verdict.PROVED else verdict
                reach = walked + self._rest_of_closing(i, start, walked, closed)
        stop = self._stop(min(self._quiet(i, start, reach), reach), reach)
        end = stop[1] if stop else max(reach, start)
        if closed and verdict is Verdict.PROVED and not self._ended(stop, closed, reach):
            verdict = Verdict.TURN_REWRITTEN
        late = own and own[-1].start >= end
        if late and verdict is Verdict.PROVED and any(run.start >= end and _spoken(run.place) for run in own):
            verdict = Verdict.SCATTERED
        return Turn(i, start, end, stop, verdict, note)

    def _opening(self, i: int) -> tuple[int, Verdict, str] | None:
        """Where the turn starts, and whether inference would see what is before; None where nothing is told of it."""
        prompt = self._prompt(i)
        same = prompt.same if prompt else 0
        if prompt and 0 < same == prompt.size <= self.unsaid[i]:
            return same, Verdict.PROVED, ""
        if i not in self.near:
            return None
        if not prompt or not prompt.size:
            return self._after(self.header, i), Verdict.PROMPT_REFUSED, ""
        if same > self.unsaid[i]:
            return self._switched(i) or self._absent(prompt, self.unsaid[i])
        if same >= self._history(i):
            told = self.prefixes.tell(i, False)
            opened = common(told.text if told else "", prompt.text)
            if i and same >= opened:  # the history is as it was: the generation prompt itself differs
                return self._switched(i) or self._absent(prompt, same)
        who = message_of(self._run(same).place)
        note = "before the first message" if who is None else f"at message {who}"
        return self._switched(i) or (self._after(self.header, i), Verdict.HISTORY_REWRITTEN, note)

    def _prompt(self, i: int) -> Told | None:
        """The prompt of this message; None where it is refused.

        Where it parts from the whole render before the history is told, nobody needs the rest. Nobody prompts from no
        message at all.
        """
        told = self.prefixes.tell(i, True, stop=min(self._history(i), self.unsaid[i])) if i else None
        self.watched = self.prefixes.watched
        return told

    def _history(self, i: int) -> int:
        """The end of the last data of earlier messages that is told before this one."""
        return self._earlier(i, self.near[i][0].end) if i in self.near else 0

    def _earlier(self, i: int, before: int) -> int:
        """The end of the last data of earlier messages that begins before this character."""
        for at in range(bisect_left(self.starts, before) - 1, -1, -1):
            run, owner = self.runs[at], self.owners[at]
            if type(run.place) is tuple and (owner is None or owner < i):
                return run.end
        return 0

    def _closed(self, i: int, verdict: Verdict) -> Told | None:
        """The render through this message, as inference left it, of a turn that is proved so far."""
        if verdict is not Verdict.PROVED:
            return None
        switch = self.served.get(i, NONE)
        if i + 1 == len(self.messages) and not self.generating and not switch:
            return Told(self.text, len(self.text))
        return self.prefixes.tell(i + 1, False, switch) or Told(self.text)

    def _agreed(self, closed: Told) -> int:
        """How far a message, told last, is in the whole render; no token is cut."""
        reach = self.tokens.whole(self.text, closed.same)
        if not closed.rest:
            return reach
        ending, begin = closed.ending(self.tokens.longest)
        return min(reach, begin + self.tokens.whole(ending, closed.same - begin))

    def _switched(self, i: int) -> tuple[int, Verdict, str] | None:
        """Would inference see this prompt with a switch set? One that proved an earlier turn is asked first.

        A switch at which the template did not look before the two parted makes no other prompt of it.
        """
        watched = self.watched
        for switch in [switch for switch in self.switches if self.prefixes.asks(switch, watched)]:
            told = self.prefixes.tell(i, True, switch, stop=len(self.text))
            if told and not told.rest and 0 < told.same <= self.unsaid[i]:
                self.switches = [switch, *(other for other in self.switches if other is not switch)]
                self.served[i] = switch
                return told.same, Verdict.PROVED, ", ".join(f"{name}={value!r}" for name, value in switch.items())
        return None

    def _absent(self, prompt: Told, same: int) -> tuple[int, Verdict, str]:
        told = prompt.text
        start = min(self.tokens.whole(self.text, same), self.tokens.whole(told, same))
        return start, Verdict.PROMPT_ABSENT, repr(told[start:][:40])

    @cached_property
    def unsaid(self) -> list[int]:
        """For each message: how much is told before it, or one after it, says something. A prompt that reaches further
        is spelled by data: a prompt is the template's own words."""
        first = (self.data[i][0].start if i in self.data else len(self.text) for i in range(len(self.messages))[::-1])
        return [*accumulate(first, min)][::-1]

    @cached_property
    def header(self) -> str:
        """What the generation prompt adds after a user message."""
        told, prompt = (self.prefixes.alone(QUESTION, prompt) for prompt in (False, True))
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
            begin, until, place = self.runs[at]
            if until <= start:
                continue
            apart = place is None and begin > start and end > start
            if apart or self.owners[at] not in (i, None):
                break
            end = until
        return end

    def _rest_of_closing(self, i: int, start: int, walked: int, closed: Told | None) -> int:
        """How much the message, told last, still writes after its own end (an opening of the tool's answer).

        What is not proved needs its last words only: the shortest history will do.
        """
        tail = self.text[self._quiet(i, start, walked) : walked]
        if not tail:
            return 0
        if closed:
            told = closed.left if tail in closed.left else closed.text
        else:
            told = self.prefixes.alone([*QUESTION, self.messages[i]], False) or ""
        at = told.rfind(tail)
        rest = told[at + len(tail) :] if at >= 0 else ""
        return len(rest) if rest and self.text.startswith(rest, walked) else 0

    def _quiet(self, i: int, start: int, reach: int) -> int:
        """The end of the turn's last own data."""
        return next((run.end for run in reversed(self.data.get(i, ())) if start <= run.start < reach), start)

    def _stop(self, quiet: int, reach: int) -> tuple[int, int] | None:
        """The last control token of the turn; else the one that begins where it ends (the next role, in GLM)."""
        stop = None
        for mark in self.tokens.controls(self.text, quiet, reach):
            if mark[0] >= reach and stop:
                break
            if not any(type(self._run(at).place) is tuple for at in (mark[0], mark[1] - 1)):
                stop = mark
        return stop

    def _ended(self, stop: tuple[int, int] | None, closed: Told, reach: int) -> bool:
        """Whether the message, told last, has stopped where the whole render and it part: no token is left of it."""
        if stop is None or stop[0] == reach:
            return reach == closed.size
        if not closed.rest:
            return not self.tokens.control.search(self.text, reach, closed.same)
        ending, begin = closed.ending(max(closed.base - reach, 0))
        return not self.tokens.control.search(ending, max(reach - begin, 0))

    def _run(self, at: int) -> Run:
        """The run that holds this character."""
        return self.runs[bisect_right(self.starts, at) - 1]


def _spoken(place: Place) -> bool:
    """Content or reasoning. Calls are told again by others: tool results name their tool."""
    return place is not None and len(place) > 2 and place[2] in SPOKEN
