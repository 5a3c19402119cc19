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

A loop that does something for those of a kind alone goes over no others:

    {% for message in messages %}
        {% if message.role == "system" %} … {% endif %}
    {% endfor %}

And for the last of a kind, by its number alone, in one direction or the other:

    {% for message in messages %}
        {% if message.role == "user" %}{% set ns.last = loop.index0 %}{% endif %}
    {% endfor %}
    {% for index in range(messages|length - 1, -1, -1) %}
        {% if messages[index].role == "user" %}{% set ns.last = index %}{% break %}{% endif %}
    {% endfor %}
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import count, takewhile

from jinja2 import Environment, nodes

from renderers.tracing.idle import is_range, sought
from renderers.tracing.numbered import AT, asking, by_number, conjuncts, latest_of, own
from renderers.tracing.pure import names


def mark_searches(tree: nodes.Template, environment: Environment, macros: Collection[str]) -> int:
    """Rewrites the searches of a template; how many there are. macros: those that may be asked about a message."""
    sites = count()
    tree.body = _backwards(tree.body, sites, frozenset(macros))
    for node in tree.body:
        if isinstance(node, nodes.For):
            node.body = _ahead(node.body, sites)
        node.set_environment(environment)
        node.set_lineno(1)
    return next(sites)


def mark_ranges(tree: nodes.Template, environment: Environment) -> nodes.Template:
    """The template, with loops over numbers that do not ask how many there are before they have come so far."""
    for loop in tree.find_all(nodes.For):
        if is_range(loop.iter):
            loop.iter = own("numbers", loop.iter.node, *loop.iter.args).set_environment(environment)
    return tree


def _backwards(body: Iterable[nodes.Node], sites: Iterator[int], macros: frozenset[str]) -> list[nodes.Node]:
    """These statements, with the searches from the end among them rewritten."""
    out = list[nodes.Node]()
    for node in body:
        if isinstance(node, nodes.If):
            node.body, node.else_ = (_backwards(part, sites, macros) for part in (node.body, node.else_))
        alone = _decisive(node) if isinstance(node, nodes.For) else []
        if isinstance(node, nodes.For) and isinstance(node.iter, nodes.Getitem) and alone:
            out += _from_end(node, node.iter.node, alone, sites, macros)
            continue
        node = by_number(node, sites)
        alone = _choosing(node)
        if isinstance(node, nodes.For) and alone:
            site = next(sites)
            out.append(asking(node.target, node.iter, alone, site))
            node.iter = own("chosen", nodes.Const(site), node.iter)
        out.append(node)
    return out


def _from_end(
    loop: nodes.For, messages: nodes.Expr, alone: list[nodes.Expr], sites: Iterator[int], macros: frozenset[str]
) -> list[nodes.Node]:
    """A search from the end over messages that may be found; or for the one that is, where that can be asked."""
    site, searching, (*_, last) = next(sites), sought(loop), loop.body
    assert searching, "or nothing would be decisive"
    assert isinstance(last, nodes.If), "or nothing would be decisive"
    others, latest = (
        [part for part in conjuncts(last.test) if part not in alone],
        latest_of(loop, messages, searching, macros),
    )
    reads = any(not names(loop.target).isdisjoint(names(part)) for part in (*others, *last.body))
    loop.iter = own("found", nodes.Const(site), messages, nodes.Const(reads))
    loop.body.insert(0, nodes.ExprStmt(nodes.Name("loop", "load")))
    loop.body.append(nodes.If(nodes.Not(searching), [nodes.Break()], [], []))
    search: list[nodes.Node] = [asking(loop.target, messages, alone, site), loop]
    if not latest:
        return search
    site, (alone, body) = next(sites), latest
    found = nodes.For(nodes.Name(AT, "store"), own("place", nodes.Const(site), messages), body, [], None, False)
    decided = own("decided", nodes.Const(site), messages)
    known = nodes.If(decided, [nodes.If(searching, [found], [], [])], [], search)
    return [asking(loop.target, messages, alone, site), known]


def _choosing(loop: nodes.Node) -> list[nodes.Expr]:
    """The conditions of a loop that does nothing for other messages than those of which they hold."""
    if not isinstance(loop, nodes.For) or loop.test or loop.else_ or loop.recursive or len(loop.body) != 1:
        return []
    node = loop.body[0]
    named = isinstance(loop.iter, nodes.Name) and isinstance(loop.target, nodes.Name)
    if not named or not isinstance(node, nodes.If) or node.elif_ or node.else_ or "loop" in names(node):
        return []
    return [*takewhile(lambda part: names(part) == names(loop.target), conjuncts(node.test))]


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
            out.append(asking(node.target, node.iter, alone, site))
            node.iter = own("first", nodes.Const(site), node.iter)
        out.append(by_number(node, sites))
    return out


def _latching(loop: nodes.Node) -> list[nodes.Expr]:
    """The conditions of a loop that sets something constant for each item of which they hold."""
    if not isinstance(loop, nodes.For) or loop.test or loop.else_ or loop.recursive or len(loop.body) != 1:
        return []
    node = loop.body[0]
    if not isinstance(loop.target, nodes.Name) or not isinstance(node, nodes.If) or node.elif_ or node.else_:
        return []
    alone = conjuncts(node.test)
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
    for part in conjuncts(last.test)[1:] if isinstance(last, nodes.If) else ():
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
