"""Patterns: the wire text of a template as it is, with places for data::

    say("<|im_start|>user\\n{content}<|im_end|>\\n")

Words of a pattern are literal: a control token spelled in them is one. What fills a place is data, and never is one. A
pattern is one declaration with two faces: `fill` writes it, `take` reads it back. What is told with them is a *brick*:
a function from a turn to segments.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache

from renderers.errors import TemplateError
from renderers.messages import Message, Turn
from renderers.segments import KIND_OF, Kind, Origin, Segment

JSON = json.JSONDecoder(strict=False)
PLACE = re.compile(r"\{([a-z_]+)\}")
WHITESPACE = re.compile(r"[ \t\n\r]*")
CONTROL = re.compile("[\ud800-\udfff]")
"""What stands for a control token where a completion is read: lone surrogates, which decoded text cannot hold."""
Data = tuple[tuple[str, Origin], ...]
"""What fills a place: texts, and where in the input each came from."""
Tell = Callable[[int, Message], Data]
"""What a message has to fill a place with."""
Brick = Callable[[Turn], Iterator[Segment]]


@cache
def pieces(pattern: str) -> tuple[str, ...]:
    """Words and names of places by turns: words first, words last."""
    return tuple(PLACE.split(pattern))


def given(text: str, *origin: str | int) -> Data:
    """One text and its origin, to fill a place with."""
    return ((text, origin),)


def today(turn: Turn, wanted: str) -> Data:
    """The date, as `strftime` writes it: the flag `today`, never the clock, for rows would change by themselves."""
    day = turn.flags.get("today")
    if day is None:
        raise TemplateError("this template prints the date of the day, and nobody said which: give `today`")
    return given(day.strftime(wanted), "flags", "today")


def content(index: int, message: Message) -> Data:
    """What a message says: one text a part. That of a medium is the template's own words for it (`media.shown`)."""
    said, origin = message.content, ("messages", index, "content")
    if isinstance(said, str):
        return ((said, origin),)
    return tuple((part.text, (*origin, position, part.kind)) for position, part in enumerate(said))


def trimmed(index: int, message: Message) -> Data:
    """What a message says, without the blanks around it."""
    told = list(content(index, message))
    for end, strip in ((0, str.lstrip), (-1, str.rstrip)):
        while told and not strip(told[end][0]):
            del told[end]
        if told:
            told[end] = (strip(told[end][0]), told[end][1])
    return tuple(told)


def trimmed_parts(index: int, message: Message) -> Data:
    """What a message says, without the blanks around each of its parts."""
    return tuple((said.strip(), origin) for said, origin in content(index, message))


def refuse(why: str) -> Brick:
    """A role that a template has no words for where it stands."""

    def brick(turn: Turn) -> Iterator[Segment]:
        raise TemplateError(f"message {turn.index}: {why}")

    return brick


def fill(pattern: str, message: int | None, kind: Kind, words: Kind = Kind.SCAFFOLD, **data: Data) -> Iterator[Segment]:
    """A pattern written out: its words, and data in its places."""
    for position, piece in enumerate(pieces(pattern)):
        if position % 2:
            for text, origin in data[piece]:
                if text:
                    yield Segment(text, kind, message, literal=False, origin=origin)
        elif piece:
            yield Segment(piece, words, message)


def holds_control(read: str) -> bool:
    """Whether a control token stands in what is read."""
    return CONTROL.search(read) is not None


def mark(words: str) -> str:
    """What surely shows that words begin, blanks aside: their control token if they begin with one, else all."""
    core = words.strip()
    return core[:1] if holds_control(core[:1]) else core


