"""Tool calls on the wire: one pattern writes a call and reads it back."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import count
from typing import Any, NamedTuple, Protocol

from renderers.arguments import CallStatus, Schemas, fits, members, status_of, typed
from renderers.errors import TemplateError
from renderers.messages import Message, Request, ToolCall, text, tojson
from renderers.patterns import fill, given, holds_control, pieces, stand, take
from renderers.segments import Kind, Origin, Phrase, Said, Shape, phrase

Change = Callable[[str], str]


class Read(NamedTuple):
    """A call that was read, where it ends, and what is wrong with its arguments."""

    call: ToolCall | None
    """None where nothing can be called."""
    end: int
    status: CallStatus = CallStatus.OK


class CallBrick(Protocol):
    """One tool call, written and read."""

    @property
    def lead(self) -> str:
        """The words that every call begins with."""
        ...

    def write(self, index: int, position: int, call: ToolCall) -> Iterable[Said]: ...

    @property
    def tail(self) -> str:
        """The words that every call ends with."""
        ...

    def read(self, text: str, schemas: Schemas, *, loose: bool = False) -> Read | None:
        """The call at the start of a text. `loose`: it may be spaced otherwise than it is written."""
        ...

    def worded(self, change: Change) -> "CallBrick":
        """The same with every pattern changed."""
        ...


@dataclass(frozen=True)
class Call:
    """A call whose arguments are one JSON text, verbatim: places `{name}`, `{arguments}`, and maybe `{id}`."""

    pattern: str

    def write(self, index: int, position: int, call: ToolCall) -> Iterable[Said]:
        texts = tuple([getattr(call, place) or "" for place in self._places])
        return (Phrase(self._shape, index, texts, called(index, position, self._paths)),)

    @cached_property
    def _shape(self) -> Shape:
        data = dict.fromkeys(self._places, given(""))
        (told,) = fill(self.pattern, 0, Kind.TOOL_CALL, Kind.TOOL_CALL, **data)
        return told.shape

    @cached_property
    def _paths(self) -> tuple[Origin, ...]:
        return tuple(("id",) if place == "id" else ("function", place) for place in self._places)

    @cached_property
    def _places(self) -> tuple[str, ...]:
        return pieces(self.pattern)[1::2]

    def read(self, text: str, schemas: Schemas, *, loose: bool = False) -> Read | None:
        found = None if loose else take(self.pattern, text, value="arguments")
        if not found:
            return self.object(text) if loose else None
        read = Read(ToolCall(**found[0]), found[1], status_of(found[0]["arguments"]))
        other = self.object(text) if read.status is CallStatus.INVALID_JSON else None
        return other if other and other.status is not CallStatus.INVALID_JSON else read

    def object(self, text: str) -> Read | None:
        """A call that is a JSON object between words, in any spacing and order."""
        before, brace, _ = self.lead.partition("{")
        try:
            start = stand(before, text, 0, loose=True) if brace else -1
            told, end = members(text, start) if start >= 0 else ([], 0)
        except (ValueError, RecursionError):
            return None
        end = stand(self.tail.partition("}")[2], text, end, loose=True)
        if not told or end < 0:
            return None
        fields = dict(told)
        arguments = fields.get("arguments", fields.get("parameters"))
        name, known = (_string(fields.get(field, "")) for field in ("name", "id"))
        if not name or arguments is None:
            return Read(None, end, CallStatus.MALFORMED if name else CallStatus.MISSING_NAME)
        twice = CallStatus.AMBIGUOUS if len(fields) < len(told) else status_of(arguments)
        return Read(ToolCall(name, arguments, known), end, twice)

    @property
    def lead(self) -> str:
        return pieces(self.pattern)[0]

    @property
    def tail(self) -> str:
        return pieces(self.pattern)[-1]

    def worded(self, change: Change) -> "Call":
        return Call(change(self.pattern))


@lru_cache(maxsize=1 << 14)
def called(index: int, position: int, paths: tuple[Origin, ...]) -> tuple[Origin, ...]:
    """Where these fields of a call are."""
    return tuple([("messages", index, "tool_calls", position, *path) for path in paths])


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

    def write(self, index: int, position: int, call: ToolCall) -> Iterable[Said]:
        origin = ("messages", index, "tool_calls", position, "function")
        name = given(call.name, *origin, "name")
        yield from fill(self.open, index, Kind.TOOL_CALL, Kind.TOOL_CALL, name=name)
        arguments = parameters(call, index)
        for key, value in arguments.items():
            place = (*origin, "arguments", key)
            data = {"key": given(key, *place), "value": given(self.spell(value), *place)}
            each = self.each.replace("{string}", tojson(isinstance(value, str)))
            yield from fill(each, index, Kind.TOOL_CALL, Kind.TOOL_CALL, **data)
        yield phrase(self.close if arguments else self.empty + self.close, Kind.TOOL_CALL, index)

    def read(self, text: str, schemas: Schemas, *, loose: bool = False) -> Read | None:
        then = (pieces(self.each)[0], self.close, self.empty + self.close)
        found = take(self.open, text, then=then, loose=loose)
        if not found:
            return None
        name, at, told = found[0]["name"], found[1], list[dict[str, str]]()
        while parameter := take(self.each, text, at, then=then, loose=loose):
            at = parameter[1]
            told.append(parameter[0])
        at += len(self.empty) * (not told and text.startswith(self.empty, at))
        end = stand(self.close, text, at, loose=loose)
        return self.typed(name, told, schemas.get(name, {}), end) if end >= 0 else None

    def typed(self, name: str, told: Sequence[Mapping[str, str]], known: Mapping[str, Any], end: int) -> Read:
        """Parameters as a call, each as the wire or its schema types it."""
        wire = {"true": {"type": "string"}, "false": {"type": "any"}}
        schemas = [wire.get(each.get("string", ""), known.get(each["key"])) for each in told]
        python = self.spell is python_spelled
        values = [typed(each["value"], schema, python=python) for each, schema in zip(told, schemas, strict=True)]
        spelled = [f"{tojson(each['key'])}: {tojson(value)}" for each, value in zip(told, values, strict=True)]
        ends, status = pieces(self.each)[-1].strip(), CallStatus.OK
        if len({each["key"] for each in told}) < len(told) or any(_doubtful(each["value"], ends) for each in told):
            status = CallStatus.AMBIGUOUS
        elif not all(map(fits, values, schemas)):
            status = CallStatus.INVALID_JSON
        return Read(ToolCall(name, f"{{{', '.join(spelled)}}}"), end, status)

    @property
    def lead(self) -> str:
        return pieces(self.open)[0]

    @property
    def tail(self) -> str:
        return self.close

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


def _doubtful(value: str, ends: str) -> bool:
    """Whether words that end a value stand in it, or any control token."""
    return ends in value or holds_control(value)


def _string(spelled: str) -> str | None:
    """The string that a piece of JSON spells, if it is one and holds anything."""
    read = json.loads(spelled, strict=False) if spelled.startswith('"') else None
    return read or None


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
    alone: tuple[str, ...] = ()
    """Words that a message with calls begins with, where it says nothing else; calls are then found nowhere else."""
    behind: bool = False
    """Content may stand behind the calls too."""

    def write(self, index: int, message: Message) -> list[Said]:
        told: list[Said] = []
        lead = self.after_content * bool(text(message.content)) + self.open
        for position, call in enumerate(message.tool_calls):
            if lead:
                told.append(phrase(lead, Kind.TOOL_CALL, index))
            told += self.call.write(index, position, call)
            lead = self.between
        if self.close and message.tool_calls:
            told.append(phrase(self.close, Kind.TOOL_CALL, index))
        return told

    def worded(self, change: Change) -> "Calls":
        """The same with every pattern changed."""
        words = {name: change(getattr(self, name)) for name in ("after_content", "open", "between", "close")}
        return replace(self, call=self.call.worded(change), alone=tuple(map(change, self.alone)), **words)


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
    return request.but(messages=tuple(messages))
