"""Values as Gemma 4 spells them: `{key:<|"|>text<|"|>,other:[1,true,null]}`; calls and tool declarations made of them.

Keys are sorted by the alphabet and bare; a string ends at the quote token alone, so whatever else it holds is safe.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from renderers.arguments import Schemas, status_of
from renderers.messages import ToolCall, function_of, tojson
from renderers.patterns import fill, given, pieces, take
from renderers.segments import Kind, Origin, Said, Segment
from renderers.toolcalls import Change, Read, parameters

QUOTE = '<|"|>'
KNOWN = ("description", "type", "properties", "required", "nullable")
Piece = tuple[str, bool]
"""Text, and whether it is the template's own words."""


def value(of: object, *, quoting: bool = False) -> Iterable[Piece]:
    """A JSON value; `quoting`: its keys are strings too."""
    if isinstance(of, str):
        return quoted(of)
    if isinstance(of, Mapping):
        entries = (
            (quoted(key) if quoting else [(key, False)], value(each, quoting=quoting)) for key, each in by_name(of)
        )
        return listed("{", (entry(key, each) for key, each in entries), "}")
    if isinstance(of, list):
        return listed("[", (value(each, quoting=quoting) for each in of), "]")
    return [(tojson(of) if of is None or isinstance(of, bool) else str(of), False)]


def quoted(text: object) -> Iterable[Piece]:
    return (QUOTE, True), (str(text), False), (QUOTE, True)


def entry(key: Iterable[Piece], each: Iterable[Piece]) -> Iterator[Piece]:
    yield from key
    yield ":", True
    yield from each


def listed(opening: str, items: Iterable[Iterable[Piece]], closing: str) -> Iterator[Piece]:
    """Items with commas between them."""
    yield opening, True
    for number, item in enumerate(items):
        yield ("," if number else ""), True
        yield from item
    yield closing, True


