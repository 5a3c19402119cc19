"""The twin of the plain environment: it writes the same text, and the text remembers where it came from.

It differs in what turns values into text (`said`), in what puts text together (`cat`), in the filters that build new
text, and in statements of its own around every loop, by which the template's own words learn what they are near to.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import Frame
from jinja2.filters import make_attrgetter

from renderers.tracing.asked import variables
from renderers.tracing.environment import PlainEnvironment, PlainGenerator
from renderers.tracing.places import WALK, Walk
from renderers.tracing.stages import SharedEnvironment
from renderers.tracing.strings import Text, add, cat, join, own, whole
from renderers.tracing.values import Dict, place_of, said, tojson

REBUILDING = (
    *("e", "escape", "forceescape", "format", "indent", "pprint", "striptags", "title", "truncate", "urlencode"),
    *("urlize", "wordwrap", "xmlattr"),
)
"""Filters that build new text of their arguments without any method of Text."""


class TracedGenerator(PlainGenerator):
    """Writes the Python of a template that calls `said` for `str`, and `cat` for the joining of `~`."""

    summing = "add"

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        """A sum that is written at once is not put together: its parts are. What waits in a buffer is placed now."""
        summed = isinstance(node, nodes.Add) and frame.buffer is None
        self.summing = "parts" if summed else "add"
        self.write("(" if summed else "(of if isinstance(of := ")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(")" if isinstance(node, nodes.Add) and not frame.buffer else ", str) else environment.said(of))")

    def visit_Add(self, node: nodes.Add, frame: Frame) -> None:  # noqa: N802 (jinja's names)
        """A sum of many is put together once."""
        self.write(f"environment.{self.summing}((")
        self.summing = "add"
        for part in _summands(node):
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.concat((")
        for part in node.nodes:
            self.write("environment.said(")
            self.visit(part, frame)
            self.write("), ")
        self.write("))")

    def visit_ExprStmt(self, node: nodes.ExprStmt, frame: Frame) -> None:  # noqa: N802
        """Our own statements are plain calls: past the sandbox, which would cost more than they do."""
        call = node.node
        if not (isinstance(call, nodes.Call) and isinstance(call.node, nodes.EnvironmentAttribute)):
            return super().visit_ExprStmt(node, frame)
        self.newline(node)
        if call.node.name == "look":
            self.write("isinstance(")
            self.visit(call.args[0], frame)
            self.write(", dict) and ")
        self.write(f"environment.{call.node.name}(")
        for argument in call.args:
            self.visit(argument, frame)
        return self.write(")")


def _summands(node: nodes.Expr) -> Iterator[nodes.Expr]:
    if isinstance(node, nodes.Add):
        yield from _summands(node.left)
        yield node.right
    else:
        yield node


def _own(attribute: str, *args: nodes.Expr) -> nodes.ExprStmt:
    return nodes.ExprStmt(nodes.Call(nodes.EnvironmentAttribute(attribute), list(args), [], None, None))


def _marked(body: list[nodes.Node]) -> list[nodes.Node]:
    """These statements with push, enter and pop around every loop and a look after every set.

    The item is entered at the top of the body, not where it is fetched: `loop.last` fetches one item ahead.
    """
    out: list[nodes.Node] = []
    for node in body:
        for part in ("body", "else_", "elif_"):
            inner = getattr(node, part, None)
            if isinstance(inner, list):
                setattr(node, part, _marked(inner))
        if isinstance(node, nodes.For):
            item = nodes.Name(node.target.name, "load") if isinstance(node.target, nodes.Name) else nodes.Const(None)
            node.body.insert(0, _own("enter", item))
            out += [_own("push"), node, _own("pop")]
        elif isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name):
            out += [node, _own("look", nodes.Name(node.target.name, "load"))]
        else:
            out.append(node)
    return out


class TracedEnvironment(PlainEnvironment):
    """The twin."""

    code_generator_class = TracedGenerator
    intercepted_binops = frozenset({"%"})
    concat = staticmethod(cat)
    said = staticmethod(said)
    add = staticmethod(add)
    texts = frozenset({Text})

    def __init__(self) -> None:
        super().__init__()
        self.filters |= {name: rebuilding(self.filters[name]) for name in REBUILDING}
        self.filters |= {"tojson": tojson, "safe": said, "string": said, "join": _join, "replace": _replace}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        tree.body = _marked(tree.body)
        return tree

    def parts(self, parts: tuple[Any, ...]) -> str | tuple[str, ...]:
        """A sum to write: its parts, where all of them are texts."""
        for part in parts:
            if not isinstance(part, str):
                return said(add(parts))
        return parts

    def push(self) -> None:
        _walk().push()

    def pop(self) -> None:
        _walk().pop()

    def enter(self, item: Any) -> None:
        if type(item) is Dict:
            walk = _walk()
            walk.here, walk.fixed = item._near, True
        else:
            _walk().enter(place_of(item))

    def look(self, value: Any) -> None:
        if isinstance(value, Dict):
            _walk().look(value._at)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """`"%s" % x`: a plain left side would forget what is put into it."""
        made = super().call_binop(context, operator, left, right)
        return whole(made, left, right, *(right if isinstance(right, tuple) else ())) if type(made) is str else made

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """`", ".join(x)`: a method of a plain text becomes that of a Text."""
        owner = getattr(obj, "__self__", None)
        if type(owner) is str:
            obj = getattr(own(owner), obj.__name__)
        made = super().call(context, obj, *args, **kwargs)
        return whole(made, owner) if type(made) is str and isinstance(owner, bytes) else made

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """The sandbox's `format`, run on plain text and placed afterwards."""
        if super().wrap_str_format(value) is None:
            return None
        template = value.__self__
        plain = super().wrap_str_format(getattr(str.__str__(template), value.__name__))
        assert plain is not None, "a method of str, as it was of Text"
        return lambda *args, **kwargs: whole(plain(*args, **kwargs), template, *args, *kwargs.values())


