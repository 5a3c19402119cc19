"""Loops that go on although nothing can happen any more end there: they look for the last question, from the end.

    {% for message in messages[::-1] %}
        {% set index = … %}
        {% if ns.searching and message.role == "user" %} … {% set ns.searching = false %} … {% endif %}
    {% endfor %}

Once `ns.searching` is false every further step is idle, for nothing else could set it. Or they look for the next of a
kind, by its number:

    {% for index in range(loop.index, messages|length) %}
        {% if not ns.found and messages[index].role != "tool" %} … {% set ns.found = true %} … {% endif %}
    {% endfor %}
"""

from typing import TypeGuard

from jinja2 import nodes

from renderers.tracing.pure import names

COUNTING = (nodes.Add, nodes.Sub, nodes.Const, nodes.Name, nodes.Filter, nodes.Getattr)
"""What an idle step may compute: what raises nothing at one step raises nothing at any other."""


def cut_short(tree: nodes.Template) -> nodes.Template:
    """The template, with a break in such loops."""
    for loop in tree.find_all(nodes.For):
        searching = sought(loop)
        if searching:
            at = {"lineno": loop.body[-1].lineno, "environment": tree.environment}
            loop.body.insert(-1, nodes.If(nodes.Not(searching, **at), [nodes.Break(**at)], [], [], **at))
        found = _found(loop)
        if found:
            at = {"lineno": loop.body[-1].lineno, "environment": tree.environment}
            loop.body.append(nodes.If(found, [nodes.Break(**at)], [], [], **at))
    return tree


def sought(loop: nodes.For) -> nodes.Getattr | None:
    """What is true in such a loop as long as anything can happen."""
    if not loop.body:
        return None
    *steps, last = loop.body
    walked, searching = names(loop.target), _condition(last)
    if searching and _is_slice(loop) and all(_counts(step, walked) for step in steps):
        own = walked.union({"loop"}, _set(last), *(names(step) for step in steps))
        return searching if names(searching).isdisjoint(own) else None
    return None


def _found(loop: nodes.For) -> nodes.Getattr | None:
    """What is true once nothing can happen any more in a loop over a range."""
    if not is_range(loop.iter) or loop.test or len(loop.body) != 1 or not isinstance(loop.body[0], nodes.If):
        return None
    node, found = loop.body[0], loop.body[0].test
    if node.body:
        while isinstance(found, nodes.And):
            found = found.left
        found = found.node if isinstance(found, nodes.Not) and not node.elif_ and not node.else_ else None
    own = names(loop.target).union({"loop"}, _set(node))
    return found if _is_attribute(found) and names(found).isdisjoint(own) else None


def _set(node: nodes.Node) -> set[str]:
    """The variables that a statement sets, which have another value in it than outside."""
    return {name.name for name in node.find_all(nodes.Name) if name.ctx != "load"}


def is_range(items: nodes.Node) -> TypeGuard[nodes.Call]:
    """Whether a loop over these goes over numbers."""
    if not isinstance(items, nodes.Call) or items.node != nodes.Name("range", "load"):
        return False
    return not (items.kwargs or items.dyn_args or items.dyn_kwargs)


def _is_slice(loop: nodes.For) -> bool:
    """Whether it goes over a list: of anything else the next item may be refused."""
    sliced = isinstance(loop.iter, nodes.Getitem) and isinstance(loop.iter.arg, nodes.Slice)
    return sliced and not loop.test and not loop.recursive


def _condition(node: nodes.Node) -> nodes.Getattr | None:
    """The attribute without which this does nothing."""
    if not isinstance(node, nodes.If) or node.elif_ or node.else_:
        return None
    test = node.test
    while isinstance(test, nodes.And):
        test = test.left
    return test if _is_attribute(test) else None


def _is_attribute(node: nodes.Node | None) -> TypeGuard[nodes.Getattr]:
    return isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name)


def _counts(node: nodes.Node, walked: set[str]) -> bool:
    """Whether a statement only sets a name to a count that no item has a part in."""
    if not isinstance(node, nodes.Assign) or not isinstance(node.target, nodes.Name):
        return False
    parts = (node.node, *node.node.find_all(nodes.Node))
    filters = (part.name for part in parts if isinstance(part, nodes.Filter))
    asked = (names(part) for part in parts if isinstance(part, nodes.Getattr))
    return (
        all(isinstance(part, COUNTING) for part in parts)
        and all(name in ("length", "count") for name in filters)
        and all(names == {"loop"} for names in asked)
        and walked.isdisjoint(names(node))
    )
