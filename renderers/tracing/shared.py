"""Many prefixes of one conversation, told one after the other: where one goes as the last one went, nothing is run.

A template walks over the messages in a loop, and what it writes of one of them seldom depends on how many follow. So
each outermost loop keeps a record of how it last went: what it had written after each step, what it had set in
namespaces, and the bounds (`watched`) within which numbers may change before anything asked up to there is answered
otherwise. A longer conversation takes the loop up after the last step within bounds. Whatever else the loop can see,
its view, has to be the same. Where a template does what cannot be followed, it fails here, and is run as it is.
"""

import operator
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import Frame
from jinja2.runtime import Context, LoopContext, Macro

from renderers.tracing.asked import GIVEN, variables
from renderers.tracing.environment import HARMLESS, REFUSALS, PlainEnvironment, PlainGenerator, plain_tojson
from renderers.tracing.pure import names, pure_macros
from renderers.tracing.records import VALUES, Loop, Rest, Strange, Telling, View, loop
from renderers.tracing.watched import Cell, Messages, Number, length

TELLING = "the telling"
"""Under this key a context holds its `Telling`: no template can spell it."""
REST = "0rest"
"""The variable of what is left of a loop: no template can spell it."""
FRAMES = frozenset({"_loop_vars", "_block_vars"})
"""What jinja passes on to functions that ask for a context."""


class SharedGenerator(PlainGenerator):
    """Writes the Python of a template whose outermost loops can be taken up."""

    loops = depth = 0

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802 (jinja's names)
        self.flags = self.environment.flags = variables(node)  # type: ignore[attr-defined]
        pure = self.environment.pure = pure_macros(node)  # type: ignore[attr-defined]
        impure = (macro for macro in node.find_all(nodes.Macro) if macro.name not in pure)
        self.in_macros = {name for macro in impure for name in names(macro)}
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
        seen = {name for part in node.body for name in names(part)} | self.in_macros
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
