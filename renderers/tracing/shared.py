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
FRAMES = frozenset({"_loop_vars", "_block_vars"})
"""What jinja passes on to functions that ask for a context."""
GLOBALS = frozenset({"range", "dict", "namespace", "raise_exception"})
"""Globals that answer the same whenever they are asked."""
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
    records: dict[Hashable, "Rest"] | None
    """How each loop went last, for every view it had; None: what is told now has nothing to do with what was."""
    of_tools: dict[Hashable, "Rest"]
    """The same of loops over tools, which are those of everything told."""
    last: Any
    """The last message."""
    spelled: dict[Hashable, tuple[Any, str]]
    """What was spelled as JSON, or by a macro, by what it was made of, which is held."""
    pieces: list[str] = field(default_factory=list)
    written: int = 0
    asked: frozenset[str] = frozenset()
    """The flags that the template has looked at so far."""
    looped: bool = False
    """A loop has begun, and the bounds of `sofar` with it."""

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

    def __init__(
        self, telling: Telling, records: dict[Hashable, "Rest"], site: int, items: list[Any], count: Number, view: View
    ):
        self.telling, self.items, self.count, self.view = telling, items, count, view
        self.began, self.start, self.text, telling.looped = telling.written, 0, "", True
        self.steps: list[Step] = []
        for cell in view.cells:
            cell.bounds = ANY
        self.before = [dict(space) for space in view.spaces]
        known = records.get((site, view.keys))
        records[site, view.keys] = self
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
        self.flags = self.environment.flags = variables(node)  # type: ignore[attr-defined]
        self.environment.pure = pure_macros(node)  # type: ignore[attr-defined]
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


def pure_macros(tree: nodes.Template) -> frozenset[str]:
    """Macros that read their arguments alone, and call no others."""
    macros = [*tree.find_all(nodes.Macro)]
    free = {macro.name: _free(macro) for macro in macros}
    if len(free) < len(macros):
        return frozenset()
    pure = set(free)
    while impure := {name for name in pure if not free[name] <= pure}:
        pure -= impure
    return frozenset(pure)


def _free(macro: nodes.Macro) -> set[str]:
    """The names that a macro has from elsewhere, but for globals; its own is enough to make it impure."""
    if next(macro.find_all((nodes.Macro, nodes.CallBlock, nodes.Block, nodes.Include, nodes.Import)), None):
        return {"caller"}
    own = {name.name for name in macro.find_all(nodes.Name) if name.ctx != "load"} | {"loop", *GLOBALS}
    return _names(macro) - own


class SharedEnvironment(PlainEnvironment):
    """One template, for many prefixes."""

    flags: frozenset[str] = frozenset()
    """The variables that it asks for."""
    pure: frozenset[str] = frozenset()
    """Its macros that tell the same of the same."""

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

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A pure macro tells the same of the same: it is asked once for all prefixes."""
        if type(obj) is not Macro or obj.name not in self.pure or kwargs.keys() - FRAMES or not all(map(_fixed, args)):
            return super().call(context, obj, *args, **kwargs)
        known, asked = context.parent[TELLING].spelled, (obj.name, *map(_identity, args))
        if asked not in known:
            known[asked] = args, super().call(context, obj, *args, **kwargs)
        return known[asked][1]

    def ask(self, context: Context, flag: str) -> None:
        """The template looks at a flag."""
        telling = context.parent[TELLING]
        if flag not in telling.asked:
            telling.asked |= {flag}

    def resume(self, context: Context, site: int, iterable: Any, values: Sequence[Any]) -> tuple[Any, str]:
        """What is left of a loop, and what it wrote before; the whole of it, where it cannot be followed."""
        telling = context.parent[TELLING]
        records = telling.of_tools if iterable is context.parent.get("tools") else telling.records
        if records is None:
            return iterable, ""
        if isinstance(iterable, Messages):
            items, count = iterable._seen, iterable._count
        elif isinstance(iterable, (list, tuple)) and not (len(iterable) > 1 and iterable[0] is telling.last):
            items, count = list(iterable), Number(Cell(len(iterable)))
        else:  # a walk back from the last message, say: the next prefix starts it elsewhere
            return iterable, ""
        try:
            cells = [telling.sofar] if count._cell is telling.sofar else [telling.sofar, count._cell]
            rest = Rest(telling, records, site, items, count, View(values, cells))
        except Strange:
            return iterable, ""
        return (rest, rest.text) if rest.worth else (items, "")


def _fixed(value: Any) -> bool:
    """Whether a value stays what it is, as JSON does that no template can change."""
    kind = type(value)
    return kind in VALUES or kind is dict or (kind is list and all(type(item) is dict for item in value))


def _identity(value: Any) -> Hashable:
    return (type(value), value) if type(value) in VALUES else id(value)


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
        self.of_tools: dict[Hashable, Rest] = {}
        self.spelled: dict[Hashable, tuple[Any, str]] = {}
        self.telling: Telling | None = None
        """The last one, if it could be followed so far."""

    def asked(self, flags: Collection[str]) -> bool:
        """Whether what was told last may have looked at any of these flags."""
        known = self.shared.environment.flags  # type: ignore[attr-defined]
        return self.telling is None or not (known.issuperset(flags) and self.telling.asked.isdisjoint(flags))

    def alike(self, count: int) -> tuple[float, float]:
        """Numbers of messages of which all that was told last, up to its end or refusal, would be told the same."""
        return (count, count) if self.telling is None or self.telling.looped else self.telling.sofar.bounds

    def generate(self, given: Mapping[str, Any]) -> Iterator[str]:
        """The text of what is given, piece by piece: a prefix as `messages`, and all else that the template reads."""
        part = given["messages"]
        follows = len(part) <= len(self.messages) and all(map(operator.is_, part, self.messages))
        records, last = self.records if follows else None, part[-1] if part else None
        telling = Telling(Cell(len(part)), records, self.of_tools, last, self.spelled)
        self.telling = telling if follows else None
        told = {**given, "messages": Messages(self.messages, telling.sofar) if follows else part, TELLING: telling}
        try:
            for piece in pieces(self.shared, told):
                telling.pieces.append(piece)
                telling.written += len(piece)
                yield piece
        except REFUSALS as error:
            yield self._plain(given, error)[telling.written :]

    def _plain(self, given: Mapping[str, Any], error: Exception) -> str:
        """The plain template, where the shared one refused; if it refuses alike, all that was watched holds."""
        watched, self.telling = self.telling, None
        try:
            return "".join(pieces(self.plain, given))
        except REFUSALS as other:
            self.telling = watched if (type(other), str(other)) == (type(error), str(error)) else None
            raise


def pieces(template: jinja2.Template, given: Mapping[str, Any]) -> Iterator[str]:
    """A render, piece by piece. What it raises comes as it was raised: jinja would look for the line, which is dear."""
    return template.root_render_func(template.new_context({**template.environment.globals, **given}, shared=True))
