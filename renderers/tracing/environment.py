"""Jinja as transformers sets it up for chat templates: it writes what `apply_chat_template` writes, byte for byte.

What is harmless is quicker here, for it is not put through the sandbox: keys of messages, methods of texts, macros and
attributes of loops are had where the template asks for them.
"""

import json
from collections.abc import Callable
from typing import Any

import jinja2
import jinja2.utils
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from renderers.tracing.idle import cut_short
from renderers.tracing.strings import Text
from renderers.tracing.values import Dict, Lazy

DICT_NAMES = frozenset(dir(dict))
STR_NAMES = frozenset(name for name in dir(str) if name[0] != "_" and not name.startswith("format"))
TEXTS = frozenset({str, Text})
READING = frozenset({"get", "items", "keys", "values"})
LOOP_NAMES = frozenset(name for name in dir(LoopContext) if name[0] != "_")
DICTS = frozenset({dict, Dict, Lazy})
HARMLESS = {**dict.fromkeys(TEXTS, STR_NAMES), **dict.fromkeys(DICTS, READING), LoopContext: LOOP_NAMES}
"""Attributes that the sandbox lets through as they are."""
ABSENT = object()
REFUSALS = (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a template raises on messages that it was not written for: its own words, or whatever Python says."""


class GenerationTag(Extension):
    """`{% generation %}`: its body as it is. Tracing gives the tag no meaning, so that it can be checked against it."""

    tags = {"generation"}  # noqa: RUF012 (jinja declares it so)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


class Namespace(jinja2.utils.Namespace):
    """A namespace that takes no underscored names, as in transformers."""

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    __getattribute__ = object.__getattribute__  # type: ignore[assignment]  # jinja's own is Python, with its own dict

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        self.__dict__[name] = value

    def __repr__(self) -> str:
        return f"<Namespace {self.__dict__!r}>"


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(
            "Chat templates cannot store underscore-prefixed attributes on a namespace, "
            f"but got {name!r}. Please rename the attribute."
        )


class DictMaker:
    """The global `dict`: makes dicts, and is not the type itself."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict:
        return dict.fromkeys(*args)


def _raise(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def plain_tojson(value: Any, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class PlainGenerator(CodeGenerator):
    """Writes the Python of a template that has what is harmless where it stands. `of` is whatever is asked."""

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802 (jinja's names)
        key = repr(node.attr)
        if isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in LOOP_NAMES:
            self._quick(f"of.{node.attr} if type(of := ", node.node, frame, ") in environment.loops")
        elif node.attr in DICT_NAMES:
            return super().visit_Getattr(node, frame)
        else:
            self._quick(f"of[{key}] if isinstance(of := ", node.node, frame, f", dict) and {key} in of")
        unless = "type(of) not in environment.dicts and " if getattr(node, "tested", False) else ""
        return self.write(f" else {unless}environment.getattr(of, {key}))")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if not (isinstance(node.arg, nodes.Const) and type(node.arg.value) is str):
            return super().visit_Getitem(node, frame)
        key = repr(node.arg.value)
        self._quick(f"of[{key}] if isinstance(of := ", node.node, frame, f", dict) and {key} in of")
        return self.write(f" else environment.getitem(of, {key}))")

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:  # noqa: N802
        method = node.node
        plainly = not (forward_caller or node.kwargs or node.dyn_args or node.dyn_kwargs)
        if not (plainly and isinstance(method, nodes.Getattr) and method.attr in STR_NAMES | READING):
            return super().visit_Call(node, frame, forward_caller=forward_caller)
        self.write(f"(of.{method.attr}(")
        for argument in node.args:
            self.visit(argument, frame)
            self.write(", ")
        self.write(") if type(of := ")
        self.visit(method.node, frame)
        self.write(f") in environment.{'texts' if method.attr in STR_NAMES else 'dicts'} else environment.call(")
        self.write(f"context, environment.getattr(of, {method.attr!r})")
        frames = {"_loop_vars": frame.loop_frame, "_block_vars": frame.block_frame}
        self.signature(node, frame, {name: name for name, inside in frames.items() if inside})
        return self.write("))")

    def _quick(self, before: str, node: nodes.Node, frame: Frame, after: str) -> None:
        """The beginning of an expression that is had without the sandbox, if the node is what it should be."""
        self.write("(" + before)
        self.visit(node, frame)
        self.write(after)


def mark_tests(tree: nodes.Template) -> nodes.Template:
    """The template, that does not ask what an absent attribute is where it is enough that there is none."""
    for node in tree.find_all((nodes.If, nodes.CondExpr)):
        tests = [node.test]
        for test in tests:  # it grows
            if isinstance(test, (nodes.And, nodes.Or)):
                tests += (test.left, test.right)
            elif isinstance(test, nodes.Not):
                tests.append(test.node)
            elif isinstance(test, nodes.Getattr):
                test.tested = True  # type: ignore[attr-defined]
    return tree


class PlainEnvironment(ImmutableSandboxedEnvironment):
    """As transformers builds it. `strftime_now` is given to each render: there is no clock here."""

    code_generator_class = PlainGenerator
    harmless = HARMLESS
    texts: frozenset[type] = frozenset({str})
    dicts: frozenset[type] = DICTS
    loops: frozenset[type] = frozenset({LoopContext})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols])
        self.filters["tojson"] = plain_tojson
        self.globals |= {
            "raise_exception": _raise,
            "dict": DictMaker(),
            "namespace": Namespace,
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return cut_short(super()._parse(source, name, filename))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As the sandbox finds it, by a short way for what is harmless: its long way is half of a render's time."""
        kind = type(obj)
        if kind is Namespace and attribute in obj.__dict__:
            return obj.__dict__[attribute]
        if kind in DICTS and attribute not in DICT_NAMES and attribute not in obj and attribute[:1] != "_":
            return self.undefined(None, obj, attribute)
        if attribute in self.harmless.get(kind, ()):
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """As the sandbox calls it, without its long way for what is harmless: macros, namespaces, methods of texts."""
        method = type(getattr(obj, "__self__", None)) in TEXTS and obj.__name__ in STR_NAMES
        if method or type(obj) is Macro or obj is Namespace:
            for name in ("_loop_vars", "_block_vars"):
                kwargs.pop(name, None)
            return obj(*args, **kwargs)
        return super().call(context, obj, *args, **kwargs)
