"""Jinja as transformers sets it up for chat templates: it writes what `apply_chat_template` writes, byte for byte.

Two things are quicker here: keys of messages are looked up where the template asks for them, and harmless attributes
are not put through the sandbox.
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
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from renderers.tracing.strings import Text
from renderers.tracing.values import Dict

DICT_NAMES = frozenset(dir(dict))
STR_NAMES = frozenset(name for name in dir(str) if name[0] != "_" and not name.startswith("format"))
TEXTS = frozenset({str, Text})
READING = frozenset({"get", "items", "keys", "values"})
HARMLESS = {
    **dict.fromkeys(TEXTS, STR_NAMES),
    **dict.fromkeys((dict, Dict), READING),
    LoopContext: frozenset(name for name in dir(LoopContext) if name[0] != "_"),
}
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
        attributes = dict(*args, **kwargs)
        for name in attributes:
            _check_name(name)
        super().__init__(attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


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
    """Writes the Python of a template that looks keys of messages up where it stands."""

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802 (jinja's name)
        if node.attr in DICT_NAMES:
            super().visit_Getattr(node, frame)
            return
        self.write(f"(of[{node.attr!r}] if isinstance(of := ")
        self.visit(node.node, frame)
        self.write(f", dict) and {node.attr!r} in of else environment.getattr(of, {node.attr!r}))")


class PlainEnvironment(ImmutableSandboxedEnvironment):
    """As transformers builds it. `strftime_now` is given to each render: there is no clock here."""

    code_generator_class = PlainGenerator
    harmless = HARMLESS

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols])
        self.filters["tojson"] = plain_tojson
        self.globals |= {
            "raise_exception": _raise,
            "dict": DictMaker(),
            "namespace": Namespace,
        }

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As the sandbox finds it, by a short way for what is harmless: its long way is half of a render's time."""
        kind = type(obj)
        if attribute in self.harmless.get(kind, ()):
            return getattr(obj, attribute)
        if kind is Namespace and attribute[:1] != "_":
            value = getattr(obj, attribute, ABSENT)
            if value is not ABSENT:
                return value
        return super().getattr(obj, attribute)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """As the sandbox calls it, without its long way for what is harmless: a method of a text."""
        if type(getattr(obj, "__self__", None)) in TEXTS and obj.__name__ in STR_NAMES:
            for name in ("_loop_vars", "_block_vars"):
                kwargs.pop(name, None)
            return obj(*args, **kwargs)
        return super().call(context, obj, *args, **kwargs)
