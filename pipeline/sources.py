"""A hash of code by what it does: of some functions, and of every definition of ours that they reach.

Definitions are named by the order in which they are reached, locals by the order in which they are set; comments,
docstrings and layout are left out, and so are imports: what is imported is named by where it comes from. So code may be
renamed, moved, commented and surrounded by other code; an edit of anything that is reached is another version. Methods
keep their names: who calls them cannot be told from the source.
"""

import ast
import pickle
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

Name = tuple[str, str]
"""A module, and a definition in it; `*` is all of it."""
ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "renderers")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class Module:
    """What a module's names are."""

    defined: Mapping[str, tuple[ast.stmt, ...]]
    imported: Mapping[str, Name]
    """From our own modules,"""
    foreign: Mapping[str, str]
    """and from others: name -> where it comes from, in dots."""


@dataclass(frozen=True)
class Definition:
    """Code with `{}` where another definition of ours is named."""

    code: tuple[str, ...]
    reaches: tuple[Name, ...]
    """One between each two pieces of code."""


def version_of(*entries: str, without: Collection[str] = ()) -> str:
    """The version of `module:function`s. `without`: modules and packages that are not looked into."""
    queue = [_resolved(module, name) for module, _, name in (entry.partition(":") for entry in entries)]
    numbers = {name: number for number, name in enumerate(queue)}
    told = blake2b(digest_size=10)
    for name in queue:
        if any(f"{name[0]}.".startswith(f"{left}.") for left in without):
            continue
        definition = defined(*name)
        for one in definition.reaches:
            if numbers.setdefault(one, len(numbers)) == len(queue):
                queue.append(one)
        told.update(repr((definition.code, [numbers[one] for one in definition.reaches])).encode())
    return told.hexdigest()


@cache
def digest() -> str:
    """Of all that a version can depend on: our sources as they are, and the Python that reads them."""
    told = blake2b(repr(sys.version_info).encode(), digest_size=16)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            told.update(f"\n{path.relative_to(ROOT)}\n{path.stat().st_size}\n".encode())
            told.update(path.read_bytes())
    return told.hexdigest()


@cache
def defined(module: str, name: str) -> Definition:
    """A definition of one of our modules."""
    known = _module(module)
    found = [node for nodes in known.defined.values() for node in nodes] if name == "*" else known.defined[name]
    code, reaches = [], []
    for node in found:
        written = _Named(module, known)
        copy = pickle.loads(pickle.dumps(node))  # the next version must find it as it was
        code.append(ast.unparse(written.visit(ast.Module([copy], []))))
        reaches += written.reached
    return Definition(tuple(code), tuple(reaches))


def _resolved(module: str, name: str) -> Name:
    """Where a name is defined, through modules that import it."""
    known = _module(module)
    if name in known.defined or name == "*" or name not in known.imported:
        return module, name if name in known.defined else "*"
    return _target(known.imported[name])


def _target(name: Name) -> Name:
    module, attribute = name
    if attribute == "*":
        return name
    return (f"{module}.{attribute}", "*") if _file(f"{module}.{attribute}") else _resolved(module, attribute)


@cache
def _file(module: str) -> Path | None:
    """The file of one of our modules."""
    place = ROOT.joinpath(*module.split("."))
    if module.partition(".")[0] not in PACKAGES:
        return None
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


@cache
def _module(module: str) -> Module:
    path = _file(module)
    if path is None:
        raise LookupError(f"{module} is no module of ours")
    tree = ast.parse(path.read_bytes())
    defined: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        for name in _names(node):
            defined.setdefault(name, []).append(node)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {name: source for node in imports for name, source in _imports(node)}
    foreign = {name: source for node in imports for name, source in _foreign(node) if name not in imported}
    return Module({name: tuple(nodes) for name, nodes in defined.items()}, imported, foreign)


def _names(node: ast.stmt) -> Iterator[str]:
    """What a statement of a module defines: for a loop, everything that it sets."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif not isinstance(node, ast.Import | ast.ImportFrom):
        yield from {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Name]]:
    """Names that are imported from our own modules."""
    if isinstance(node, ast.ImportFrom):
        if node.module and not node.level and _file(node.module):
            yield from ((alias.asname or alias.name, (node.module, alias.name)) for alias in node.names)
    else:
        yield from ((a.asname, (a.name, "*")) for a in node.names if a.asname and _file(a.name))


def _foreign(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """Names that are imported from anywhere."""
    if isinstance(node, ast.ImportFrom):
        yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)
    else:
        named = [(a, a.name if a.asname else a.name.partition(".")[0]) for a in node.names]
        yield from ((a.asname or source, source) for a, source in named)


class _Named(ast.NodeTransformer):
    """Names of ours give way to a place, and locals to numbers."""

    def __init__(self, module: str, known: Module):
        self.module, self.known = module, known
        self.reached: list[Name] = []
        self.locals: dict[str, str] = {}
        self.depth = 0

    def visit_Module(self, node: ast.Module) -> ast.AST:
        (statement,) = node.body
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            statement.name = "_"
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.known.defined:
            return self._reach(node, (self.module, node.id))
        if node.id in self.known.imported:
            return self._reach(node, _target(self.known.imported[node.id]))
        name = self.known.foreign.get(node.id) or self.locals.get(node.id, node.id)
        return ast.copy_location(ast.Name(name, node.ctx), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """`module.name` is a name."""
        if isinstance(node.value, ast.Name) and (source := self.known.imported.get(node.value.id)):
            module, name = _target(source)
            if name == "*" and node.attr in _module(module).defined:
                return self._reach(node, (module, node.attr))
        return self.generic_visit(node)

    def _reach(self, node: ast.expr, name: Name) -> ast.AST:
        self.reached.append(name)
        return ast.copy_location(ast.Name("__", getattr(node, "ctx", ast.Load())), node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [line for line in body if not _says_nothing(line)] or [ast.Pass()]
        inside = isinstance(node, FUNCTIONS)
        if inside and not self.depth:
            self.locals = {name: f"_{n}" for n, name in enumerate(self._own(node))}
        self.depth += inside
        try:
            return super().generic_visit(node)
        finally:
            self.depth -= inside

    def _own(self, node: ast.AST) -> list[str]:
        """Locals of a function. Parameters keep their names, for callers may say them; so does what a module has."""
        within = list(ast.walk(node))
        set_here = [n.id for n in within if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        taken = {n.arg for n in within if isinstance(n, ast.arg)}
        taken |= {name for n in within if isinstance(n, ast.Global | ast.Nonlocal) for name in n.names}
        taken |= {*self.known.defined, *self.known.imported, *self.known.foreign}
        return [name for name in dict.fromkeys(set_here) if name not in taken]


def _says_nothing(line: ast.AST) -> bool:
    """A docstring, or an import: what is imported stands where it is named."""
    if isinstance(line, ast.Import | ast.ImportFrom):
        return True
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
