"""Tool calls on the wire: one pattern writes a call and reads it back."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol

from renderers.errors import TemplateError
from renderers.messages import Message, Request, ToolCall, text, tojson
from renderers.patterns import fill, given, pieces, take
from renderers.segments import Kind, Segment

Change = Callable[[str], str]
Schemas = Mapping[str, Mapping[str, Any]]
"""The JSON schema of every parameter, by the name of its tool."""


class CallBrick(Protocol):
    """One tool call, written and read."""

    @property
    def lead(self) -> str:
        """The words that every call begins with."""
        ...

    def write(self, index: int, position: int, call: ToolCall) -> Iterator[Segment]: ...

    def read(self, text: str, schemas: Schemas) -> tuple[ToolCall, int] | None:
        """The call at the start of a text, and where it ends."""
        ...

    def worded(self, change: Change) -> "CallBrick":
        """The same with every pattern changed."""
        ...


@dataclass(frozen=True)
class Call:
    """A call whose arguments are one JSON text, verbatim: places `{name}`, `{arguments}`, and maybe `{id}`."""

    pattern: str

    def write(self, index: int, position: int, call: ToolCall) -> Iterator[Segment]:
        origin = ("messages", index, "tool_calls", position, "function")
        data = {"name": given(call.name, *origin, "name"), "arguments": given(call.arguments, *origin, "arguments")}
        data["id"] = given(call.id or "", *origin[:-1], "id")
        return fill(self.pattern, index, Kind.TOOL_CALL, Kind.TOOL_CALL, **data)

    def read(self, text: str, schemas: Schemas) -> tuple[ToolCall, int] | None:
        found = take(self.pattern, text, value="arguments")
        return found and (ToolCall(**found[0]), found[1])

    @property
    def lead(self) -> str:
        return pieces(self.pattern)[0]

    def worded(self, change: Change) -> "Call":
        return Call(change(self.pattern))


def spelled(value: Any) -> str:
    """A string as it is, everything else as JSON."""
    return value if isinstance(value, str) else tojson(value)


def python_spelled(value: Any) -> str:
    """What Jinja's `string` filter writes (True, None); lists and mappings as JSON."""
    return tojson(value) if isinstance(value, (dict, list)) else str(value)


@dataclass(frozen=True)
class ParameterCall:
    """A call with one element a parameter: `open` with the place `{name}`, `each` with `{key}` and `{value}`.

    Where the wire does not say what is a string (in the place `{string}`), reading asks the schema of the tool, and
    takes what has none for the JSON that it may be. Arguments that are no JSON object cannot be told.
    """

    open: str
    each: str
    close: str
    spell: Callable[[Any], str] = spelled
    empty: str = ""
    """Stands where there is no parameter."""

    def write(self, index: int, position: int, call: ToolCall) -> Iterator[Segment]:
        origin = ("messages", index, "tool_calls", position, "function")
        name = given(call.name, *origin, "name")
        yield from fill(self.open, index, Kind.TOOL_CALL, Kind.TOOL_CALL, name=name)
        arguments = parameters(call, index)
        for key, value in arguments.items():
            place = (*origin, "arguments", key)
            data = {"key": given(key, *place), "value": given(self.spell(value), *place)}
            each = self.each.replace("{string}", tojson(isinstance(value, str)))
            yield from fill(each, index, Kind.TOOL_CALL, Kind.TOOL_CALL, **data)
        yield Segment(self.close if arguments else self.empty + self.close, Kind.TOOL_CALL, index)

    def read(self, text: str, schemas: Schemas) -> tuple[ToolCall, int] | None:
        then = (pieces(self.each)[0], self.close, self.empty + self.close)
        found = take(self.open, text, then=then)
        if not found:
            return None
        name, at, arguments = found[0]["name"], found[1], {}
        while parameter := take(self.each, text, at, then=then):
            told, at = parameter
            schema = {"type": "string" if told["string"] == "true" else "any"} if "string" in told else {}
            arguments[told["key"]] = typed(told["value"], schema or schemas.get(name, {}).get(told["key"]))
        at += len(self.empty) * (not arguments and text.startswith(self.empty, at))
        return (ToolCall(name, tojson(arguments)), at + len(self.close)) if text.startswith(self.close, at) else None

    @property
    def lead(self) -> str:
        return pieces(self.open)[0]

    def worded(self, change: Change) -> "ParameterCall":
        words = {name: change(getattr(self, name)) for name in ("open", "each", "close", "empty")}
        return replace(self, **words)


