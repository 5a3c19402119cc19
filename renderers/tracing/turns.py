"""What did the model write, and would inference have seen the same before it?

For the assistant message i: W is the whole render, P the render of the messages before i with the generation prompt,
C that of the messages through i. The turn starts after P, if W starts with P. It reaches as far as C and W agree, and
stops with the last control token there. Only W is traced: P and C are plain renders, needed as text alone.

A template may look at all of its messages whenever it likes, so P and C are told for each turn. They are prefixes of
one conversation, and share what they tell alike (`shared`). P is told only as far as it agrees with W, and C only for
what P has proved.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from renderers.hub import REASONING_FIELDS
from renderers.segments import Verdict
from renderers.tracing.runs import Runs, Tokens, common
from renderers.tracing.shared import NONE, Prefixes, Told

QUESTION = ({"role": "user", "content": "x"},)
"""The shortest history."""
SPOKEN = frozenset({"content", *REASONING_FIELDS})
SHOWN = 40
"""Characters of a generation prompt that is absent."""
MANY = 64
"""Turns of which the ends are asked at once: each may hold as much as the whole text."""
Opening = tuple[int, Verdict, str]
"""Where a turn starts, whether inference would see what is before it, and a note."""
PROVED, TURN_REWRITTEN = Verdict.PROVED, Verdict.TURN_REWRITTEN  # to ask an Enum for its members is slow


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
    runs: Runs
    messages: Sequence[Mapping[str, Any]]
    prefixes: Prefixes
    tokens: Tokens
    switches: Sequence[Mapping[str, Any]]
    generating: bool = False
    """The whole render ends with the generation prompt."""
    watched: Sequence[frozenset[str]] | None = field(default=None, init=False)
    """The flags that the last prompt depends on."""
    served: dict[int, Mapping[str, Any]] = field(default_factory=dict, init=False)
    """The switch that proved a turn, where one had to be set."""
    closings: dict[Hashable, str] = field(default_factory=dict, init=False)
    """What messages write after their last words, by what they are like."""

    def turns(self) -> list[Turn]:
        """A turn for each assistant message. To ask the same of many, and then the next, is quicker."""
        said = [i for i, message in enumerate(self.messages) if message.get("role") == "assistant"]
        openings, turns = [*map(self._opening, said)], list[Turn]()
        for at in range(0, len(said), MANY):
            some = slice(at, at + MANY)
            closings = [*map(self._closed, said[some], openings[some])]
            turns += map(self._turn, said[some], openings[some], closings)
        return turns

    def _turn(self, i: int, opening: Opening | None, closed: Told | None) -> Turn:
        if opening is None:
            return Turn(i, 0, 0, None, Verdict.INVISIBLE)
        start, verdict, note = opening
        reach, quiet, rewritten = self._reach(i, start, closed)
        stop = self._stop(min(quiet, reach), reach)
        end = stop[1] if stop else max(reach, start)
        if verdict is PROVED and closed:
            if rewritten or not self._ended(stop, closed, reach):
                verdict = TURN_REWRITTEN
            elif self._scattered(i, end):
                verdict = Verdict.SCATTERED
        return Turn(i, start, end, stop, verdict, note)

    def _reach(self, i: int, start: int, closed: Told | None) -> tuple[int, int, bool]:
        """How far the turn reaches, where its last own data ends, and whether what follows it has rewritten that."""
        ends, own = self.runs.ends, self.runs.data.get(i, ())
        told = ends[own[-1]] if own else 0
        parted = not closed or closed.same < told
        walked = self._walked(i, start) if parted else start
        if closed and not (parted and told <= walked):
            reach = self._agreed(closed, closed.same)
            walked = self._walked(i, start) if reach < told else start
            if reach >= told or not any(reach < ends[run] <= walked for run in own):
                return reach, self._quiet(i, start, reach), False
        quiet = self._quiet(i, start, walked)
        rest = self._rest_of_closing(i, self.text[quiet:walked], walked, closed)
        return walked + rest, self._quiet(i, start, walked + rest) if rest else quiet, True

    def _scattered(self, i: int, end: int) -> bool:
        """Whether something that it says is told after its end."""
        starts, own = self.runs.starts, self.runs.data.get(i, ())
        return bool(own) and starts[own[-1]] >= end and any(starts[at] >= end and self._spoken(at) for at in own)

    def _opening(self, i: int) -> Opening | None:
        """Where the turn starts, and whether inference would see what is before; None where nothing is told of it."""
        prompt = self._prompt(i)
        same = prompt.same if prompt else 0
        if prompt and not prompt.rest and 0 < same <= self.unsaid[i]:
            return same, PROVED, ""
        if i not in self.runs.first:
            return None
        if not prompt or not prompt.size:
            return self._after(self.header, i), Verdict.PROMPT_REFUSED, ""
        switched = self._switched(i)
        if switched or same > self.unsaid[i]:
            return switched or self._absent(prompt, self.unsaid[i])
        if same >= self._history(i):
            told = self.prefixes.tell(i, False)
            if not told or told.same != same or told.between(same, same + 1) != prompt.between(same, same + 1):
                return self._absent(prompt, same)  # the history is as it was: the prompt differs
        who = self.runs.owners[self.runs.at(same)]
        note = "before the first message" if who is None else f"at message {who}"
        return self._after(self.header, i), Verdict.HISTORY_REWRITTEN, note

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
        return self._earlier(i, self.runs.first[i]) if i in self.runs.first else 0

    def _earlier(self, i: int, last: int) -> int:
        """The end of the last data of earlier messages that is told up to this run."""
        places, owners = self.runs.places, self.runs.owners
        for at in range(last, -1, -1):
            if type(places[at]) is tuple:
                owner = owners[at]
                if owner is None or owner < i:
                    return self.runs.ends[at]
        return 0

    def _closed(self, i: int, opening: Opening | None) -> Told | None:
        """The render through this message, as inference left it, of a turn that is proved so far."""
        if not opening or opening[1] is not PROVED:
            return None
        switch = self.served.get(i, NONE)
        if i + 1 == len(self.messages) and not self.generating and not switch:
            return Told(self.text, len(self.text))
        return self.prefixes.tell(i + 1, False, switch) or Told(self.text)

    def _agreed(self, told: Told, at: int) -> int:
        """How far what is told is in the whole render, at most to this character; no token is cut."""
        reach, size = self.tokens.whole(self.text, at), self.tokens.longest
        if not told.rest or at + size <= told.same or told.between(at - 1, at + 1) not in self.tokens.inner:
            return reach
        begin = max(at - size, 0)
        return min(reach, begin + self.tokens.whole(told.between(begin, at + size), at - begin))

    def _switched(self, i: int) -> Opening | None:
        """Would inference see this prompt with a switch set? One that proved an earlier turn is asked first.

        A switch at which the template did not look before the two parted makes no other prompt of it.
        """
        watched = self.watched
        for switch in [switch for switch in self.switches if self.prefixes.asks(switch, watched)]:
            told = self.prefixes.tell(i, True, switch, stop=len(self.text))
            if told and not told.rest and 0 < told.same <= self.unsaid[i]:
                self.switches = [switch, *(other for other in self.switches if other is not switch)]
                self.served[i] = switch
                return told.same, PROVED, ", ".join(f"{name}={value!r}" for name, value in switch.items())
        return None

    def _absent(self, prompt: Told, same: int) -> Opening:
        start = self._agreed(prompt, same)
        return start, Verdict.PROMPT_ABSENT, repr(prompt.between(start, start + SHOWN))

    @cached_property
    def unsaid(self) -> list[int]:
        """For each message: how much is told before it, or one after it, says something. A prompt that reaches further
        is spelled by data: a prompt is the template's own words."""
        starts, data, least = self.runs.starts, self.runs.data, len(self.text)
        unsaid = [least] * len(self.messages)
        for i in reversed(range(len(unsaid))):
            if i in data and starts[data[i][0]] < least:
                least = starts[data[i][0]]
            unsaid[i] = least
        return unsaid

    @cached_property
    def header(self) -> str:
        """What the generation prompt adds after a user message."""
        told, prompt = (self.prefixes.alone(QUESTION, prompt) for prompt in (False, True))
        return prompt[len(told) :] if prompt and told is not None else ""

    @cached_property
    def closing(self) -> str:
        """What ends a user message."""
        one, other = (self.prefixes.alone([{**QUESTION[-1], "content": said}], False) or "" for said in ("x", "yy"))
        return one[len(one) - common(one[::-1], other[::-1]) :]

    def _after(self, header: str, i: int) -> int:
        """Where the turn goes on after its header, of which the render may hold a part only.

        A template that gathers messages writes words between those of others while it is at this one.
        """
        starts, owners, data, last = self.runs.starts, self.runs.owners, self.runs.data.get(i), self.runs.last[i]
        other = self._earlier(i, data[0] - 1 if data else last)
        near = (run for run in range(self.runs.first[i], last) if owners[run] == i and starts[run] >= other)
        first = starts[next(near, last)]
        before = max(starts[data[0]] if data else len(self.text), first)
        at = self.text.find(header, first, before) if header else -1
        if at >= 0:
            return at + len(header)
        if data and not header and self.closing and not self.text.endswith(self.closing, 0, first):
            at = self.text.find(self.closing, first, before)  # of messages that are told as one, as Mistral's users
            first = at + len(self.closing) if at >= 0 else first
        return self.tokens.whole(self.text, first + common(header, self.text[first : min(before, first + len(header))]))

    def _walked(self, i: int, start: int) -> int:
        """Where the runs of this message end, read on from the start of its turn."""
        runs, end = self.runs, start
        starts, ends, places, owners = runs.starts, runs.ends, runs.places, runs.owners
        for at in range(max(runs.at(start), 0), len(starts)):
            apart = places[at] is None and starts[at] > start
            if apart or (owners[at] != i and owners[at] is not None):
                break
            end = ends[at]
        return end

    def _rest_of_closing(self, i: int, tail: str, walked: int, closed: Told | None) -> int:
        """How much the message, told last, still writes after its own end (an opening of the tool's answer).

        tail: the end of it, after its last own data.
        """
        if not tail:
            return 0
        if closed:
            rest = _after_last(tail, closed.left)
            rest = _after_last(tail, closed.text) if rest is None else rest
        else:
            rest = self._goes_on(tail, self.messages[i])
        return len(rest) if rest and self.text.startswith(rest, walked) else 0

    def _goes_on(self, tail: str, message: Mapping[str, Any]) -> str:
        """What a message that is not proved writes after its last words: the shortest history will do.

        It is asked once for all messages that have the same fields and end with the same words.
        """
        fields = message.items()
        alike = tail, *[(name, type(value), len(value) if type(value) is list else not value) for name, value in fields]
        if alike not in self.closings:
            self.closings[alike] = _after_last(tail, self.prefixes.alone([*QUESTION, message], False) or "") or ""
        return self.closings[alike]

    def _quiet(self, i: int, start: int, reach: int) -> int:
        """The end of the turn's last own data."""
        for run in reversed(self.runs.data.get(i, ())):
            if start <= self.runs.starts[run] < reach:
                return self.runs.ends[run]
        return start

    def _stop(self, quiet: int, reach: int) -> tuple[int, int] | None:
        """The last control token of the turn; else the one that begins where it ends (the next role, in GLM)."""
        stop = None
        for start, end in self.tokens.controls(self.text[quiet : reach + self.tokens.longest]):
            if quiet + start > reach or (quiet + start == reach and stop):
                break
            if not self.runs.is_data(quiet + start, quiet + end):
                stop = quiet + start, quiet + end
        return stop

    def _ended(self, stop: tuple[int, int] | None, closed: Told, reach: int) -> bool:
        """Whether the message, told last, has stopped where the whole render and it part: no token is left of it."""
        if stop is None or stop[0] == reach:
            return reach == closed.size
        if not closed.rest:
            return reach >= closed.same or not self.tokens.control.search(self.text, reach, closed.same)
        return not self.tokens.control.search(closed.between(reach))

    def _spoken(self, run: int) -> bool:
        """Content or reasoning. Calls are told again by others: tool results name their tool."""
        place = self.runs.places[run]
        return place is not None and len(place) > 2 and place[2] in SPOKEN


def _after_last(words: str, text: str) -> str | None:
    """What follows these words where they are told last."""
    at = text.rfind(words)
    return text[at + len(words) :] if at >= 0 else None
