"""A template in stages: what stands before its first loop over messages, a step of that, what stands before the next.

Whatever a stage sets for a later one lies in the context (`vars`), for it stands outermost. So a stage can be run from
any state in which a template may reach it, and its outcome kept. Where stages would not do as the template does in one
piece, there are none, and every telling is a plain render.
"""

import operator
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from itertools import count, takewhile
from types import MappingProxyType
from typing import Any, NamedTuple

import jinja2
from jinja2 import nodes
from jinja2.compiler import Frame
from jinja2.runtime import Context, LoopContext, Macro

from renderers.tracing.asked import GIVEN, reads, variables
from renderers.tracing.environment import HARMLESS, PlainEnvironment, PlainGenerator, mark_tests, plain_tojson
from renderers.tracing.found import Found, Search
from renderers.tracing.gathered import VALUES
from renderers.tracing.idle import cut_short
from renderers.tracing.loops import Ends, Loop, loop
from renderers.tracing.parts import PAUSE, all_of, closed, names_of, parts_of, passed_on, stored, targets
from renderers.tracing.pure import outer_names, pure_macros
from renderers.tracing.searches import mark_ranges, mark_searches
from renderers.tracing.views import Strange
from renderers.tracing.watched import Messages, Number, length

TELLING = "the telling"
"""Under this key a context holds what notes how it goes: no template can spell it."""
PROMPT = "add_generation_prompt"
FRAMES = frozenset({"_loop_vars", "_block_vars"})
"""What jinja passes on to functions that ask for a context."""
WHOLE = (nodes.Extends, nodes.Block, nodes.Include, nodes.Import, nodes.FromImport)
"""What a template has as a whole."""


class Stage(NamedTuple):
    """A part of a template, or a step of one of its loops."""

    run: Callable[[Context], Iterator[str | None]]
    """None: a step of the loop is done, to its end."""
    loops: bool
    seen: frozenset[str]
    """The names that a loop's body can read."""
    later: frozenset[str]
    """The other names that this stage or a later one can read."""


class SharedGenerator(PlainGenerator):
    """Notes the flags that a template looks at, and that a macro looks at more than it is given."""

    outer: frozenset[str] = frozenset()
    """What the macro has from elsewhere that is written."""

    def visit_Name(self, node: nodes.Name, frame: Frame) -> None:  # noqa: N802 (jinja's names)
        flags = self.environment.flags  # type: ignore[attr-defined]
        noted = node.ctx == "load" and (node.name == PROMPT or node.name in flags)
        outer = node.ctx == "load" and node.name in self.outer
        self.write("(" if noted or outer else "")
        self.write(f"environment.ask(context, {node.name!r}) or " if noted else "")
        self.write("environment.look(context) or " if outer else "")
        super().visit_Name(node, frame)
        self.write(")" if noted or outer else "")

    def visit_Macro(self, node: nodes.Macro, frame: Frame) -> None:  # noqa: N802
        self.outer = self.environment.outer.get(node.name, frozenset())  # type: ignore[attr-defined]
        super().visit_Macro(node, frame)
        self.outer = frozenset()

    def visit_NSRef(self, node: nodes.NSRef, frame: Frame) -> None:  # noqa: N802
        if node.name in self.outer:
            self.write(f"environment.change(context, {frame.symbols.ref(node.name)})[{node.attr!r}]")
        else:
            super().visit_NSRef(node, frame)

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:  # noqa: N802
        """What is ours is called as it is: past the sandbox."""
        if not isinstance(node.node, nodes.EnvironmentAttribute):
            return super().visit_Call(node, frame, forward_caller=forward_caller)
        self.write(f"environment.{node.node.name}(")
        for argument in node.args:
            self.visit(argument, frame)
            self.write(", ")
        return self.write(")")

    def visit_ExprStmt(self, node: nodes.ExprStmt, frame: Frame) -> None:  # noqa: N802
        if node.node == PAUSE:
            self.writeline("yield None", node)
        elif not isinstance(node.node, nodes.Name):  # a name alone says where jinja is to look for it
            super().visit_ExprStmt(node, frame)

    def visit_Test(self, node: nodes.Test, frame: Frame) -> None:  # noqa: N802
        """Whether there is a generation prompt or not, somebody has said so."""
        if node.name == "defined" and isinstance(node.node, nodes.Name) and node.node.name == PROMPT:
            self.write("True")
        else:
            super().visit_Test(node, frame)


