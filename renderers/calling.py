"""Tool calls found in a completion that may still be written: each as soon as what it is can no longer change."""

from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

from renderers.arguments import CallStatus, Schemas
from renderers.messages import ToolCall
from renderers.patterns import blank, holds_control, mark
from renderers.toolcalls import Calls, Read

Waiting = Generator[int, None, int]
"""Asks for more text, telling each time up to where all is known; then says where something is (-1: nowhere)."""


class Tape:
    """Text that is still being written; control tokens are single characters in it (`patterns.CONTROL`)."""

    def __init__(self) -> None:
        self.text, self.ended, self.stopped = "", False, False

    def add(self, text: str) -> None:
        whole, self.text = self.text, ""  # the only reference to it: so CPython appends in place
        whole += text
        self.text = whole

    def cut(self, at: int) -> str:
        """End here: what stood behind it."""
        rest, self.text, self.stopped = self.text[at:], self.text[:at], True
        return rest

    def find(self, words: str, at: int, *, behind: int = 0, hold: str = "") -> Waiting:
        """Where words first stand. So many characters before them are not known yet, nor what follows `hold`."""
        start, held = at, -1
        while (found := self.text.find(words, at)) < 0 and not self.ended:
            held = self.text.find(hold, at) if hold and held < 0 else held
            at = max(at, len(self.text) - len(words) + 1)
            yield held if held >= 0 else max(start, at - behind)
        return found

    def end(self) -> Waiting:
        """Nowhere: all the rest is known."""
        while not self.ended:
            yield len(self.text)
        return -1

    def stand(self, words: str, at: int) -> Waiting:
        """Where words end that stand here, be it that they are cut off."""
        while not self.ended and len(self.text) < at + len(words) and words.startswith(self.text[at:]):
            yield at
        if self.text.startswith(words, at):
            return at + len(words)
        begun = at < len(self.text) and words.startswith(self.text[at:])
        return len(self.text) if begun and not self.stopped else -1


class Found(NamedTuple):
    """A stretch of text among calls."""

    begin: int
    end: int
    call: ToolCall | None
    """What it tells a tool; None where nothing can be called."""
    status: CallStatus | None
    """None where it is no call, but content behind them."""


def calls_in(calls: Calls, tape: Tape, at: int, schemas: Schemas) -> Generator[int | Found, None, None]:
    """All that stands from here on, where a call may begin. Numbers ask for more text, as in `Waiting`."""
    lead = mark(calls.call.lead)
    begin = at if calls.alone else (yield from tape.find(lead, at))
    while begin >= 0:
        yield from _between(calls, tape, at, begin)
        found = yield from _next(calls, tape, begin, schemas)
        yield found
        at = found.end
        begin = yield from tape.find(lead, at)
    yield from _between(calls, tape, at, len(tape.text))


def _between(calls: Calls, tape: Tape, at: int, end: int) -> Iterator[Found]:
    """What stands before a call or behind the last one, and is neither words of the template nor blank."""
    rest = tape.text[at:end]
    for words in (calls.open, mark(calls.open), mark(calls.close)):
        rest = rest.replace(words, "") if words else rest
    said = rest.strip()
    if any(words.strip().startswith(said) for words in (calls.between, calls.close)):
        return
    cut_off = end == len(tape.text) and calls.call.lead.startswith(said)
    broken = CallStatus.UNCLOSED if cut_off else CallStatus.MALFORMED
    yield Found(at, end, None, None if calls.behind else broken)


def _next(calls: Calls, tape: Tape, begin: int, schemas: Schemas) -> Generator[int, None, Found]:
    """The call that begins here: once it is read whole, or something else begins, or the text ends."""
    lead = mark(calls.call.lead)
    signs = [sign for sign in (lead, mark(calls.close)) if holds_control(sign)]
    tail, tried, at = end_mark(calls.call.tail), 0, begin + 1
    longest = max(map(len, (lead, tail, *signs)))
    while (end := _first(signs, tape.text, at)) < 0 and not tape.ended:
        grown = len(tape.text) - begin
        if tail and tape.text.find(tail, at) >= 0 and grown >= 2 * tried:  # doubled: so all tries are linear together
            tried, read = grown, calls.call.read(tape.text[begin:], schemas)
            if read and read.call and read.status is not CallStatus.INVALID_JSON:
                return Found(begin, begin + read.end, read.call, _status(read, schemas))
        at = max(at, len(tape.text) - longest + 1)
        yield len(tape.text)
    cut_off = end < 0 and not tape.stopped
    return _settled(calls, begin, tape.text[begin : end if end >= 0 else len(tape.text)], schemas, cut_off=cut_off)


def _settled(calls: Calls, begin: int, chunk: str, schemas: Schemas, *, cut_off: bool) -> Found:
    """The call at the start of a text that goes on no more."""
    tail = end_mark(calls.call.tail)
    closed = chunk.find(tail) if tail else len(chunk)
    read = calls.call.read(chunk, schemas) or calls.call.read(chunk, schemas, loose=True)
    if read and cut_off and not holds_control(tail) and read.status is CallStatus.INVALID_JSON:
        read, closed = None, -1  # its end is a guess
    if read:
        return Found(begin, begin + read.end, read.call, _status(read, schemas))
    if closed < 0 or (cut_off and not tail):
        return Found(begin, begin + len(chunk), None, CallStatus.UNCLOSED)
    is_json = chunk.startswith("{", blank(chunk, len(mark(calls.call.lead).partition("{")[0])))
    broken = CallStatus.INVALID_JSON if is_json else CallStatus.MALFORMED
    return Found(begin, begin + closed + len(tail), None, broken)


def _status(read: Read, schemas: Schemas) -> CallStatus:
    """What is wrong with a call."""
    if not read.call or read.status is not CallStatus.OK:
        return read.status
    if not read.call.name.strip():
        return CallStatus.MISSING_NAME
    if holds_control(read.call.name):
        return CallStatus.AMBIGUOUS
    return CallStatus.UNKNOWN_TOOL if schemas and read.call.name not in schemas else CallStatus.OK


def end_mark(words: str) -> str:
    """What surely shows that words end, blanks aside: their control token if they end with one, else all of them."""
    core = words.strip()
    return core[-1:] if holds_control(core[-1:]) else core


def _first(signs: Iterable[str], text: str, at: int) -> int:
    """Where the first of these stands; -1 if none does."""
    end = -1
    for sign in signs:
        found = text.find(sign, at) if end < 0 else text.find(sign, at, end)
        end = found if found >= 0 else end
    return end
