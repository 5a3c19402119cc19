"""A hash of code by what it does: of some functions, and of every definition of ours that they reach.

Definitions are named by the order in which they are reached, locals by the order in which they are set; comments,
docstrings and layout are left out, and so are imports: what is imported is named by where it comes from. So code may be
renamed, moved, commented and surrounded by other code; an edit of anything that is reached is another version. Methods
keep their names: who calls them cannot be told from the source.
"""

import ast
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path

import msgspec

Name = tuple[str, str]
"""A module, and a definition in it; `*` is all of it."""
ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "renderers")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Reach(msgspec.Struct, frozen=True, array_like=True):
    """A name of ours, as the module that says it knows it."""

    module: str
    name: str
    attribute: str = ""
    """Of what is a module or not: the module that is named must say."""


class Code(msgspec.Struct, frozen=True, array_like=True):
    """A statement of a module, as the module alone tells it."""

    pieces: tuple[str, ...]
    """Code between the names of ours that it says."""
    places: tuple[int, ...]
    """Which of `reaches` is said between each two pieces."""
    reaches: tuple[Reach, ...]
    """In the order in which they are found."""


class Module(msgspec.Struct, frozen=True):
    """What a module alone tells: a function of its own source."""

    source: str
    """Its hash."""
    defined: dict[str, tuple[int, ...]]
    """Name -> the statements that set it."""
    imported: dict[str, Name]
    """Names from our own modules,"""
    foreign: dict[str, str]
    """and from others: name -> where it comes from, in dots."""
    read: dict[int, Code]
    """The statements that somebody asked for."""


Definition = tuple[tuple[str, ...], list[Name]]
"""Code with `__` where another definition of ours is named, and which these are."""


class Sources:
    """Our modules as they are now. What each of them told is known by the hash of its source.

    known: what an earlier process read; a module that is not the same any more is read again.
    """

    def __init__(self, known: Mapping[str, Module] | None = None):
        self.known = known or {}
        self.now: dict[str, Module] = {}
        self.trees: dict[str, ast.Module] = {}
        self.asked: dict[Name, Definition] = {}
        self.news = False
        """Whether something was read that nobody has been told."""

    def told(self) -> dict[str, Module]:
        """What is known of all modules, for the next process."""
        self.news = False
        return {**self.known, **self.now}

    def version_of(self, *entries: str, without: Collection[str] = ()) -> str:
        """The version of `module:function`s. `without`: modules and packages that are not looked into."""
        queue = [self._resolved(module, name) for module, _, name in (entry.partition(":") for entry in entries)]
        numbers = {name: number for number, name in enumerate(queue)}
        told = blake2b(digest_size=10)
        for name in queue:
            if any(f"{name[0]}.".startswith(f"{left}.") for left in without):
                continue
            if name not in self.asked:
                self.asked[name] = self._defined(*name)
            code, reaches = self.asked[name]
            for one in reaches:
                if numbers.setdefault(one, len(numbers)) == len(queue):
                    queue.append(one)
            told.update(repr((code, [numbers[one] for one in reaches])).encode())
        return told.hexdigest()

    def _defined(self, module: str, name: str) -> Definition:
        defined = self._module(module).defined
        found = [at for every in defined.values() for at in every] if name == "*" else defined[name]
        told = [self._spelled(self._code(module, at)) for at in found]
        return tuple([code for code, _ in told]), [one for _, reaches in told for one in reaches]

    def _spelled(self, code: Code) -> tuple[str, list[Name]]:
        """A statement, its names found: here other modules come in."""
        found = [self._found(reach) for reach in code.reaches]
        signs = [f"__{rest}" for _, rest in found]
        pieces = zip(code.pieces, [*(signs[place] for place in code.places), ""], strict=True)
        return "".join([piece + sign for piece, sign in pieces]), [name for name, _ in found]

    def _found(self, reach: Reach) -> tuple[Name, str]:
        """What is reached, and what of the code stays: an attribute of what is no module."""
        module, name = target = self._target((reach.module, reach.name))
        if not reach.attribute:
            return target, ""
        if name == "*" and reach.attribute in self._module(module).defined:
            return (module, reach.attribute), ""
        return target, f".{reach.attribute}"

    def _resolved(self, module: str, name: str) -> Name:
        """Where a name is defined, through modules that import it."""
        known = self._module(module)
        if name in known.defined or name == "*" or name not in known.imported:
            return module, name if name in known.defined else "*"
        return self._target(known.imported[name])

    def _target(self, name: Name) -> Name:
        module, attribute = name
        if attribute == "*" or attribute in self._module(module).defined:
            return name
        return (f"{module}.{attribute}", "*") if _file(f"{module}.{attribute}") else self._resolved(module, attribute)

    def _module(self, module: str) -> Module:
        if module not in self.now:
            path = _file(module)
            if path is None:
                raise LookupError(f"{module} is no module of ours")
            source = path.read_bytes()
            known, told = self.known.get(module), blake2b(source, digest_size=16).hexdigest()
            self.now[module] = known if known and known.source == told else self._parsed(module, source, told)
        return self.now[module]

    def _parsed(self, module: str, source: bytes, told: str) -> Module:
        tree = self.trees[module] = ast.parse(source)
        self.news = True
        defined: dict[str, tuple[int, ...]] = {}
        for at, node in enumerate(tree.body):
            for name in _names(node):
                defined[name] = (*defined.get(name, ()), at)
        imports = [line for line in _lines(tree) if isinstance(line, ast.Import | ast.ImportFrom)]
        imported = {name: source for node in imports for name, source in _imports(node)}
        foreign = {name: source for node in imports for name, source in _foreign(node) if name not in imported}
        return Module(told, defined, imported, foreign, {})

    def _code(self, module: str, at: int) -> Code:
        """A statement of a module."""
        known = self.now[module]
        if at not in known.read:
            self.news = True
            if module not in self.trees:
                path = _file(module)
                assert path, "it was read before"
                self.trees[module] = ast.parse(path.read_bytes())
            known.read[at] = _Named(module, known).code(self.trees[module].body[at])
        return known.read[at]


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
def reader() -> str:
    """Of what makes a `Module` of a source: this file, and the Python whose trees it reads."""
    return blake2b(Path(__file__).read_bytes() + repr(sys.version_info).encode(), digest_size=16).hexdigest()