def take(
    pattern: str, text: str, at: int = 0, *, value: str = "", then: tuple[str, ...] = ("",), loose: bool = False
) -> tuple[dict[str, str], int] | None:
    """What stands in a pattern's places, and where the pattern ends; None where it does not stand.

    A place ends where the words after it first stand; the one called `value` not before the JSON value in it ends; the
    last one where `then` follows. `loose`: blanks in words may be missing, or be more. Linear: no place is tried twice.
    """
    first, *rest = pieces(pattern)
    at, found = stand(first, text, at, loose=loose), {}
    for number, (place, words) in enumerate(zip(rest[::2], rest[1::2], strict=True), start=1):
        if at < 0:
            return None
        follows = then if 2 * number == len(rest) else ("",)
        starts = (_value_end(text, at), at) if place == value else (at,)  # what is no JSON ends as any text does
        tries = (_ends(words, text, start, follows, loose=loose) for start in starts)
        end, after = next((ends for ends in tries if ends[1] >= 0), (-1, -1))
        found[place], at = text[at:end], after
    return (found, at) if at >= 0 else None


def stand(words: str, text: str, at: int, *, loose: bool = False) -> int:
    """Where words end that stand here; -1 if they do not."""
    if not loose or text.startswith(words, at):
        return at + len(words) if text.startswith(words, at) else -1
    for core in words.split():
        at = blank(text, at)
        if not text.startswith(core, at):
            return -1
        at += len(core)
    trail = words[len(words.rstrip()) :]
    return at + len(trail) * text.startswith(trail, at)


def blank(text: str, at: int) -> int:
    """Where blanks end."""
    found = WHITESPACE.match(text, at)
    return found.end() if found else at


def _ends(words: str, text: str, at: int, then: tuple[str, ...], *, loose: bool) -> tuple[int, int]:
    """Where a place ends, and where the words after it do that are followed as they must be; (-1, -1) if nowhere.

    No words stand where `then` does, or at the end.
    """
    core = words.split(maxsplit=1)[0] if loose and words.strip() else "" if loose else words
    if not core:
        signs = [t.strip() if loose else t for t in then]
        end = min((end for end in (text.find(t, at) for t in signs if t) if end >= 0), default=len(text))
        return end, end
    lead = words[: words.index(core)]
    end = text.find(core, at)
    while end >= 0:
        after = stand(words, text, end, loose=loose)
        if after >= 0 and any(stand(t, text, after, loose=loose) >= 0 for t in then):
            return end - len(lead) * text.endswith(lead, at, end), after
        end = text.find(core, end + 1)
    return -1, -1


def _value_end(text: str, at: int) -> int:
    """Where the JSON value that begins here ends; here, if none does."""
    try:
        return JSON.raw_decode(text, WHITESPACE.match(text, at).end())[1]  # pyright: ignore[reportOptionalMemberAccess]
    except (ValueError, RecursionError):
        return at


def say(pattern: str, kind: Kind | None = None, **data: Data | Tell) -> Brick:
    """A message's `{content}`, or words, or other `data`, told. The kind is the role's unless given."""
    unknown = set(pieces(pattern)[1::2]) - {"content", *data}
    assert not unknown, f"{pattern!r} has places that nothing fills: {unknown}"
    words = Kind.TOOLS if kind is Kind.TOOLS else Kind.SCAFFOLD
    filled: dict[str, Data | Tell] = {"content": content, **data}

    def brick(turn: Turn) -> Iterator[Segment]:
        index = turn.index
        if index is None:
            known = {place: told for place, told in data.items() if not callable(told)}
            return fill(pattern, None, kind or Kind.SCAFFOLD, words, **known)
        told = {place: told(index, turn.message) if callable(told) else told for place, told in filled.items()}
        return fill(pattern, index, kind or KIND_OF[turn.message.role], words, **told)

    return brick


def run(open: str, each: str, close: str, **data: Data | Tell) -> Brick:  # noqa: A002
    """Messages of one role in a row, told as one turn: `open` before the first, `close` after the last."""
    opening, told, closing = say(open), say(each, None, **data), say(close)

    def brick(turn: Turn) -> Iterator[Segment]:
        role = turn.message.role
        if turn.role(-1) != role:
            yield from opening(turn)
        yield from told(turn)
        if turn.role(1) != role:
            yield from closing(turn)

    return brick


def nothing(turn: Turn) -> Iterator[Segment]:
    """A role that a template passes over in silence."""
    return iter(())
