"""The conversation that a renderer reads: messages, tool calls, and what is asked of a template.

Frozen structs, decoded and validated from JSON in one step. How the Hub writes them is in `hub`.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import wraps
from json.encoder import encode_basestring
from typing import Any, Literal, TypeVar

import msgspec

from renderers.errors import TemplateError

T = TypeVar("T")
Role = Literal["system", "developer", "user", "assistant", "tool"]
MEDIA = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "video": "video",
    "video_url": "video",
    "audio": "audio",
    "audio_url": "audio",
    "input_audio": "audio",
}
"""What the types of parts are called in the wild, and what they are."""


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of content: text, or a medium that the template has its own words for."""

    type: str
    text: str = ""
    source: str = ""
    """What the caller knows a medium by: a path, a URL, a name. It is never opened here."""

    @property
    def kind(self) -> str:
        """What it is, whatever it is called: text, image, video, audio."""
        return MEDIA.get(self.type, self.type)


Content = str | tuple[Part, ...]


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What the model asks of a tool."""

    name: str
    arguments: str
    """JSON, byte for byte as the model wrote it (it may be broken)."""
    id: str | None = None


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One message of a conversation."""

    role: Role
    content: Content = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    weight: float | None = None
    """How much it is learned where the policy learns it: 0 is not at all, None is 1."""

    def but(self, **changes: Any) -> "Message":
        """This message with some fields changed."""
        return msgspec.structs.replace(self, **changes)


class Request(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What is rendered: messages, the tools on offer, template flags, and whether the model is to go on."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    flags: Mapping[str, Any] = {}
    generating: bool = False
    """Ends with the generation prompt."""
    today: date | None = None
    """The conversation's own day: what templates print that print the date, if the flag `today` names no other."""
    trusted: bool = False
    """Nothing is proved, nor missed: every turn with a stop is learned."""
    facts: dict[Callable, Any] = {}
    views: dict[int, Any] = {}
    """What telling a message hangs on, by its index: found once (`Template.view`)."""
    whole: "Request | None" = None
    """What this is the beginning of."""
    places: dict[Callable, list[int]] = {}
    """Where messages are of which something holds: of the whole (`last_where`)."""

    def but(self, **changes: Any) -> "Request":
        """This request with some fields changed, and nothing known of it yet."""
        return msgspec.structs.replace(self, **{"facts": {}, "views": {}, "whole": None, "places": {}, **changes})

    def anew(self, flags: Mapping[str, Any]) -> "Request":
        """The same with these flags, and nothing known of it yet."""
        return Request(self.messages, self.tools, flags, self.generating, self.today, self.trusted)

    def until(self, index: int, *, generating: bool) -> "Request":
        """The messages before this one."""
        messages, whole = self.messages[:index], self.whole or self
        return Request(messages, self.tools, self.flags, generating, self.today, self.trusted, {}, {}, whole)


class Turn(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A request seen from one of its messages, or from its end (`index` is None)."""

    request: Request
    index: int | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        return self.request.messages

    @property
    def tools(self) -> tuple[Mapping[str, Any], ...]:
        return self.request.tools

    @property
    def flags(self) -> Mapping[str, Any]:
        return self.request.flags

    @property
    def message(self) -> Message:
        assert self.index is not None, "a turn at the end has no message"
        return self.request.messages[self.index]

    @property
    def last(self) -> bool:
        return self.index == len(self.request.messages) - 1

    @property
    def first(self) -> str | None:
        """The role of the first message."""
        messages = self.request.messages
        return messages[0].role if messages else None

    def role(self, step: int) -> str | None:
        """The role of the message so many steps away."""
        messages = self.request.messages
        at = (len(messages) if self.index is None else self.index) + step
        return messages[at].role if 0 <= at < len(messages) else None

    def at(self, index: int | None) -> "Turn":
        return Turn(self.request, index)


UNKNOWN: Any = object()


def fact(found: Callable[[Turn], T]) -> Callable[[Turn], T]:
    """Something true of a whole request, found once however many messages ask.

    A number is a place: whatever hangs on it hangs on whether a message stands before it, there, or behind it.
    """

    @wraps(found)
    def known(turn: Turn) -> T:
        request = turn.request
        value = request.facts.get(found, UNKNOWN)
        if value is UNKNOWN:
            value = request.facts[found] = found(turn if turn.index is None else Turn(request))
        return value

    return known


PLACED = "placed"
"""An attribute of what finds a message by nothing but what it is: behind that one, all beginnings have the same."""


def last_where(holds: Callable[[Message], bool]) -> Callable[[Turn], int]:
    """Finds the last message of which this holds, or -1; the beginnings of a conversation share what is found."""

    def last(turn: Turn) -> int:
        request = turn.request
        whole = request.whole or request
        places = whole.places.get(holds)
        if places is None:
            places = whole.places[holds] = [index for index, message in enumerate(whole.messages) if holds(message)]
        at = bisect_left(places, len(request.messages))
        return places[at - 1] if at else -1

    vars(last)[PLACED] = True
    return last


last_user = fact(last_where(lambda message: message.role == "user"))
last_answer = fact(last_where(lambda message: message.role == "assistant" and not message.tool_calls))
"""Where the assistant last spoke without calling a tool."""


def text(content: Content) -> str:
    """The text of content, its media left out."""
    return content if isinstance(content, str) else "".join(part.text for part in content)


SPELL = json.JSONEncoder(ensure_ascii=False)
_encoder: Any = getattr(json.encoder, "c_make_encoder", None)
_chunks: Any = _encoder and _encoder(
    None, SPELL.default, encode_basestring, None, SPELL.key_separator, SPELL.item_separator, False, False, True
)
"""What `SPELL` makes for each value, made once."""


def tojson(value: Any) -> str:
    """JSON spaced as Python and Jinja's `tojson` space it."""
    try:
        return "".join(_chunks(value, 0)) if _chunks else SPELL.encode(value)
    except RecursionError:  # there may be a circle: this one tells it
        return SPELL.encode(value)


def tools_of(given: Iterable[Mapping[str, Any]] | None) -> tuple[Mapping[str, Any], ...]:
    """Tools as they are offered. Raises TemplateError for what is no list of specs, with the cure."""
    if isinstance(given, str | bytes | Mapping):
        cure = "json.loads a text, put a single one in a list"
        raise TemplateError(f"tools are a list of specs, not a {type(given).__name__}: {cure}")
    tools = () if given is None else tuple(given)
    for index, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            cure = "of a function, transformers.utils.get_json_schema makes one"
            raise TemplateError(f"tools[{index}] is {type(tool).__name__} {str(tool)[:40]!r}, not a mapping: {cure}")
    return tools


def function_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a tool is called, and takes. Raises TemplateError for one that is none, as a search that a server hosts."""
    function = tool.get("function", tool)
    if not isinstance(function, Mapping) or "name" not in function:
        raise TemplateError(f"a tool that is no function with a name has no words: {tojson(tool)[:80]}")
    return function
