"""Macros that tell the same of the same, so that nobody needs to ask them twice; and the names that a node has."""

from collections import Counter

from jinja2 import nodes

from renderers.tracing.asked import reads

GLOBALS = frozenset({"range", "dict", "namespace", "raise_exception"})
"""Globals that answer the same whenever they are asked."""


def pure_macros(tree: nodes.Template) -> frozenset[str]:
    """Macros that read their arguments alone, and call no others."""
    named = Counter(macro.name for macro in tree.find_all(nodes.Macro))
    named.update(name.name for name in tree.find_all(nodes.Name) if name.ctx == "store")
    named.update(macro.name for loop in tree.find_all(nodes.For) for macro in loop.find_all(nodes.Macro))
    free = {macro.name: _free(macro) for macro in tree.find_all(nodes.Macro)}
    pure = {name for name in free if named[name] == 1}
    while impure := {name for name in pure if not free[name] <= pure}:
        pure -= impure
    return frozenset(pure)


def _free(macro: nodes.Macro) -> set[str]:
    """The names that a macro has from elsewhere, but for globals; its own is enough to make it impure."""
    if next(macro.find_all((nodes.Macro, nodes.CallBlock, nodes.Block, nodes.Include, nodes.Import)), None):
        return {"caller"}
    return reads((macro,)) - {"loop", *GLOBALS}


def names(node: nodes.Node) -> set[str]:
    """All that it names."""
    own = {node.name} if isinstance(node, (nodes.Name, nodes.NSRef)) else set[str]()
    return own | {name.name for name in node.find_all((nodes.Name, nodes.NSRef))}
