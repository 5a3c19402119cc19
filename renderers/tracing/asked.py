"""The variables that a template asks for: names that it reads where nothing is sure to have set them before.

Jinja's own answer has names too that a template sets in each branch of a condition. Each of them would be taken for a
flag, and asked as a switch for every turn that is not proved without one.
"""

from collections.abc import Iterable

from jinja2 import meta, nodes

GIVEN = frozenset({"messages", "tools", "documents", "add_generation_prompt", "raise_exception", "strftime_now"})
"""Variables that every template is given."""


def variables(tree: nodes.Template) -> frozenset[str]:
    """What the template asks for and does not set."""
    return frozenset(reads(tree.body) & meta.find_undeclared_variables(tree))


def reads(body: Iterable[nodes.Node]) -> set[str]:
    """The names that these statements read where they have not set them for sure."""
    read = set[str]()
    _follow(body, set(), read)
    return read


def _follow(body: Iterable[nodes.Node], known: set[str], read: set[str]) -> set[str]:
    """What is set for sure after these statements; `read` gains what they read before that."""
    for node in body:
        if isinstance(node, nodes.If):
            known |= _branches(node, known, read)
        elif isinstance(node, nodes.Assign):
            _look((node.node,), known, read)
            known |= _targets(node.target, known, read)
        elif isinstance(node, nodes.AssignBlock):
            _follow(node.body, {*known}, read)
            _look((node.filter,) if node.filter else (), known, read)
            known |= _targets(node.target, known, read)
        elif isinstance(node, nodes.For):
            _look((node.iter,), known, read)
            inside = known | _targets(node.target, known, read)
            _look((node.test,) if node.test else (), inside, read)
            _follow(node.body, inside, read)
            _follow(node.else_, {*known}, read)
        elif isinstance(node, nodes.Macro):
            _look(node.defaults, known, read)
            _follow(node.body, known | {argument.name for argument in node.args}, read)
            known |= {node.name}
        else:
            _look((node,), known, read)
    return known


def _branches(node: nodes.If, known: set[str], read: set[str]) -> set[str]:
    """What is set whichever way a condition goes."""
    ends = list[set[str]]()
    for branch in (node, *node.elif_):
        _look((branch.test,), known, read)
        ends.append(_follow(branch.body, {*known}, read))
    return set.intersection(*ends, _follow(node.else_, {*known}, read))


def _targets(target: nodes.Node, known: set[str], read: set[str]) -> set[str]:
    """The names that are set; an attribute is set of a namespace that is read."""
    if isinstance(target, nodes.NSRef) and target.name not in known:
        read.add(target.name)
    return {name.name for name in (target, *target.find_all(nodes.Name)) if isinstance(name, nodes.Name)}


def _look(parts: Iterable[nodes.Node], known: set[str], read: set[str]) -> None:
    """Whatever else: all that it reads anywhere; what it sets, nobody relies on."""
    for part in parts:
        names = (part, *part.find_all((nodes.Name, nodes.NSRef)))
        read |= {name.name for name in names if isinstance(name, (nodes.Name, nodes.NSRef))} - known