def _walk() -> Walk:
    walk = WALK.get()
    assert walk is not None, "a traced template runs inside a Walk"
    return walk


def rebuilding(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that builds new text of its arguments: the whole of it gets the place of the first of them."""

    @wraps(function)  # keeps jinja's marks
    def placed(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        return whole(str.__str__(made), *args, *kwargs.values()) if isinstance(made, str) else made

    return placed


@jinja2.pass_environment
def _join(environment: jinja2.Environment, value: Any, d: Any = "", attribute: Any = None) -> Text:
    """The filter `join`; its parameters are named as jinja names them."""
    if attribute is not None:
        value = map(make_attrgetter(environment, attribute), value)
    return join(said(d), map(said, value))


def _replace(s: Any, old: Any, new: Any, count: int | None = None) -> Text:
    """The filter `replace`, for which a plain text would forget what is put into it."""
    subject = said(s)
    subject = subject if isinstance(subject, Text) else own(subject)
    return subject.replace(said(old), said(new), -1 if count is None else count)


@dataclass(frozen=True, slots=True)
class Compiled:
    """One template, three ways to run it. Holds no state of any render, so threads may share it."""

    plain: jinja2.Template
    traced: jinja2.Template
    shared: SharedEnvironment
    """For many prefixes of one conversation."""
    variables: frozenset[str]
    """What the template asks for and does not set."""


@lru_cache(maxsize=64)
def compiled(source: str) -> Compiled:
    """The template, compiled once a process. Raises jinja2.TemplateSyntaxError."""
    environment = PlainEnvironment()
    asked = variables(environment.parse(source))
    plain, traced = (e.from_string(source) for e in (environment, TracedEnvironment()))
    return Compiled(plain, traced, SharedEnvironment(source), asked)