def parameters(call: ToolCall, index: int) -> dict[str, Any]:
    """Arguments, one by one. Raises TemplateError where they are no JSON object."""
    try:
        found = json.loads(call.arguments)
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"message {index}: tool arguments are broken JSON: {error}") from error
    if not isinstance(found, dict):
        raise TemplateError(f"message {index}: tool arguments must be an object, not {call.arguments[:40]!r}")
    return found


def typed(value: str, schema: object) -> Any:
    """A parameter read back: its text where the schema says string, else the JSON it may be."""
    if isinstance(schema, Mapping) and schema.get("type") == "string":
        return value
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(value, value))
    except (ValueError, RecursionError):
        return value


def schemas_of(tools: Iterable[Mapping[str, Any]]) -> Schemas:
    """The schema of every parameter of these tools, as far as they tell."""
    functions = (tool.get("function", tool) for tool in tools)
    return {f.get("name", ""): (f.get("parameters") or {}).get("properties") or {} for f in functions}


@dataclass(frozen=True)
class Calls:
    """Where tool calls stand in what the assistant writes."""

    call: CallBrick
    after_content: str = ""
    """Stands between content and the calls."""
    open: str = ""
    """Stands before the first call, with content before it or not."""
    between: str = ""
    close: str = ""

    def write(self, index: int, message: Message) -> Iterator[Segment]:
        for position, call in enumerate(message.tool_calls):
            lead = self.between if position else self.after_content * bool(text(message.content)) + self.open
            if lead:
                yield Segment(lead, Kind.TOOL_CALL, index)
            yield from self.call.write(index, position, call)
        if self.close and message.tool_calls:
            yield Segment(self.close, Kind.TOOL_CALL, index)

    def read(self, text: str, mark: Change, schemas: Schemas) -> tuple[str, list[ToolCall], list[str]]:
        """What stands before the calls, the calls, and what cannot be read as one.

        `mark(words)` is what surely shows that those words begin.
        """
        lead, opening, closing = (mark(words.strip()) for words in (self.call.lead, self.open, self.close))
        start = at = text.find(opening or lead)
        if start < 0:
            return text, [], []
        calls, rests = [], []
        while (begin := text.find(lead, at)) >= 0:
            then = text.find(lead, begin + 1) if len(lead) == 1 else -1  # a control token, which no argument holds
            chunk = text[begin : then if then >= 0 else len(text)]
            call, end = self.call.read(chunk, schemas) or (None, len(chunk))
            calls += [call] if call else []
            rests += [text[at:begin], "" if call else chunk]
            at = begin + end
        rests.append(text[at:])
        for words in (self.open, opening, closing):
            rests = [rest.replace(words, "") for rest in rests]
        before = text[:start].removesuffix(self.open.partition(opening)[0] if opening else self.open)
        ends = (self.between.strip(), closing)  # cut off, where it breaks off in them
        broken = [rest for rest in rests if not any(words.startswith(rest.strip()) for words in ends)]
        return before.removesuffix(self.after_content), calls, broken

    def worded(self, change: Change) -> "Calls":
        """The same with every pattern changed."""
        words = {name: change(getattr(self, name)) for name in ("after_content", "open", "between", "close")}
        return replace(self, call=self.call.worded(change), **words)


def numbered(request: Request, known_as: Callable[[ToolCall, int], str]) -> Request:
    """With the flag `number_calls`, for ids that a template has no words for: those of `known_as`, in results too."""
    if not request.flags.get("number_calls", False):
        return request
    messages, known, number = list[Message](), dict[str | None, str | None](), count()
    for message in request.messages:
        calls = tuple(ToolCall(c.name, c.arguments, known_as(c, next(number))) for c in message.tool_calls)
        known |= {call.id: told.id for call, told in zip(message.tool_calls, calls, strict=True)}
        answers = message.tool_call_id and known.get(message.tool_call_id, message.tool_call_id)
        messages.append(message.but(tool_calls=calls, tool_call_id=answers))
    return replace(request, messages=tuple(messages))
