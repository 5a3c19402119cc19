"""Many prefixes of one conversation, told one after the other: where one goes as the last one went, nothing is run.

A template walks over the messages in a loop, and what it writes of one of them seldom depends on how many follow. So
each outermost loop keeps a record of how it last went: what it had written after each step, what it had set in
namespaces, and the bounds (`watched`) within which numbers may change before anything asked up to there is answered
otherwise. A longer conversation takes the loop up after the last step within bounds. Whatever else the loop can see,
its view, has to be the same. Where a template does what cannot be followed, it fails here, and is run as it is.
"""

import operator
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import Frame
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.utils import missing

from renderers.tracing.asked import GIVEN, variables
from renderers.tracing.environment import (
    HARMLESS,
    REFUSALS,
    DictMaker,
    Namespace,
    PlainEnvironment,
    PlainGenerator,
    plain_tojson,
)
from renderers.tracing.watched import ANY, Cell, Messages, Number, length

TELLING = "the telling"
"""Under this key a context holds its `Telling`: no template can spell it."""
REST = "0rest"
"""The variable of what is left of a loop: no template can spell it."""
VALUES = frozenset({str, int, bool, float, type(None)})
FIXED = (type, FunctionType, MethodType, BuiltinFunctionType, DictMaker, type(missing))


class Strange(TypeError):
    """Nobody knows whether this stays what it is."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a loop is done."""

    written: int
    """Characters since the loop began."""
    bounds: tuple[tuple[float, float], ...]
    """Of every cell that the loop can see."""
    changed: tuple[dict[str, Any], ...]
    """What the loop has set so far, in every namespace that it can see."""
    asked: frozenset[str]
    """The flags that the template has looked at, here or before."""


@dataclass(slots=True)
class Telling:
    """One prefix being told."""

    sofar: Cell
    """How many messages it has."""
    records: dict[Hashable, "Rest"]
    """How each loop went last, for every view it had."""
    spelled: dict[Hashable, tuple[Any, str]]
    """Values that were spelled as JSON, by what they are and how."""
    pieces: list[str] = field(default_factory=list)
    written: int = 0
    asked: frozenset[str] = frozenset()
    """The flags that the template has looked at so far."""

    def write(self, piece: str) -> str:
        self.pieces.append(piece)
        self.written += len(piece)
        return piece

    def text(self, start: int, end: int) -> str:
        self.pieces = ["".join(self.pieces)]
        return self.pieces[0][start:end]