@cache
def _file(module: str) -> Path | None:
    """The file of one of our modules."""
    place = ROOT.joinpath(*module.split("."))
    if not _ours(module):
        return None
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def _ours(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES


def _within(node: ast.AST) -> list[ast.AST]:
    """As `ast.walk`, in half the time."""
    found = [node]
    for one in found:
        for field in one._fields:
            value = getattr(one, field, None)
            if isinstance(value, ast.AST):
                found.append(value)
            elif isinstance(value, list):
                found += [part for part in value if isinstance(part, ast.AST)]
    return found


def _lines(node: ast.AST) -> Iterator[ast.AST]:
    """The statements in a module or in a statement, at any depth."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        if isinstance(lines := getattr(node, field, None), list):
            for line in lines:
                yield line
                yield from _lines(line)


def _names(node: ast.stmt) -> Iterator[str]:
    """What a statement of a module defines: for a loop, everything that it sets."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif not isinstance(node, ast.Import | ast.ImportFrom):
        yield from {one.id for one in _within(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Name]]:
    """Names that are imported from our own modules."""
    if isinstance(node, ast.ImportFrom):
        if node.module and not node.level and _ours(node.module):
            yield from ((alias.asname or alias.name, (node.module, alias.name)) for alias in node.names)
    else:
        yield from ((a.asname, (a.name, "*")) for a in node.names if a.asname and _ours(a.name))


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
        self.mark = f"_{known.source}_{{}}_"
        """What stands for a name until the code is told: no source holds its own hash."""
        self.reached: list[Reach] = []
        self.locals: dict[str, str] = {}
        self.depth = 0

    def code(self, statement: ast.stmt) -> Code:
        """A statement, which is not what it was after that."""
        told = ast.unparse(self.visit(ast.Module([statement], [])))
        pieces = re.split(self.mark.format(r"(\d+)"), told)
        return Code(tuple(pieces[::2]), tuple(map(int, pieces[1::2])), tuple(self.reached))

    def visit_Module(self, node: ast.Module) -> ast.AST:
        (statement,) = node.body
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            statement.name = "_"
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.known.defined:
            return self._reach(Reach(self.module, node.id))
        if node.id in self.known.imported:
            return self._reach(Reach(*self.known.imported[node.id]))
        return ast.Name(self.known.foreign.get(node.id) or self.locals.get(node.id, node.id), node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """`module.name` is a name."""
        said = node.value.id if isinstance(node.value, ast.Name) else ""
        if said in self.known.imported and said not in self.known.defined:
            return self._reach(Reach(*self.known.imported[said], node.attr))
        return self.generic_visit(node)

    def _reach(self, reach: Reach) -> ast.AST:
        self.reached.append(reach)
        return ast.Name(self.mark.format(len(self.reached) - 1), ast.Load())

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
        within = _within(node)
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
