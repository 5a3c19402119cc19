"""One setting of what a template is given beside messages, and the states that the template is in on its way.

Only one prefix is told at a time: its numbers lie in the cells of a state when that is entered, and variables and
namespaces are put back to what they were there when something has to be run.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2.runtime import Context
from jinja2.utils import missing

from renderers.tracing.environment import REFUSALS
from renderers.tracing.found import Search
from renderers.tracing.gathered import VALUES, Fixed
from renderers.tracing.loops import Ends, Loop
from renderers.tracing.parts import ITEMS
from renderers.tracing.records import Exit, Known, Run, State, Step, Steps, bind, bounds_of
from renderers.tracing.stages import PROMPT, TELLING, SharedEnvironment
from renderers.tracing.views import Strange, View
from renderers.tracing.watched import Cell, Messages, Number, Size

Flags = frozenset[tuple[str, Hashable]]
"""Flags, by name, and what can be seen of them."""


@dataclass(slots=True, eq=False)
class Conversation:
    """What all tellings of a conversation share."""

    template: SharedEnvironment
    messages: list[Mapping[str, Any]]
    whole: str
    """Its text."""
    sofar: Cell
    """How many messages are told."""
    prompting: Cell
    """Whether the generation prompt is."""
    fixed: Fixed
    """What stays what it is."""
    searches: list[Search]
    tails: dict[tuple[int, int, int], list[Any]] = field(default_factory=dict)
    """Messages without the first few, by what they are of."""
    runs: dict[Hashable, dict[Flags, dict[tuple[int, int], list[Run]]]] = field(default_factory=dict)
    """How each loop went, by all that it could see, flags apart, and by where it began."""
    exact: set[Hashable] = field(default_factory=set)
    """Loops that ask so much that no step is told as of the whole conversation."""
    spelled: dict[Hashable, tuple[Any, str]] = field(default_factory=dict)
    """What was spelled as JSON, or by a macro, by what it was made of, which is held."""
    asked: set[str] = field(default_factory=set)
    """The flags that the template looks at."""
    asking: bool = False
    """It asks which messages a search may find."""
    looked: bool = False
    """A macro looked at more than it was given."""

    @property
    def base(self) -> tuple[Cell, ...]:
        """The numbers that any state knows."""
        return self.sofar, self.prompting, *(search.last for search in self.searches)

    def until(self, count: int) -> None:
        """So many messages are told."""
        self.sofar.value = count
        for search in self.searches:
            search.look(count)

    def tail(self, whole: list[Any], begin: int) -> list[Any]:
        """The messages from this one on."""
        known = id(whole), begin, len(whole)  # a row may grow
        found = self.tails.get(known)
        if found is None:
            found = self.tails[known] = whole[begin:]
        return found


class Setting:
    """Raises Strange where a template cannot be followed, and what the template does."""

    def __init__(self, of: Conversation, given: Callable[[bool], Mapping[str, Any]]):
        """given: with the generation prompt or not."""
        prompts, told = {prompt: given(prompt).get(PROMPT) for prompt in (False, True)}, given(False)
        if not of.template.late.isdisjoint(told):
            raise Strange("a name that is given, and set on the way")
        self.of, self.stages, self.prompts, self.base = of, of.template.stages, prompts, of.base
        told = {**of.template.globals, **told, "messages": Messages(of.messages, of.sofar), TELLING: of}
        self.context = of.template.whole.new_context(told, shared=True)
        self.begin = State(0, {}, self._view())
        self.states: dict[Hashable, State] = {}
        self.sights: dict[Hashable, tuple[Hashable, Flags, tuple[str, ...], tuple[str, ...]]] = {}
        self.refusing: tuple[State, Known] | None = None
        """The stage that refused."""

    def enter(self, prompt: bool) -> State:
        """Where a telling begins."""
        self.context.parent[PROMPT], self.of.prompting.value = self.prompts[prompt], int(prompt)
        return self.begin

    def _view(self) -> View:
        return View(self.base, self.of.fixed)

    def run(self, state: State) -> Known:
        """A stage, told."""
        cells, asked, self.refusing, self.of.asking = state.view.cells, self.of.asked, None, False
        bind(cells, ())
        asked.clear()
        context = self.restored(state)
        try:
            text = "".join(filter(None, self.stages[state.at].run(context)))
        except REFUSALS as error:
            if not isinstance(error, Strange) and not self.of.asking:
                self.refusing = state, Known(bounds_of(cells), "", frozenset(asked), None, (), refused=True)
            raise
        after, view = self.state(state.at + 1, context.vars) if state.at + 1 < len(self.stages) else (None, None)
        known = Known(bounds_of(cells), text, frozenset(asked), after, view.sources if view else ())
        state.keep(known)
        return known

    def last_step(self, state: State, last: Step) -> Step:
        """The last step of a loop over messages, after the last but one. Nobody else will take it up."""
        begin, end = state.vars[ITEMS]._ends
        key = begin, self.of.prompting.value, len(state.vars[ITEMS]._whole)  # a row may grow
        loop, pieces = state.ends.pop(key, None) or self._ends(state, begin)
        loop.put(end - begin - 1)
        self.taken_up(state, last, loop)
        steps, text = Steps(state.view, (), self.of.asked, last), ""
        for piece in pieces:
            if piece is None:  # it may go on from here
                state.ends[key] = loop, pieces
                break
            text += piece
        return steps.done(text)

    def _ends(self, state: State, begin: int) -> tuple[Ends, Iterator[str | None]]:
        """Last steps of a loop that begins at this message."""
        items = state.vars[ITEMS]
        loop = Ends(self.of.tail(items._whole, begin), items._counted(begin))
        return loop, self.stages[state.at].run(self.context)

    def taken_up(self, state: State, last: Step, loop: Loop) -> Context:
        """The context in which a loop goes on after a step."""
        self.refusing = None  # if a step refuses, no stage does
        self.of.asked.clear()
        self.of.asked.update(last.asked)
        context = self.restored(state, last.changed)
        context.vars[ITEMS] = loop
        return context

    def refuse(self) -> None:
        """The plain template refuses as the stage did that was run last: nobody need ask it again."""
        if self.refusing:
            state, known = self.refusing
            state.keep(known)
        self.refusing = None

    def restored(self, state: State, changed: Sequence[dict[str, Any]] = ()) -> Context:
        """The context, as it is in this state; in a loop after some steps."""
        for at, space in enumerate(state.view.spaces):  # `zip` would take longer than all of this
            space.clear()
            space.update(state.view.held[at])
            if at < len(changed):
                space.update(changed[at])
        self.context.vars = dict(state.vars)
        return self.context

    def state(self, at: int, values: Mapping[str, Any]) -> tuple[State, View]:
        """The state in which a stage begins, and what was seen there."""
        view, kept, keys = self._view(), dict[str, Any](), list[Hashable]()
        given, flags, seen, later = self._sights(at, tuple(values))
        for name in seen:
            key, kept[name] = view.hold(values[name])
            if name not in self.of.template.flags:
                keys.append(key)
            elif type(values[name]) in VALUES:
                flags |= {(name, key)}
            else:
                keys += name, key
        site, cells = (at, given, *keys), tuple(view.cells)
        for name in later:
            key, kept[name] = view.hold(values[name])
            keys.append(key)
        items, loops = values.get(ITEMS), self.stages[at].loops
        if loops:
            key, kept[ITEMS] = view.hold(items)
            items = kept[ITEMS]
            keys.append(key)
        growing = items if loops and isinstance(items, Messages) else None
        if growing is not None and type(growing._sofar) is Size:
            cells = *cells, growing._sofar
        followed = loops and isinstance(items, (Messages, list))
        found = at, given, flags, seen, later, *keys
        state = self.states.get(found)
        if state is None:
            state = self.states[found] = State(at, kept, view, view.cells[len(self.base) :])
            if followed:
                state.messages = growing
                state.site, state.cells = (None if growing is None else keys[-1], *site), cells
                runs = self.of.runs.setdefault(state.site, {flags: {}})
                first, others = next(iter(runs.items()))
                state.runs, state.apart = runs.setdefault(flags, {}), frozenset([name for name, _ in first ^ flags])
                state.others = others if state.apart else {}
        return state, view

    def leave(self, state: State, step: Step) -> tuple[State | None, Sequence[Any]]:
        """Where a loop leads that has come to this step."""
        changed, known = step.changed, state.exits.get(step.shape)
        if known is None:
            known = state.exits[step.shape] = self._exit(state, changed)
        if changed is known.changed or not known.sources:
            return known.after, known.sources
        sources: list[Any] = []
        for number, source in enumerate(known.sources):
            at = known.places[number]
            if at is not None:
                held = state.view.held[at[0]].get(at[1], source)
                source = changed[at[0]].get(at[1], held) if changed else held
                source = Number(source._sofar) if isinstance(source, Messages) else source
            sources.append(source)
        return known.after, sources

    def _exit(self, state: State, changed: tuple[dict[str, Any], ...]) -> Exit:
        context = self.restored(state, changed)
        del context.vars[ITEMS]
        if state.at + 1 == len(self.stages):
            return Exit(None, (), (), changed)
        after, view = self.state(state.at + 1, context.vars)
        spaces = {id(space): at for at, space in enumerate(state.view.spaces) if at < len(changed)}
        found = [name and (spaces.get(id(view.spaces[name[0]])), name[1]) for name in view.names]
        places = [None if at is None or at[0] is None else (at[0], at[1]) for at in found]
        return Exit(after, view.sources, places, changed)

    def _sights(self, at: int, names: tuple[str, ...]) -> tuple[Hashable, Flags, tuple[str, ...], tuple[str, ...]]:
        """What a loop can see of what is given, and of flags; and which of these variables, and which others matter
        later."""
        if (at, names) not in self.sights:
            stage = self.stages[at]
            given = frozenset([(name, self._given(name)) for name in stage.seen if name not in names])
            flags = frozenset([item for item in given if item[0] in self.of.template.flags])
            seen, later = (tuple(sorted(known.intersection(names))) for known in (stage.seen, stage.later))
            self.sights[at, names] = given - flags, flags, seen, later
        return self.sights[at, names]

    def _given(self, name: str) -> Hashable:
        """What is given, but for the prompt: that is watched."""
        return name == PROMPT or self._view().key(self.context.parent.get(name, missing))
