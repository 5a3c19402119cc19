"""Searches by number: which message they find is asked once a conversation, and is a place in it."""

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

from jinja2 import nodes

from renderers.tracing.pure import names

AT, ITEM, NUMBER = "0at", "0item", "0number"
"""Where a message is, the message, and where one is that may be found: no template can spell these."""
INDEX0, INDEX = (nodes.Getattr(nodes.Name("loop", "load"), name, "load") for name in ("index0", "index"))
MINUS = nodes.Neg(nodes.Const(1))


def conjuncts(test: nodes.Node) -> list[Any]:
    return [*conjuncts(test.left), test.right] if isinstance(test, nodes.And) else [test]


def asking(item: nodes.Node, messages: nodes.Node, alone: list[nodes.Expr], site: int) -> nodes.For:
    """A loop over all messages that notes those of which the conditions hold, where nobody has asked yet."""
    test = alone[0]
    for part in alone[1:]:
        test = nodes.And(test, part)
    note = nodes.ExprStmt(own("note", nodes.Const(site), nodes.Name(NUMBER, "load")))
    everything = own("unsearched", nodes.Const(site), messages)
    numbered = nodes.Tuple([nodes.Name(NUMBER, "store"), item], "store")
    return nodes.For(numbered, everything, [nodes.If(test, [note], [], [])], [], None, False)


def own(name: str, *args: nodes.Node) -> nodes.Call:
    given: list[Any] = [nodes.ContextReference(), *args]
    return nodes.Call(nodes.EnvironmentAttribute(name), given, [], None, None)


def by_number(loop: nodes.Node, sites: Iterator[int]) -> nodes.Node:
    """A search for the last message of a kind, by its number, as one question."""
    if not isinstance(loop, nodes.For) or loop.test or loop.else_ or loop.recursive or len(loop.body) != 1:
        return loop
    node, target, (messages, backwards) = loop.body[0], loop.target, _numbered(loop.iter)
    if not (messages and isinstance(node, nodes.If) and isinstance(target, nodes.Name)) or node.elif_ or node.else_:
        return loop
    at, item = nodes.Name(AT, "load"), nodes.Name(target.name, "load")
    known = [(INDEX0, at), (INDEX, nodes.Add(at, nodes.Const(1))), (item, nodes.Name(ITEM, "load"))]
    if messages is not loop.iter:
        known = [(nodes.Getitem(messages, item, "load"), nodes.Name(ITEM, "load")), (item, at)]
    parts, body = ([replaced(part, known) for part in some] for some in (conjuncts(node.test), node.body))
    alone = [part for part in parts if names(part) == {ITEM}]
    limits = [part for part in parts if names(part) != {ITEM}]
    told = _breaks(body) if backwards else all(map(_notes, body))
    if not alone or not told or len(limits) > 1 or not all(map(_is_limit, limits)):
        return loop
    site = next(sites)
    place = own("place", nodes.Const(site), messages, *(limit.ops[0].expr for limit in limits))
    search = nodes.For(nodes.Name(AT, "store"), place, body, [], None, False)
    followed = own("followed", messages, *([loop.iter.node] if isinstance(loop.iter, nodes.Call) else []))
    return nodes.If(followed, [asking(nodes.Name(ITEM, "store"), messages, alone, site), search], [], [loop])


def latest_of(
    loop: nodes.For, messages: nodes.Expr, searching: nodes.Getattr, macros: frozenset[str]
) -> tuple[list[nodes.Expr], list[nodes.Node]] | None:
    """When a search from the end finds a message, if that one and macros decide it, and what is set then, if that
    depends on nothing but where it is."""
    size, at = nodes.Filter(messages, "length", [], [], None, None), nodes.Name(AT, "load")
    known: list[tuple[nodes.Node, nodes.Node]] = [(nodes.Sub(nodes.Sub(size, nodes.Const(1)), INDEX0), at)]
    item, parts, body = names(loop.target), list[Any](), loop.body
    while body and isinstance(last := body[-1], nodes.If):
        for step in body[:-1]:
            if not isinstance(step, nodes.Assign) or not isinstance(step.target, nodes.Name):
                return None
            known.insert(0, (nodes.Name(step.target.name, "load"), replaced(step.node, known)))
        parts += [replaced(part, known) for part in conjuncts(last.test)]
        body = [] if last.elif_ or last.else_ else last.body
    _, *alone = parts
    body = [replaced(step, known) for step in body]
    if not body or not all(map(_notes, body)) or not all(item <= names(part) <= item | macros for part in alone):
        return None
    ends = [step for step in body if step.target.attr == searching.attr]
    end = nodes.Assign(nodes.NSRef(*names(searching), searching.attr), nodes.Const(False))
    return (alone, body) if ends == [end] else None


def _numbered(items: nodes.Node) -> tuple[Any, bool]:
    """The variable that a loop goes over, or of which it goes over the numbers, and whether from the end; or None."""
    if isinstance(items, nodes.Name):
        return items, False
    if not isinstance(items, nodes.Call) or not isinstance(items.node, nodes.Name) or items.node.name != "range":
        return None, False
    for size in items.find_all(nodes.Filter):
        for backwards, args in ((False, [size]), (True, [nodes.Sub(size, nodes.Const(1)), MINUS, MINUS])):
            ranged = items == nodes.Call(items.node, args, [], None, None)
            if ranged and size == nodes.Filter(size.node, "length", [], [], None, None):
                return (size.node if isinstance(size.node, nodes.Name) else None), backwards
    return None, False


def _notes(step: nodes.Node) -> bool:
    """Whether a step sets what depends on nothing but where it is."""
    return isinstance(step, nodes.Assign) and isinstance(step.target, nodes.NSRef) and names(step.node) <= {AT}


def _breaks(body: list[nodes.Node]) -> bool:
    """Whether these statements are the last that a loop does, and know no more than where it is."""
    return isinstance(body[-1], nodes.Break) and {"loop", ITEM}.isdisjoint(set[str]().union(*map(names, body)))


def _is_limit(part: nodes.Node) -> bool:
    """Whether this says that a message is before another, which no step changes."""
    if not isinstance(part, nodes.Compare) or part.expr != nodes.Name(AT, "load") or len(part.ops) != 1:
        return False
    (test,) = part.ops
    return test.op == "lt" and isinstance(test.expr, nodes.Name) and test.expr.name not in ("loop", AT, ITEM)


def replaced(node: Any, others: Sequence[tuple[nodes.Node, nodes.Node]]) -> Any:
    """A copy, with others for these nodes."""
    if isinstance(node, list):
        return [replaced(part, others) for part in node]
    if not isinstance(node, nodes.Node):
        return node
    other = next((other for known, other in others if node == known), None)
    if other is None:
        other = copy(node)
        for name, value in node.iter_fields():
            setattr(other, name, replaced(value, others))
    return other
