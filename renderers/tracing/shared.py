"""Many prefixes of one conversation, told in stages: what one told as another would, is told once.

A template walks over the messages in a loop, and what it writes of one of them seldom depends on how many follow. So
whatever a stage or a step told is kept, with the bounds within which the numbers that it asked about may change. Where
a template does what cannot be followed, or refuses, the prefix is told as it is, in one piece.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from renderers.tracing.environment import REFUSALS
from renderers.tracing.found import Search
from renderers.tracing.gathered import Fixed
from renderers.tracing.records import State, Step
from renderers.tracing.runs import common
from renderers.tracing.settings import Conversation, Setting
from renderers.tracing.stages import TELLING, pieces
from renderers.tracing.twin import Compiled
from renderers.tracing.views import Strange
from renderers.tracing.walks import Walk
from renderers.tracing.watched import Cell

NONE: Mapping[str, Any] = {}


class Told:
    """A prefix as told, beside the text of the whole conversation."""

    __slots__ = ("base", "rest", "same", "whole")

    def __init__(self, whole: str, same: int = 0):
        self.whole, self.same = whole, same
        """The two agree as far as that."""
        self.base = 0
        """Where the stage begins in which they part."""
        self.rest: Sequence[str] = ()
        """What was told from there on."""

    def add(self, text: str, guess: int = 0) -> None:
        """guess: how much of it may be told alike."""
        if self.rest:
            self.rest = [*self.rest, text]
            return
        same = self.whole[self.same : self.same + len(text)]  # `startswith` is slow among other characters
        if same == text:
            self.same += len(text)
        else:
            self.base, self.rest = self.same, [text]
            self.same += common(text, same, guess)

    def part(self, step: Step, same: int) -> None:
        """Adds what a loop told as far as the step in which it parts from the whole."""
        self.base, self.same, self.rest = self.same + step.written - len(step.text), same, [step.text]

    def walk(self, walk: Walk) -> None:
        """Adds what a loop told."""
        if self.rest:
            self.rest = [*self.rest, *(step.text for step in walk.steps)]
        elif walk.parted is None:
            self.same += walk.last.written
        else:
            first, *rest = walk.steps[walk.parted :]
            self.part(first, walk.same)
            self.rest = [first.text, *(step.text for step in rest)]

    @property
    def size(self) -> int:
        return self.base + sum(map(len, self.rest)) if self.rest else self.same

    @property
    def text(self) -> str:
        return self.whole[: self.base] + self.left if self.rest else self.whole[: self.same]

    @property
    def left(self) -> str:
        """What was told from the stage on in which they part."""
        self.rest = ["".join(self.rest)] if self.rest else []
        return self.rest[0] if self.rest else ""

    def between(self, start: int, end: int | None = None) -> str:
        """These characters of the text."""
        if not self.rest:
            return self.whole[start : self.same if end is None else min(end, self.same)]
        left, base = self.left, self.base
        if start >= base:
            return left[start - base : end and end - base]
        return self.whole[start:base] + left[: end and max(end - base, 0)]


class Prefixes:
    """The prefixes of one conversation, of which `whole` is the text, with the generation prompt or not.

    given: all that the template is given beside messages, with the generation prompt or not, under a switch.
    """

    def __init__(
        self,
        ways: Compiled,
        messages: Sequence[Mapping[str, Any]],
        whole: str,
        given: Callable[[bool, Mapping[str, Any]], Mapping[str, Any]],
        generating: bool = False,
    ):
        self.plain, self.shared, self.given = ways.plain, ways.shared, given
        fixed = Fixed(messages, alike=ways.shared.gathers)
        searches = [Search() for _ in range(ways.shared.searches)]
        self.of = Conversation(ways.shared, list(messages), whole, Cell(len(messages)), Cell(0), fixed, searches)
        self.settings: dict[int, tuple[Setting, Any]] = {}
        """With the switch, so that no other can take its identity."""
        self.others: dict[bool, dict[str, Any]] = {}
        """What is given beside other messages, with the generation prompt or not."""
        self.watched: list[frozenset[str]] | None = None
        """The flags that were looked at for the prefix that was told last; None: nobody knows."""
        self.agreed: set[tuple[int, int]] = set()
        """Texts of stages, which keep them, and where the whole text has them."""
        self.alike = 0
        """How much of the last step that was told alone is told alike in the whole conversation."""
        self.staged = bool(ways.shared.stages)
        told = self.staged and self.tell(len(messages), generating)
        self.staged = bool(self.staged and told and not told.rest and told.same == len(whole))

    def asks(self, flags: Collection[str], watched: Sequence[frozenset[str]] | None) -> bool:
        """Whether a telling that was `watched` may have looked at any of these flags."""
        if watched is None or not self.shared.flags.issuperset(flags):
            return True
        return not all(asked.isdisjoint(flags) for asked in watched)

    def alone(self, messages: Sequence[Mapping[str, Any]], prompt: bool) -> str | None:
        """The text of other messages; None: refused."""
        try:
            if prompt not in self.others:
                self.others[prompt] = {**self.shared.globals, **self.given(prompt, NONE), TELLING: self.of}
            self.others[prompt]["messages"] = [*messages]
            return "".join(pieces(self.shared.whole, self.others[prompt]))
        except REFUSALS:
            return None

    def tell(self, count: int, prompt: bool, switch: Mapping[str, Any] = NONE, stop: int = 0) -> Told | None:
        """The first so many messages, with the generation prompt or not, under a switch; None: refused.

        It may end where it parts from the whole text, if that is before the character `stop`.
        """
        self.watched = None
        if not self.staged:
            return self._plainly(count, prompt, switch)[0]
        if self.of.sofar.value != count:
            self.of.until(count)
        watched: list[frozenset[str]] = []
        self.watched = watched
        known = self.settings.get(id(switch))
        try:
            return self._follow(known[0] if known else self._setting(switch), prompt, watched, stop)
        except Strange:
            self.staged, self.watched = False, None
            return self._plainly(count, prompt, switch)[0]
        except REFUSALS as error:
            self.watched = None
            told, other = self._plainly(count, prompt, switch)
            if (type(other), str(other)) == (type(error), str(error)):
                self._setting(switch).refuse()
            return told

    def _setting(self, switch: Mapping[str, Any]) -> Setting:
        known = self.settings.get(id(switch))
        if not known:
            known = self.settings[id(switch)] = Setting(self.of, lambda prompt: self.given(prompt, switch)), switch
        return known[0]

    def _follow(self, setting: Setting, prompt: bool, watched: list[frozenset[str]], stop: int) -> Told | None:
        told, state = Told(self.of.whole), setting.enter(prompt)
        while True:
            if state.site is None:
                _, text, asked, after, sources, refused = state.known() or setting.run(state)
                if refused:
                    return None
                if text and not told.rest and (id(text), told.same) in self.agreed:
                    told.same += len(text)
                elif text:
                    at = told.same
                    told.add(text)
                    if not told.rest:
                        self.agreed.add((id(text), at))
            else:
                step = self._loop(setting, state, told, stop)
                asked = step.asked
                after, sources = (None, ()) if told.rest and told.same < stop else setting.leave(state, step)
            watched.append(asked)
            if after is None or (told.rest and told.same < stop):
                return told
            state = after.enter(sources) if sources else after

    def _loop(self, setting: Setting, state: State, told: Told, stop: int) -> Step:
        """The last step of a loop, which is told."""
        arrived = None if told.rest else state.arrived(told.same, stop)
        if arrived:
            step, left, same = arrived
            if left is None:
                told.part(step, same)
                return step
            told.same += step.written
            if left:
                step = setting.last_step(state, step)
                told.add(step.text, self.alike)
                self.alike = told.same - told.base if told.rest else self.alike
            return step
        walk = Walk(setting, state, -1 if told.rest else told.same, stop)
        walk.go()
        told.walk(walk)
        return walk.last

    def _plainly(self, count: int, prompt: bool, switch: Mapping[str, Any]) -> tuple[Told | None, Exception | None]:
        told = Told(self.of.whole)
        try:
            given = {**self.given(prompt, switch), "messages": self.of.messages[:count]}
            told.add("".join(pieces(self.plain, {**self.plain.environment.globals, **given})))
        except REFUSALS as error:
            return None, error
        return told, None
