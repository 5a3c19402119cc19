"""What a template leaves out of a conversation: fields that hold something, and are nowhere in what was told."""

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import compress

from renderers.messages import Request, ToolCall
from renderers.segments import Origin, Said, Segment


def lost_fields(request: Request, told: Sequence[Said]) -> tuple[Origin, ...]:
    """Fields that hold something and are nowhere in the text: nothing told comes from the field, in it, or around it.

    Paths have the Hub's dict shape: ("messages", 2, "tool_calls", 0, "function", "arguments").
    """
    texts: list[str] = []
    places: list[Origin | None] = []
    for one in told:
        if one.texts:
            texts += one.texts
            places += one.origins
        elif type(one) is Segment:
            texts.append(one.text)
            places.append(one.origin)
    origins = set(compress(places, texts))
    missed = [field for field in _fields(request, origins) if field[:3] not in origins and field[:1] not in origins]
    if not missed:
        return ()
    lengths = {len(field) for field in missed}
    if min(lengths) >= max(map(len, filter(None, origins)), default=0):
        return tuple(missed)
    around = {origin[:length] for origin in origins if origin for length in lengths if length < len(origin)}
    return tuple([field for field in missed if field not in around])


def _fields(request: Request, told: Set[Origin | None]) -> list[Origin]:
    """Every field that holds something, and is not told itself."""
    fields: list[Origin] = [("tools", index) for index, tool in enumerate(request.tools) if tool]
    for index, message in enumerate(request.messages):
        said, reasoning = message.content, message.reasoning
        if reasoning and (at := ("messages", index, "reasoning_content")) not in told and not reasoning.isspace():
            fields.append(at)
        if not isinstance(said, str):
            held = ((place, part) for place, part in enumerate(said) if part.kind != "text" or _holds(part.text))
            fields += [("messages", index, "content", place, part.kind) for place, part in held]
        elif said and (at := ("messages", index, "content")) not in told and not said.isspace():
            fields.append(at)
        if message.tool_calls:
            fields += _called(index, message.tool_calls, told)
    return [field for field in fields if field not in told]


def _called(index: int, calls: Iterable[ToolCall], told: Set[Origin | None]) -> Iterator[Origin]:
    for position, call in enumerate(calls):
        at = "messages", index, "tool_calls", position, "function", "name"
        if at not in told and _holds(call.name):
            yield at
        at = "messages", index, "tool_calls", position, "function", "arguments"
        if at not in told and _holds(_held(call.arguments)):
            yield at


def _holds(text: str) -> bool:
    return bool(text) and not text.isspace()


def _held(arguments: str) -> str:
    """Arguments; an empty object holds nothing that a template must write."""
    return "" if len(arguments) < 9 and "".join(arguments.split()) == "{}" else arguments
