"""Macros that tell the same of the same, so that nobody needs to ask them twice; and the names that a node has.

Some read nothing but their arguments. Others do of most arguments: whether they looked at more is seen while they tell.
"""

from collections import Counter
from collections.abc import Collection, Mapping

from jinja2 import nodes

from renderers.tracing.asked import reads

GLOBALS = frozenset({"range", "dict", "namespace", "raise_exception"})
"""Globals that answer the same whenever they are asked."""


def outer_names(tree: nodes.Template) -> dict[str, frozenset[str]]:
    """Macros that tell the same of the same unless they look at one of these names, which they have from elsewhere."""
    named = Counter(macro.name for macro in tree.find_all(nodes.Macro))
    named.update(name.name for name in tree.find_all(nodes.Name) if name.ctx == "store")
    named.update(macro.name for loop in tree.find_all(nodes.For) for macro in loop.find_all(nodes.Macro))
    free = {macro.name: _free(macro) for macro in tree.find_all(nodes.Macro) if not _asks_more(macro)}
    return {name: frozenset(free[name]) for name in free if named[name] == 1}


def pure_macros(outer: Mapping[str, frozenset[str]], sure: Collection[str]) -> frozenset[str]:
    """Macros that read their arguments alone, and call no others. sure: those that no condition may leave out."""
    pure = {*outer}
    while impure := {name for name in pure if not outer[name] <= pure.intersection(sure)}:
        pure -= impure
    return frozenset(pure)


def _asks_more(macro: nodes.Macro) -> bool:
    """Whether a macro tells what it is not given by name."""
    return any(True for _ in macro.find_all((nodes.Macro, nodes.CallBlock, nodes.Block, nodes.Include, nodes.Import)))


def _free(macro: nodes.Macro) -> set[str]:
    """The names that a macro has from elsewhere, but for globals."""
    return reads((macro,)) - {"loop", *GLOBALS}


def names(node: nodes.Node) -> set[str]:
    """All that it names."""
    own = {node.name} if isinstance(node, (nodes.Name, nodes.NSRef)) else set[str]()
    return own | {name.name for name in node.find_all((nodes.Name, nodes.NSRef))}
