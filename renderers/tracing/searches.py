"""Searches through messages. Which of them may be found is asked once a conversation, where the item alone decides.

From the end, for the last question, say:

    {% for message in messages[::-1] %}
        {% set index = (messages|length - 1) - loop.index0 %}
        {% if ns.searching and message.role == "user" %} … {% set ns.searching = false %} … {% endif %}
    {% endfor %}

Where a condition on the item alone must hold, as on its role here, all others are passed over (`idle` says why that is
alike). What is set may then depend on where the message was found, but not on how many follow.

And ahead, for whether there is one to come: where the same is set for each that is found, the first is enough.

    {% for later in messages[loop.index:] %}
        {% if later.role == "assistant" %}{% set ns.found = true %}{% endif %}
    {% endfor %}
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from jinja2 import Environment, nodes
from jinja2.runtime import LoopContext, Undefined

from renderers.tracing.idle import sought
from renderers.tracing.pure import names
from renderers.tracing.watched import Behind, Cell, Messages, Number


def mark_searches(tree: nodes.Template, environment: Environment) -> int:
    """Rewrites the searches of a template; how many there are."""
    sites = count()
    tree.body = _backwards(tree.body, sites)
    for node in tree.body:
        if isinstance(node, nodes.For):
            node.body = _ahead(node.body, sites)
        node.set_environment(environment)
        node.set_lineno(1)
    return next(sites)


def _backwards(body: Iterable[nodes.Node], sites: Iterator[int]) -> list[nodes.Node]:
    """These statements, with the searches from the end among them rewritten."""
    out = list[nodes.Node]()
    for node in body:
        alone = _decisive(node) if isinstance(node, nodes.For) else []
        if isinstance(node, nodes.For) and isinstance(node.iter, nodes.Getitem) and alone:
            site, searching, (*_, last) = next(sites), sought(node), node.body
            assert searching, "or nothing would be decisive"
            assert isinstance(last, nodes.If), "or nothing would be decisive"
            others = [part for part in _conjuncts(last.test) if part not in alone]
            reads = any(not names(node.target).isdisjoint(names(part)) for part in (*others, *last.body))
            out.append(_asking(node, node.iter.node, alone, site))
            node.iter = _own("found", nodes.Const(site), node.iter.node, nodes.Const(reads))
            node.body.insert(0, nodes.ExprStmt(nodes.Name("loop", "load")))
            node.body.append(nodes.If(nodes.Not(searching), [nodes.Break()], [], []))
        out.append(node)
    return out


def _ahead(body: Iterable[nodes.Node], sites: Iterator[int]) -> list[nodes.Node]:
    """These statements, with the searches ahead among them rewritten."""
    out = list[nodes.Node]()
    for node in body:
        for part in ("body", "else_", "elif_"):
            inner = getattr(node, part, None)
            if isinstance(inner, list):
                setattr(node, part, _ahead(inner, sites))
        alone = _latching(node)
        if isinstance(node, nodes.For) and alone:
            site = next(sites)
            out.append(_asking(node, node.iter, alone, site))
            node.iter = _own("first", nodes.Const(site), node.iter)
        out.append(node)
    return out


def _latching(loop: nodes.Node) -> list[nodes.Expr]:
    """The conditions of a loop that sets something constant for each item of which they hold."""
    if not isinstance(loop, nodes.For) or loop.test or loop.else_ or loop.recursive or len(loop.body) != 1:
        return []
    node = loop.body[0]
    if not isinstance(loop.target, nodes.Name) or not isinstance(node, nodes.If) or node.elif_ or node.else_:
        return []
    alone = _conjuncts(node.test)
    sets = all(
        isinstance(one, nodes.Assign) and isinstance(one.target, nodes.NSRef) and isinstance(one.node, nodes.Const)
        for one in node.body
    )
    return alone if sets and all(names(part) == names(loop.target) for part in alone) else []


def _decisive(loop: nodes.For) -> list[nodes.Expr]:
    """Conditions on the item alone without which nothing happens in a search from the end."""
    arg = loop.iter.arg if isinstance(loop.iter, nodes.Getitem) else None
    backwards = isinstance(arg, nodes.Slice) and arg.start is arg.stop is None and arg.step in BACKWARDS
    if not backwards or loop.else_ or not isinstance(loop.target, nodes.Name) or not sought(loop):
        return []
    *steps, last = loop.body
    if any("loop" in names(node) for node in last.find_all(nodes.Name)) or not all(map(_counted, steps)):
        return []
    alone = list[nodes.Expr]()
    for part in _conjuncts(last.test)[1:] if isinstance(last, nodes.If) else ():
        if not names(part) or not names(part) <= names(loop.target):
            break
        alone.append(part)
    return alone


BACKWARDS = nodes.Neg(nodes.Const(1)), nodes.Const(-1)


def _counted(step: nodes.Node) -> bool:
    """Whether a step counts from the other end, or not at all."""
    if not isinstance(step, nodes.Assign) or "loop" not in names(step):
        return True
    count = step.node
    return (
        isinstance(count, nodes.Sub)
        and "loop" not in names(count.left)
        and isinstance(count.right, nodes.Getattr)
        and count.right.attr == "index0"
    )


def _conjuncts(test: nodes.Node) -> list[Any]:
    return [*_conjuncts(test.left), test.right] if isinstance(test, nodes.And) else [test]


def _asking(loop: nodes.For, messages: nodes.Node, alone: list[nodes.Expr], site: int) -> nodes.For:
    """A loop over all messages that notes those of which the conditions hold, where nobody has asked yet."""
    assert isinstance(loop.target, nodes.Name), "and has one item"
    test = alone[0]
    for part in alone[1:]:
        test = nodes.And(test, part)
    note = nodes.ExprStmt(_own("note", nodes.Const(site), nodes.Getattr(nodes.Name("loop", "load"), "index0", "load")))
    target = nodes.Name(loop.target.name, "store")
    everything = _own("unsearched", nodes.Const(site), messages)
    return nodes.For(target, everything, [nodes.If(test, [note], [], [])], [], None, False)


def _own(name: str, *args: nodes.Node) -> nodes.Call:
    given: list[Any] = [nodes.ContextReference(), *args]
    return nodes.Call(nodes.EnvironmentAttribute(name), given, [], None, None)


class Search:
    """One search through the messages of a conversation."""

    def __init__(self) -> None:
        self.hits: list[int] | None = None
        """The messages of which its conditions hold, in order."""
        self.noted: list[int] = []
        self.last = Cell(-1)
        """The last of them that is told; -1 where there is none."""

    def known(self, sofar: int) -> list[int]:
        """The messages that may be found, now that somebody has asked."""
        if self.hits is None:
            self.hits = self.noted
            self.look(sofar)
        return self.hits

    def ahead(self, messages: Messages) -> list[Any]:
        """The first of these messages that is found, in a list."""
        sofar = messages._sofar
        hits = self.known(sofar.value)
        at = bisect_left(hits, messages._skipped)
        return [messages._whole[hits[at]]] if at < len(hits) and not sofar.below(hits[at] + 1) else []

    def look(self, sofar: int) -> None:
        """So many messages are told."""
        hits = self.hits or ()
        at = bisect_left(hits, sofar)
        self.last.value = hits[at - 1] if at else -1


class Found(LoopContext):
    """A search over the messages that may be found. exact: what is done with one depends on which it is."""

    def __init__(self, search: Search, messages: Messages, *, exact: bool, undefined: type[Undefined]):
        super().__init__((), undefined)
        self._search, self._of, self._exact = search, messages, exact
        self._left: Iterator[int] | None = None

    def __next__(self) -> tuple[Any, LoopContext]:
        sofar, last = self._of._sofar, self._search.last
        if self._left is None:
            if last.below(self._of._skipped):
                raise StopIteration
            at = last.value
            self._left = reversed([hit for hit in self._search.hits or () if self._of._skipped <= hit < at])
            self.index0: Any = Number(sofar, -1 - last.exact) if self._exact else Behind(sofar, last)
        else:
            _ = last.exact
            at = next(self._left)
            self.index0 = Number(sofar, -1 - at)
        return self._of._whole[at], self
