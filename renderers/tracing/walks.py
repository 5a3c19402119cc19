"""One loop of one prefix: taken up where another one would have gone on alike, and told from there on.

Steps are told as of the whole conversation, so that they are good for most prefixes. Where the last ones look ahead,
they are told again, as of the prefix.
"""

import operator
from collections import deque
from collections.abc import Sequence

from renderers.tracing.environment import REFUSALS
from renderers.tracing.loops import Loop
from renderers.tracing.parts import ITEMS
from renderers.tracing.records import BEGIN, SAME, Run, State, Step, Steps, bind, holds
from renderers.tracing.runs import common
from renderers.tracing.settings import Setting
from renderers.tracing.views import Strange
from renderers.tracing.watched import Cell, Messages, Number, Size

MANY = 5
"""Ways in which a loop went that are remembered."""
FEW = 2
"""Steps that nobody else is likely to take up."""


class Walk:
    """start: where the loop begins in the text of the whole conversation; -1: that was left before.
    stop: it may end in the step in which it parts from that text, if that is before this character."""

    def __init__(self, setting: Setting, state: State, start: int, stop: int):
        self.setting, self.state, self.of, self.start, self.stop = setting, state, setting.of, start, stop
        items = state.vars[ITEMS]
        self.growing = isinstance(items, Messages)
        begin, end = items._ends if self.growing else (0, len(items))
        self.items: Sequence[object] = self.of.tail(items._whole, begin) if self.growing else items
        self.length = items._counted(begin) if self.growing else Number(Cell(len(items)))
        self.cells = state.cells if self.growing else (*state.cells, self.length._cell)
        self.count = max(end - begin, 0)
        self.runs = state.runs.setdefault((start, begin), [])
        self.others = state.others.get((start, begin), ())
        self.run, self.done = Run(self.items), 0
        """A run whose first steps hold, and how many."""
        self.own: list[Step] = []
        """The steps after these."""
        self.parted: int | None = None
        """The step in which it parts from the whole text."""
        self.same = 0
        """Where that is."""

    @property
    def steps(self) -> list[Step]:
        return [*self.run.steps[: self.done], *self.own]

    @property
    def last(self) -> Step:
        """The step that it came to."""
        return self.own[-1] if self.own else self.run.steps[self.done - 1] if self.done else BEGIN

    def go(self) -> None:
        """Finds or tells all steps of this prefix."""
        self._take_up(self.runs, self.others)
        if self._over():
            return
        more = self.done < self.count - 1 or self.done == len(self.run.steps)
        if self.growing and more and (self.state.site, self.start) not in self.of.exact:
            self._as_of_all()
        if self._over():
            return
        if self.growing and self.count - self.done <= FEW:
            self._tell(self.own)
        else:
            self._extend()

    def _over(self) -> bool:
        """Whether nobody needs more steps."""
        if self.parted is not None and self.same < self.stop:
            return True
        return self.done == self.count or (self.run.broken and self.done == len(self.run.steps))

    def _take_up(self, runs: Sequence[Run], others: Sequence[Run] = ()) -> None:
        """The run whose first steps hold for this prefix, as many as may be."""
        self.run, self.done, self.parted = Run(self.items), 0, None
        for at, run in enumerate((*runs, *others)):
            limit, other = self.count, self.state.apart if at >= len(runs) else SAME
            if other and not (self.done < len(run.steps) and holds(run.steps[self.done], self.cells, other)):
                continue  # it has no more than what was found
            if not self.growing:
                limit = [*map(operator.is_, self.items, run.items), False].index(False)
            done = run.valid(self.cells, limit, other)
            while done and run.steps[done - 1].seen > limit:
                done -= 1
            if done > self.done or (done == self.done and len(run.steps) > len(self.run.steps)):
                self.run, self.done = run, done
                if done == self.count or (done == self.count - 1 and len(run.steps) > done):
                    break
        if self.run.parted is not None and self.run.parted < self.done:
            self.parted, self.same = self.run.parted, self.run.same
            self.done = self.parted + 1 if self.same < self.stop else self.done

    def _as_of_all(self) -> None:
        """Tells its steps as of the whole conversation, and takes those that this prefix tells alike."""
        sofar, items, left = self.of.sofar, self.state.vars[ITEMS], self.count - self.done
        row = items._sofar if type(items._sofar) is Size else Cell(0)
        told, size = sofar.value, row.value
        sofar.value, row.value = len(self.of.messages), len(items._whole) - items._more
        try:
            self._extend()
        except Strange:
            raise
        except REFUSALS:
            pass
        finally:
            self.of.until(told)
            row.value = size
        self._take_up(self.runs[:1])
        if self.count - self.done > left // 2 + 1 and self.parted is None:
            self.of.exact.add((self.state.site, self.start))

    def _extend(self) -> None:
        """Tells steps for others too: in the run that was taken up, or in another that begins as it does."""
        if self.run in self.runs:
            self.runs.remove(self.run)
            self.runs.insert(0, self.run)
        if self.run not in self.runs[:1] or self.done < len(self.run.steps):
            self.run = self.run.branch(self.done)
            self.runs.insert(0, self.run)
        del self.runs[MANY:]
        run, before = self.run, self.done
        run.items = self.items
        try:
            self._tell(run.steps)
        finally:
            self.done = len(run.steps)
            if self.parted is not None and self.parted >= before:
                run.parted, run.same = self.parted, self.same

    def _tell(self, steps: list[Step]) -> None:
        """Tells what is left, and adds it to these steps."""
        of, last, pieces = self.of, self.last, deque[str]()

        def over() -> bool:
            seen = 0 if self.growing else max(told.last.seen, loop._seen)
            steps.append(told.done("".join(pieces), seen))
            pieces.clear()
            return self._part(told.last, loop.index0)

        loop = Loop(self.items, self.length, self.done, self.count, over)
        context = self.setting.taken_up(self.state, last, loop)
        bind(self.cells, last.bounds)
        told = Steps(self.state.view, self.cells, of.asked, last)
        pieces.extend(filter(None, self.setting.stages[self.state.at].run(context)))
        if loop._running:  # it was left in the middle of a step
            over()
            self.run.broken = self.run.broken or steps is self.run.steps

    def _part(self, step: Step, index: int) -> bool:
        """Whether a step parts from the whole text where nobody needs the rest; of each it is noted where it does."""
        if self.parted is None and self.start >= 0:
            whole, at = self.of.whole, self.start + step.written - len(step.text)
            if whole[at : at + len(step.text)] == step.text:
                return False
            self.parted, self.same = index, at + common(step.text, whole[at : at + len(step.text)])
        return self.parted is not None and self.same < self.stop