def by_name(of: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(of.items(), key=lambda pair: pair[0].lower())


def names(of: Iterable[object]) -> Iterator[Piece]:
    return listed("[", map(quoted, of), "]")


def shouted(kind: object) -> str:
    """A type in capitals; a list of them as Python prints it."""
    return str(kind).upper()


def worded(**entries: Iterable[Piece] | None) -> list[Iterator[Piece]]:
    """Entries whose keys are the template's own words, those that there are."""
    return [entry([(key, True)], each) for key, each in entries.items() if each is not None]


def schemas(properties: Mapping[str, Any], *, but: tuple[str, ...] = ()) -> Iterator[Piece]:
    told = ((key, of if isinstance(of, Mapping) else {}) for key, of in by_name(properties) if key not in but)
    return listed("{", (entry([(key, False)], schema(of)) for key, of in told), "}")


def schema(of: Mapping[str, Any]) -> Iterator[Piece]:
    """What a parameter is. An object without properties has those of its keys that say nothing else."""
    kind, inner, needed = shouted(of.get("type", "")), None, None
    if kind == "OBJECT":
        inner = schemas(of["properties"]) if isinstance(of.get("properties"), Mapping) else schemas(of, but=KNOWN)
        needed = names(of["required"]) if of.get("required") else None
    said = worded(
        description=quoted(of["description"]) if of.get("description") else None,
        enum=value(of["enum"], quoting=True) if kind == "STRING" and of.get("enum") else None,
        items=items(of["items"]) if kind == "ARRAY" and of.get("items") and isinstance(of["items"], Mapping) else None,
        nullable=[("true", True)] if of.get("nullable") else None,
        properties=inner,
        required=needed,
        type=quoted(kind),
    )
    return listed("{", said, "}")


def items(of: Mapping[str, Any]) -> Iterator[Piece]:
    """What the items of an array are."""
    return listed("{", (entry([(key, False)], item(key, each)) for key, each in by_name(of) if each is not None), "}")


def item(key: str, of: Any) -> Iterable[Piece]:
    if key == "properties":
        return schemas(of) if isinstance(of, Mapping) else listed("{", (), "}")
    if key == "required":
        return names(of)
    if key == "type":
        return value(of.upper() if isinstance(of, str) else [shouted(each) for each in of], quoting=True)
    return value(of, quoting=True)


def declaration(tool: Mapping[str, Any], index: int) -> Iterable[Said]:
    """A tool on offer. Parameters without a type stay open: upstream closes them behind it."""
    function, at = function_of(tool), ("tools", index)
    yield Segment("<|tool>declaration:", Kind.TOOLS)
    yield from segments(declared(function), Kind.TOOLS, None, at)
    yield Segment("<tool|>", Kind.TOOLS)


def declared(function: Mapping[str, Any]) -> Iterator[Piece]:
    yield function["name"], False
    yield "{description:", True
    yield from quoted(function.get("description", ""))
    if given := function.get("parameters"):
        known = {"properties": schemas(given["properties"]) if given.get("properties") else None}
        known["required"] = names(given["required"]) if given.get("required") else None
        yield ",parameters:{", True
        for each in worded(**known):
            yield from (*each, (",", True))
        yield from typed(given)
    if "response" in function:
        given = function["response"]
        yield ",response:{", True
        if given.get("description"):
            yield from (*worded(description=quoted(given["description"]))[0], (",", True))
        yield from typed(given) if shouted(given.get("type", "")) == "OBJECT" else ()
    yield "}", True


def typed(of: Mapping[str, Any]) -> Iterator[Piece]:
    """The type of an object, and its end."""
    if of.get("type"):
        yield from worded(type=quoted(shouted(of["type"])))[0]
        yield "}", True


def segments(told: Iterable[Piece], kind: Kind, message: int | None, origin: Origin) -> Iterable[Said]:
    for text, literal in told:
        if text:
            yield Segment(text, kind, message, literal, None if literal else origin)


class Reader:
    """The syntax read back. Raises ValueError where a text is none of it."""

    def __init__(self, text: str, quote: str):
        self.text, self.quote, self.at = text, quote, 0

    def value(self) -> Any:
        if self.take(self.quote):
            said = self.until(re.escape(self.quote))
            self.must(self.quote)
            return said
        if self.take("{"):
            return dict(self.entries("}", self.entry))
        if self.take("["):
            return list(self.entries("]", self.value))
        return json.loads(self.until("[],{}]"))

    def entries(self, closing: str, each: Callable[[], Any]) -> Iterator[Any]:
        while not self.take(closing):
            yield each()
            if not self.text.startswith(closing, self.at):
                self.must(",")

    def entry(self) -> tuple[str, Any]:
        key = self.until(":")
        self.must(":")
        return key, self.value()

    def until(self, ends: str) -> str:
        found = re.compile(ends).search(self.text, self.at)
        start, self.at = self.at, found.start() if found else len(self.text)
        return self.text[start : self.at]

    def take(self, words: str) -> bool:
        found = self.text.startswith(words, self.at)
        self.at += len(words) * found
        return found

    def must(self, words: str) -> None:
        if not self.take(words):
            raise ValueError(f"{words!r} is missing at {self.at}")


@dataclass(frozen=True)
class GemmaCall:
    """A call whose arguments are one such value."""

    open: str = "<|tool_call>call:{name}{"
    close: str = "<tool_call|>"
    quote: str = QUOTE

    def write(self, index: int, position: int, call: ToolCall) -> Iterable[Said]:
        origin = ("messages", index, "tool_calls", position, "function")
        lead, _, _ = pieces(self.open)
        yield from fill(lead + "{name}", index, Kind.TOOL_CALL, Kind.TOOL_CALL, name=given(call.name, *origin, "name"))
        told = value(parameters(call, index))
        yield from segments(told, Kind.TOOL_CALL, index, (*origin, "arguments"))
        yield Segment(self.close, Kind.TOOL_CALL, index)

    def read(self, text: str, schemas: Schemas, *, loose: bool = False) -> Read | None:
        found = None if loose else take(self.open, text)
        if not found:
            return None
        reader = Reader(text[found[1] - 1 :], self.quote)
        try:
            arguments = reader.value()
            reader.must(self.close)
            spelled = tojson(arguments)
        except (ValueError, RecursionError):
            return None
        return Read(ToolCall(found[0]["name"], spelled), found[1] - 1 + reader.at, status_of(spelled))

    @property
    def lead(self) -> str:
        return pieces(self.open)[0]

    @property
    def tail(self) -> str:
        return self.close

    def worded(self, change: Change) -> "GemmaCall":
        return GemmaCall(change(self.open), change(self.close), change(self.quote))
