"""Patterns: the wire text of a template as it is, with places for data::

    say("<|im_start|>user\\n{content}<|im_end|>\\n")

Words of a pattern are literal: a control token spelled in them is one. What fills a place is data, and never is one. A
pattern is one declaration with two faces: `fill` writes it, `take` reads it back. What is told with them is a *brick*:
a function from a turn to segments.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import chain

import msgspec

from renderers.errors import TemplateError
from renderers.messages import Message, Turn
from renderers.segments import KIND_OF, Kind, Origin, Phrase, Said, Shape, Told, literally, phrase, together

JSON = json.JSONDecoder(strict=False)
PACK = msgspec.msgpack.Encoder().encode
PLACE = re.compile(r"\{([a-z_]+)\}")
MANY = 1 << 10
"""Lists of tools after which all are forgotten."""
WHITESPACE = re.compile(r"[ \t\n\r]*")
CONTROL = re.compile("[\ud800-\udfff]")
"""What stands for a control token where a completion is read: lone surrogates, which decoded text cannot hold."""
Data = tuple[tuple[str, Origin], ...]
"""What fills a place: texts, and where in the input each came from."""
Tell = Callable[[int, Message], Data]
"""What a message has to fill a place with."""
Brick = Callable[[Turn], Iterable[Said]]
STEADY = "steady"
"""An attribute of bricks that tell a message the same at the end as they do before a message of another role."""


FLAGGED = "flagged"
"""An attribute of words that hang on nothing but flags."""


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
    said = message.content
    if isinstance(said, str):
        return ((said, ("messages", index, "content")),)
    return tuple([(part.text, ("messages", index, "content", at, part.kind)) for at, part in enumerate(said)])


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

    def brick(turn: Turn) -> Told:
        raise TemplateError(f"message {turn.index}: {why}")

    return brick


def fill(pattern: str, message: int | None, kind: Kind, words: Kind = Kind.SCAFFOLD, **data: Data) -> Told:
    """A pattern written out: its words, and data in its places."""
    filled = filling(pattern, kind, words)
    return filled(message, *(data[place] for place in pieces(pattern)[1::2]))


@cache
def filling(pattern: str, kind: Kind, words: Kind = Kind.SCAFFOLD) -> Callable[..., Told]:
    """What writes a pattern out: takes a message, and data for each of its places in order."""
    if not pieces(pattern)[1:]:
        return lambda message, *_: (phrase(pattern, words, message),) if pattern else ()
    single, seamed = single_of(pattern, kind, words), _seamed(pattern, kind, words)

    def filled(message: int | None, *data: Data) -> Told:
        if single and len(data[0]) == 1:
            ((text, origin),) = data[0]
            return (Phrase(single, message, (text,), (origin,)),)
        shape, pairs = _shape(pattern, kind, words, tuple(map(len, data))), list(chain.from_iterable(data))
        told = Phrase(shape, message, tuple([text for text, _ in pairs]), tuple([origin for _, origin in pairs]))
        return tuple(told.segments) if seamed else (told,)

    return filled


def single_of(pattern: str, kind: Kind, words: Kind = Kind.SCAFFOLD) -> Shape | None:
    """The shape of a pattern with one text in its one place, where that is one phrase."""
    single = len(pieces(pattern)) == 3 and not _seamed(pattern, kind, words)
    return _shape(pattern, kind, words, (1,)) if single else None


def _seamed(pattern: str, kind: Kind, words: Kind) -> bool:
    """Whether it is told in part and sampled in part: a phrase is either."""
    return any(pieces(pattern)[::2]) and kind.sampled != words.sampled


@cache
def _shape(pattern: str, kind: Kind, words: Kind, counts: tuple[int, ...]) -> Shape:
    """With so many texts in each place."""
    first, *others = pieces(pattern)[::2]
    told = [first]
    for count, word in zip(counts, others, strict=True):
        told += [""] * count
        told[-1] += word
    places = chain.from_iterable(((kind, None), (words, word)) for word in told[1:])
    return Shape(tuple(part for part in ((words, told[0]), *places) if part[1] != ""))


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
    return _say(pattern, kind, data) if data else _bare(pattern, kind)


@cache
def _bare(pattern: str, kind: Kind | None) -> Brick:
    return _say(pattern, kind, {})


def _say(pattern: str, kind: Kind | None, data: Mapping[str, Data | Tell]) -> Brick:
    places = pieces(pattern)[1::2]
    unknown = {*places} - {"content", *data}
    assert not unknown, f"{pattern!r} has places that nothing fills: {unknown}"
    words = Kind.TOOLS if kind is Kind.TOOLS else Kind.SCAFFOLD
    told = [data.get(place, content) for place in places]
    owned = words is not Kind.TOOLS  # tools are nobody's, whoever's turn they are told in
    fills: dict[str, tuple[Shape | None, Callable[..., Told]]] = {}

    def fill_for(role: str) -> tuple[Shape | None, Callable[..., Told]]:
        own = kind or KIND_OF[role]
        single = single_of(pattern, own, words) if told == [content] else None
        return fills.setdefault(role, (single, filling(pattern, own, words)))

    def brick(turn: Turn) -> Told:
        index = turn.index
        if index is None:
            return filling(pattern, kind or Kind.SCAFFOLD, words)(None, *[data[place] for place in places])
        message, owner = turn.request.messages[index], index if owned else None
        role, said = message.role, message.content
        single, filled = fills.get(role) or fill_for(role)
        if single and type(said) is str:
            return (Phrase(single, owner, (said,), (("messages", index, "content"),)),)
        return filled(owner, *[find(index, message) if callable(find) else find for find in told])

    vars(brick)[STEADY] = True
    return brick


def once(brick: Brick) -> Brick:
    """A brick that sees nothing but the tools: told once for all conversations that offer the same."""
    known: dict[bytes, Told] = {}

    def told(turn: Turn) -> Told:
        try:
            key = PACK(turn.tools)
        except (TypeError, ValueError, OverflowError):
            return tuple(brick(turn))
        if key not in known:
            if len(known) >= MANY:
                known.clear()
            known[key] = tuple(brick(turn))
        return known[key]

    return told


def run(open: str, each: str, close: str, **data: Data | Tell) -> Brick:  # noqa: A002
    """Messages of one role in a row, told as one turn: the words `open` before the first, `close` after the last."""
    opening, closing = [(literally(words, Kind.SCAFFOLD),) if words else () for words in (open, close)]
    told = say(each, None, **data)

    def brick(turn: Turn) -> Told:
        messages, index, said = turn.request.messages, turn.index or 0, tuple(told(turn))
        role = messages[index].role
        before = opening if not index or messages[index - 1].role != role else ()
        after = closing if index + 1 == len(messages) or messages[index + 1].role != role else ()
        if len(said) == 1:
            (one,) = said
            return together((*before, one.shape, *after), index, one.texts, one.origins) if before or after else said
        shapes = (*before, *[one.shape for one in said], *after)
        texts = tuple([text for one in said for text in one.texts])
        return together(shapes, index, texts, tuple([origin for one in said for origin in one.origins]))

    vars(brick)[STEADY] = True
    return brick


def flagged(words: Callable[[Turn], str]) -> Callable[[Turn], str]:
    """Words that hang on nothing but flags: asked for once a conversation."""
    vars(words)[FLAGGED] = True
    return words


def nothing(turn: Turn) -> Told:
    """A role that a template passes over in silence."""
    return ()