class SharedEnvironment(PlainEnvironment):
    """One template, for many prefixes."""

    flags: frozenset[str] = frozenset()
    """The variables that it asks for, beside what every template is given."""
    outer: Mapping[str, frozenset[str]] = MappingProxyType({})
    """Its macros that tell the same of the same unless they look at one of these names."""
    pure: frozenset[str] = frozenset()
    """Those of its macros that never do."""
    searches: int = 0
    """How often it searches its messages from the end."""
    late: frozenset[str] = frozenset()
    """Names that a stage sets and an earlier one reads: of what is given, none may have such a name."""
    gathers: bool = True
    """Whether it takes for the same what is alike."""
    stages: tuple[Stage, ...] = ()
    whole: jinja2.Template
    """The template in one piece."""

    code_generator_class = SharedGenerator
    harmless = HARMLESS | dict.fromkeys((Loop, Ends, Found), HARMLESS[LoopContext])
    loops = frozenset({Loop, Ends, Found, LoopContext})

    def __init__(self, source: str):
        super().__init__()
        self.filters |= {"length": length, "count": length, "tojson": _tojson}
        tree = self.parse(source)
        self.flags = variables(tree) - GIVEN
        self.gathers = not any(test.name == "sameas" for test in tree.find_all(nodes.Test))
        self.whole = self.from_string(source)
        if not any(all_of(tree, kind) for kind in WHOLE):
            self._cut(parts_of(tree.body))

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super(PlainEnvironment, self)._parse(source, name, filename)
        free = outer_names(tree)
        sure = free.keys() & {node.name for node in tree.body if isinstance(node, nodes.Macro)}
        self.pure, self.outer = pure_macros(free, sure), {name: free[name] - sure for name in free}
        self.searches = mark_searches(tree, self, free.keys())
        return mark_tests(mark_ranges(cut_short(tree), self))

    def unsearched(self, context: Context, site: int, messages: Any) -> list[Any]:
        """All messages and their numbers, where nobody has asked yet which of them a search may find."""
        telling = context.parent[TELLING]
        search, telling.looked = telling.searches[site], False
        telling.asking = self.followed(context, messages) and search.hits is None
        search.noted = []
        return [*enumerate(messages._whole)] if telling.asking else []

    def _asked(self, context: Context, site: int) -> Search:
        """A search of which it is known now which messages it may find, if it can be."""
        telling = context.parent[TELLING]
        telling.asking = False
        return telling.searches[site]

    def decided(self, context: Context, site: int, messages: Any) -> bool:
        """Whether nothing but the messages decides which of them a search finds."""
        search = self._asked(context, site)
        return self.followed(context, messages) and search.decided(messages, alone=not context.parent[TELLING].looked)

    def note(self, context: Context, site: int, index: int) -> None:
        """A search may find this message."""
        context.parent[TELLING].searches[site].noted.append(index)

    def found(self, context: Context, site: int, messages: Any, exact: bool) -> Any:
        """What a search goes over."""
        search = self._asked(context, site)
        if not self.followed(context, messages):
            return messages[::-1]
        search.known(messages._sofar.value)
        return Found(search, messages, exact=exact, undefined=self.undefined)

    def first(self, context: Context, site: int, messages: Any) -> Any:
        """What a search ahead goes over."""
        search = self._asked(context, site)
        return search.ahead(messages) if self.followed(context, messages) else messages

    def chosen(self, context: Context, site: int, messages: Any) -> Any:
        """What a loop goes over that does nothing for others."""
        search = self._asked(context, site)
        return search.choose(messages) if self.followed(context, messages) else messages

    def place(self, context: Context, site: int, messages: Any, limit: Any = None) -> list[Any]:
        """What a search by number goes over."""
        return self._asked(context, site).place(messages, limit)

    def numbers(self, context: Context, call: Any, *args: Any) -> Iterable[int]:
        """A range to go over, which ends where somebody says so: until then nobody asks where it does."""
        *begin, end = args or (0,)
        if call is not self.globals["range"] or type(end) is not Number or len(begin) > 1:
            return self.call(context, call, *args)
        return takewhile(lambda at: end > at, count(*map(operator.index, begin)))

    def followed(self, context: Context, messages: Any, call: Any = None) -> bool:
        """Whether these are the messages as far as they are told, and a call that gives their numbers is no other."""
        return isinstance(messages, Messages) and messages._plain and call in (None, self.globals["range"])

    def _cut(self, parts: list[list[nodes.Node]]) -> None:
        """Compiles the parts, unless a macro would see what is set after its own."""
        sets = [stored(part) for part in parts]
        after = [frozenset[str]().union(*sets[at + 1 :]) for at in range(len(parts))]
        macros = [[macro for node in part for macro in all_of(node, nodes.Macro)] for part in parts]
        if any(not reads(part).isdisjoint(names) for part, names in zip(macros, after, strict=True)):
            return
        named = [names_of(part) for part in parts]
        self.late = frozenset().union(*(map(operator.and_, named, after)))
        told = {macro.name: names_of([macro]) for part in macros for macro in part if macro.name not in self.pure}
        if any(passed_on(node, told.keys()) for part in parts for node in part):
            told = dict.fromkeys(told, frozenset().union(*told.values()))  # under another name
            named = [part | told.keys() for part in named]
        for at, part in enumerate(parts):
            seen = closed(named[at], told) if at % 2 else frozenset()
            later = frozenset().union(*(closed(names, told) for names in named[at:])) - seen
            before = frozenset[str]().union(*sets[:at])
            known = (named[at] & (before | {"messages"})) - self.flags - {PROMPT} | (sets[at] & before)
            if at % 2:  # or it would look for each of them at every step
                known = named[at] - {"loop"} - targets(part) - {macro.name for macro in macros[at]}
            part[:0] = [nodes.ExprStmt(nodes.Name(name, "load")) for name in sorted(known)]  # jinja looks there once
            self.stages += (Stage(self._compiled(part), bool(at % 2), seen, later),)

    def _compiled(self, part: list[nodes.Node]) -> Callable[[Context], Iterator[str]]:
        tree = nodes.Template(part, lineno=1)
        tree.set_environment(self)
        template = self.from_string(tree)
        template.root_render_func.__globals__["LoopContext"] = loop
        return template.root_render_func

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A macro tells the same of the same if it looks at nothing else: it is asked once for all prefixes."""
        if type(obj) is not Macro or obj.name not in self.outer or kwargs.keys() - FRAMES or not all(map(_fixed, args)):
            return super().call(context, obj, *args, **kwargs)
        telling, asked = context.parent[TELLING], (obj.name, *map(_identity, args))
        if asked in telling.spelled:
            return telling.spelled[asked][1]
        looked, telling.looked = telling.looked, False
        text = super().call(context, obj, *args, **kwargs)
        if not telling.looked:
            telling.spelled[asked] = args, text
        telling.looked = telling.looked or looked
        return text

    def look(self, context: Context) -> None:
        """A macro looks at what it was not given."""
        context.parent[TELLING].looked = True

    def change(self, context: Context, space: Any) -> Any:
        """A namespace that a macro changes: nobody may ask it what it would tell."""
        telling = context.parent[TELLING]
        telling.looked = True
        if telling.asking:
            raise Strange("a search that changes what it finds")
        return space

    def ask(self, context: Context, flag: str) -> None:
        """The template looks at a flag, or whether it is to write the generation prompt."""
        telling = context.parent[TELLING]
        telling.asked.add(flag)
        if flag == PROMPT:
            telling.prompting.bounds = (telling.prompting.value,) * 2


def _fixed(value: Any) -> bool:
    """Whether a value stays what it is, as JSON does that no template can change."""
    kind = type(value)
    return kind in VALUES or kind is dict or (kind is list and all(type(item) is dict for item in value))


def _identity(value: Any) -> Hashable:
    return (type(value), value) if type(value) in VALUES else id(value)


@jinja2.pass_context
def _tojson(context: Context, value: Any, *args: Any, **kwargs: Any) -> str:
    """JSON, spelled once for all prefixes: tools are in each of them."""
    value = value._exact if isinstance(value, Messages) else value
    if type(value) not in (dict, list):
        return plain_tojson(value, *args, **kwargs)
    known, asked = context.parent[TELLING].spelled, (id(value), args, *kwargs.items())
    if asked not in known:
        known[asked] = value, plain_tojson(value, *args, **kwargs)  # held, so that no other can take its identity
    return known[asked][1]


def pieces(template: jinja2.Template, given: Mapping[str, Any]) -> Iterator[str]:
    """A render of all that is given, globals too, piece by piece.

    What it raises comes as it was raised: jinja would look for the line, which is dear.
    """
    return template.root_render_func(template.new_context(dict(given), shared=True))