class View:
    """What a loop can see: keys that are equal where it is the same, and the numbers and namespaces met on the way."""

    def __init__(self, values: Sequence[Any], cells: list[Cell]):
        self.values, self.cells = values, cells
        """Values are held, so that no other can take the identity of one."""
        self.spaces: list[dict[str, Any]] = []
        self.met: dict[int, int] = {}
        self.keys = tuple(map(self.key, values))

    def key(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in VALUES:
            return kind, value
        if kind is dict or kind in FIXED:
            return id(value)
        if kind is Number:
            return kind, self._cell(value._cell), value._more
        if kind is Messages:
            return kind, self._cell(value._sofar), value._skipped
        if kind is Macro:
            return id(value._func.__code__)
        if isinstance(value, Undefined):
            return kind, value._undefined_name
        return self._container(value)

    def _cell(self, cell: Cell) -> int:
        if cell not in self.cells:
            self.cells.append(cell)
        return self.cells.index(cell)

    def _container(self, value: Any) -> Hashable:
        if id(value) in self.met:
            return "met", self.met[id(value)]
        self.met[id(value)] = len(self.met)
        if isinstance(value, (list, tuple)):
            return type(value), *map(self.key, value)
        if not isinstance(value, Namespace):
            raise Strange(type(value))
        space = value.__dict__
        self.spaces.append(space)
        for name, held in space.items():
            if type(held) in (int, Number):
                space[name] = Number(Cell(operator.index(held)))
        return Namespace, *space, *map(self.key, space.values())


class Rest:
    """A loop, taken up where an earlier one would have gone on alike; while it goes on, the record for the next."""

    def __init__(self, telling: Telling, site: int, items: list[Any], count: Number, view: View):
        self.telling, self.items, self.count, self.view = telling, items, count, view
        self.began, self.start, self.text = telling.written, 0, ""
        self.steps: list[Step] = []
        for cell in view.cells:
            cell.bounds = ANY
        self.before = [dict(space) for space in view.spaces]
        known = telling.records.get((site, view.keys))
        telling.records[site, view.keys] = self
        self.worth = known is None or items[:1] == known.items[:1]
        """A loop that starts elsewhere each time, at the last message, say, is not worth a record."""
        if known and self.worth:
            self._take_up(known)

    def _take_up(self, known: "Rest") -> None:
        values = [cell.value for cell in self.view.cells]
        same = [*map(operator.is_, self.items[: len(known.steps)], known.items), False].index(False)
        fits = (done for done in range(same, 0, -1) if _within(values, known.steps[done - 1].bounds))
        self.start = next(fits, 0)
        self.steps = known.steps[: self.start]
        if not self.steps:
            return
        step = self.steps[-1]
        self.text = known.telling.text(known.began, known.began + step.written)
        self.telling.asked |= step.asked
        for cell, bounds in zip(self.view.cells, step.bounds, strict=True):
            cell.bounds = bounds
        for space, changed in zip(self.view.spaces, step.changed, strict=True):
            space.update(changed)

    def done(self) -> None:
        """A step is over."""
        changed = tuple(
            {name: settled(value) for name, value in space.items() if value is not before.get(name, missing)}
            for space, before in zip(self.view.spaces, self.before, strict=True)
        )
        bounds = tuple(cell.bounds for cell in self.view.cells)
        self.steps.append(Step(self.telling.written - self.began, bounds, changed, self.telling.asked))


def _within(values: Sequence[int], bounds: Sequence[tuple[float, float]]) -> bool:
    return all(low <= value <= high for value, (low, high) in zip(values, bounds, strict=True))


def settled(value: Any) -> Any:
    """A value as it will be in a longer conversation too: its numbers have to stay what they are."""
    if type(value) is Number:
        return value._exact
    if isinstance(value, dict):
        for item in value.values():
            settled(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            settled(item)
    elif type(value) not in VALUES and not isinstance(value, (Macro, Undefined)):
        raise Strange(type(value))
    return value


class Loop(LoopContext):
    """A loop that starts late, and says when a step is over."""

    def __init__(self, rest: Rest, undefined: type[Undefined]):
        super().__init__(rest.items[rest.start :], undefined)
        self._rest, self.index0, self._length = rest, rest.start - 1, rest.count  # type: ignore[assignment]
        self._current = rest.items[self.index0] if rest.start else missing

    def __next__(self) -> tuple[Any, LoopContext]:
        if self.index0 >= self._rest.start:
            self._rest.done()
        return super().__next__()

    def _peek_next(self) -> Any:
        bool(self._rest.count > self.index)  # asked, so that it has to stay so
        return super()._peek_next()

    def changed(self, *value: Any) -> bool:
        raise Strange("a loop that remembers what it saw")


def loop(iterable: Any, undefined: type[Undefined], *recursion: Any) -> LoopContext:
    """What a template calls `loop`."""
    return Loop(iterable, undefined) if type(iterable) is Rest else LoopContext(iterable, undefined, *recursion)


class SharedGenerator(PlainGenerator):
    """Writes the Python of a template whose outermost loops can be taken up."""

    loops = depth = 0

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802 (jinja's names)
        self.in_macros = {name for macro in node.find_all(nodes.Macro) for name in _names(macro)}
        self.flags = variables(node)
        super().visit_Template(node, frame)

    def visit_Name(self, node: nodes.Name, frame: Frame) -> None:  # noqa: N802
        noted = node.ctx == "load" and node.name in self.flags and node.name not in GIVEN
        self.write(f"(environment.ask(context, {node.name!r}) or " if noted else "")
        super().visit_Name(node, frame)
        self.write(")" if noted else "")

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802
        if not (self.depth or frame.buffer or node.recursive or node.test or node.else_):
            self._resume(node, frame)
        self.depth += 1
        super().visit_For(node, frame)
        self.depth -= 1

    def _resume(self, node: nodes.For, frame: Frame) -> None:
        seen = {name for part in node.body for name in _names(part)} | self.in_macros
        refs = [frame.symbols.find_ref(name) or f"resolve({name!r})" for name in sorted(seen)]
        rest = frame.symbols.declare_parameter(REST)
        self.loops += 1
        self.writeline(f"{rest}, text = environment.resume(context, {self.loops}, ", node)
        self.visit(node.iter, frame)
        self.write(f", ({', '.join(refs)},))")
        self.writeline("yield text")
        node.iter = nodes.Name(REST, "load", lineno=node.lineno, environment=self.environment)
        extended = nodes.Name("loop", "load", lineno=node.lineno, environment=self.environment)
        node.body.insert(0, nodes.ExprStmt(extended, lineno=node.lineno, environment=self.environment))


def _names(node: nodes.Node) -> set[str]:
    return {name.name for name in node.find_all((nodes.Name, nodes.NSRef))} | (
        {node.name} if isinstance(node, (nodes.Name, nodes.NSRef)) else set()
    )


class SharedEnvironment(PlainEnvironment):
    """One template, for many prefixes."""

    code_generator_class = SharedGenerator
    harmless = HARMLESS | {Loop: HARMLESS[LoopContext]}
    loops = frozenset({Loop, LoopContext})

    def __init__(self) -> None:
        super().__init__()
        self.filters |= {"length": length, "count": length, "tojson": _tojson}

    def from_string(self, source: Any, *args: Any, **kwargs: Any) -> jinja2.Template:
        template = super().from_string(source, *args, **kwargs)
        template.root_render_func.__globals__["LoopContext"] = loop
        return template

    def ask(self, context: Context, flag: str) -> None:
        """The template looks at a flag."""
        telling = context.parent[TELLING]
        if flag not in telling.asked:
            telling.asked |= {flag}

    def resume(self, context: Context, site: int, iterable: Any, values: Sequence[Any]) -> tuple[Any, str]:
        """What is left of a loop, and what it wrote before; the whole of it, where it cannot be followed."""
        telling = context.parent[TELLING]
        if isinstance(iterable, Messages):
            items, count = iterable._seen, iterable._count
        elif isinstance(iterable, (list, tuple)):
            items, count = list(iterable), Number(Cell(len(iterable)))
        else:
            return iterable, ""
        try:
            cells = [telling.sofar] if count._cell is telling.sofar else [telling.sofar, count._cell]
            rest = Rest(telling, site, items, count, View(values, cells))
        except Strange:
            return iterable, ""
        return (rest, rest.text) if rest.worth else (items, "")


@jinja2.pass_context
def _tojson(context: Context, value: Any, *args: Any, **kwargs: Any) -> str:
    """JSON, spelled once for all prefixes: tools are in each of them."""
    if type(value) not in (dict, list):
        return plain_tojson(value, *args, **kwargs)
    known, asked = context.parent[TELLING].spelled, (id(value), args, *kwargs.items())
    if asked not in known:
        known[asked] = value, plain_tojson(value, *args, **kwargs)  # held, so that no other can take its identity
    return known[asked][1]


class Prefixes:
    """The prefixes of one conversation. Each longer than the one before: what is shared is told once."""

    def __init__(self, plain: jinja2.Template, shared: jinja2.Template, messages: Sequence[Mapping[str, Any]]):
        self.plain, self.shared, self.messages = plain, shared, list(messages)
        self.records: dict[Hashable, Rest] = {}
        self.spelled: dict[Hashable, tuple[Any, str]] = {}
        self.telling: Telling | None = None
        """The last one, if it could be followed so far."""

    def asked(self, flags: Collection[str]) -> bool:
        """Whether what was told last may have looked at any of these flags."""
        return self.telling is None or not self.telling.asked.isdisjoint(flags)

    def generate(self, given: Mapping[str, Any]) -> Iterator[str]:
        """The text of what is given, piece by piece: a prefix as `messages`, and all else that the template reads."""
        part, self.telling = given["messages"], None
        if len(part) > len(self.messages) or any(map(operator.is_not, part, self.messages)):
            yield from pieces(self.plain, given)
            return
        self.telling = telling = Telling(Cell(len(part)), self.records, self.spelled)
        told = {**given, "messages": Messages(self.messages, telling.sofar), TELLING: telling}
        try:
            for piece in pieces(self.shared, told):
                yield telling.write(piece)
        except REFUSALS:
            self.telling = None
            yield "".join(pieces(self.plain, given))[telling.written :]


def pieces(template: jinja2.Template, given: Mapping[str, Any]) -> Iterator[str]:
    """A render, piece by piece. What it raises comes as it was raised: jinja would look for the line, at some length."""
    return template.root_render_func(template.new_context(dict(given)))
