"""The parts of a template: what stands around its outermost loops over messages, and these; and what a part names."""

from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Any

from jinja2 import nodes

from renderers.tracing.numbered import replaced
from renderers.tracing.pure import names

ITEMS = "0items"
"""The variable of what a loop goes over: no template can spell it."""
PAUSE = nodes.EnvironmentAttribute("pause")
"""Here a step of a loop is done."""


def parts_of(body: Iterable[nodes.Node]) -> list[list[nodes.Node]]:
    """What stands around loops, and these, in turn. What a loop goes over is found out in what stands before it."""
    parts: list[list[nodes.Node]] = [[]]
    for node in chain.from_iterable(map(_apart, body)):
        if not isinstance(node, nodes.For) or node.recursive or node.test or node.else_ or not _named(node.iter):
            parts[-1].append(node)
            continue
        at = {"lineno": node.lineno}
        parts[-1].append(nodes.Assign(nodes.Name(ITEMS, "store", **at), node.iter, **at))
        node.iter = nodes.Name(ITEMS, "load", **at)
        node.body.insert(0, nodes.ExprStmt(nodes.Name("loop", "load", **at), **at))
        node.body.append(nodes.ExprStmt(PAUSE, **at))
        parts += [[node], []]
    return parts


def _apart(node: nodes.Node) -> list[nodes.Node]:
    """A loop over messages and a few more: over these, and over those."""
    if not isinstance(node, nodes.For) or not isinstance(node.iter, nodes.Add):
        return [node]
    items, few = node.iter.left, node.iter.right
    known = isinstance(few, nodes.Const) and type(few.value) is list  # jinja has computed it
    asks = any("loop" in names(part) or all_of(part, nodes.Break) for part in node.body)
    if not known or asks or node.recursive or node.test or node.else_:
        return [node]
    more = replaced(node, ())
    more.iter, node.iter = few, nodes.Add(items, nodes.Const([]))
    return [node, more]


def _named(items: nodes.Node) -> bool:
    """Whether a loop may go over messages from their beginning on."""
    sliced = isinstance(items, nodes.Getitem) and isinstance(items.arg, nodes.Slice) and items.arg.step is None
    chosen = isinstance(items, nodes.Call) and items.node == nodes.EnvironmentAttribute("chosen")
    return sliced or chosen or isinstance(items, (nodes.Name, nodes.Add))


def stored(part: Iterable[nodes.Node]) -> frozenset[str]:
    """The names that statements set for those that follow."""
    found = set[str]()
    for node in part:
        if isinstance(node, nodes.If):
            found |= stored([*node.body, *node.elif_, *node.else_])
        elif isinstance(node, nodes.Macro):
            found.add(node.name)
        elif isinstance(node, (nodes.Assign, nodes.AssignBlock)):
            found |= {name.name for name in all_of(node.target, nodes.Name)}
    return frozenset(found)


def targets(part: Iterable[nodes.Node]) -> set[str]:
    """The names of what loops go over."""
    return {name for node in part for loop in all_of(node, nodes.For) for name in names(loop.target)}


def names_of(part: Iterable[nodes.Node]) -> frozenset[str]:
    """All that these name, but for what a loop goes over."""
    return frozenset(name for node in part for name in names(node)) - {ITEMS}


def closed(named: frozenset[str], told: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """These names, and all that macros among them name."""
    while more := frozenset().union(*(told[name] for name in named & told.keys())) - named:
        named |= more
    return named


def passed_on(node: nodes.Node, macros: Collection[str]) -> bool:
    """Whether a macro is named where it is not called."""
    called = [call.node for call in all_of(node, nodes.Call)]
    loads = (name for name in all_of(node, nodes.Name) if name.ctx == "load" and name.name in macros)
    return any(all(name is not other for other in called) for name in loads)


def all_of(node: nodes.Node, kind: Any) -> list[Any]:
    """The nodes of a kind, this one among them."""
    return [*([node] if isinstance(node, kind) else []), *node.find_all(kind)]
