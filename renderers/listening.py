"""What an assistant writes, read in the order it writes it: reasoning, content, calls, stop.

The text may still be growing. Each step waits until what it decides can no longer change, so a text that comes in
pieces is read as the whole text is, and at the same cost.
"""

from collections.abc import Generator, Iterator

from renderers.arguments import CallStatus, Schemas
from renderers.calling import Found, Tape, Waiting, calls_in
from renderers.patterns import blank, holds_control, mark, pieces
from renderers.segments import Kind
from renderers.template import Assistant
from renderers.toolcalls import Calls

FAR = 64
"""How many blanks may stand before a thought."""


class Listener:
    """One completion. Control tokens are single characters in all its texts."""

    def __init__(self, own: Assistant, stops: tuple[str, ...], schemas: Schemas):
        self.own, self.stops, self.schemas = own, tuple(filter(None, stops)), schemas
        self.tape, self.after = Tape(), Tape()
        """What stands before the stop, and from there on."""
        self.reasoning: str | None = None
        self.content, self.found = "", list[Found]()
        self.cuts = [(0, Kind.REASONING)]
        """Where each kind of text begins."""
        self.sure = 0
        """Up to where all is known."""
        self.steps = self.read()

    def add(self, text: str, *, last: bool = False) -> None:
        """Read on, with more text; `last`: there will be no more."""
        if self.tape.stopped:
            self.after.add(text)
            return
        longest = max(map(len, self.stops), default=1)
        seen = max(len(self.tape.text) - longest + 1, 0)
        self.tape.add(text)
        found = [(at, stop) for stop in self.stops if (at := self.tape.text.find(stop, seen)) >= 0]
        if found:
            self.after.add(self.tape.cut(min(found)[0]))
        self.tape.ended = last or self.tape.stopped
        self.sure = next(self.steps, len(self.tape.text))
        if not self.tape.ended:
            self.sure = max(min(self.sure, len(self.tape.text) - longest + 1), 0)
        if found:
            at, stop = min(found)
            self.cuts += [(at, Kind.STOP), (at + len(stop), Kind.SCAFFOLD)]

    def heard(self, start: int) -> Iterator[tuple[Kind, str]]:
        """What is known from here on, cut by its kind."""
        whole = len(self.tape.text)
        known = whole + len(self.after.text) if self.tape.stopped else self.sure
        ends = [*(at for at, _ in self.cuts[1:]), known]
        for (at, kind), end in zip(self.cuts, ends, strict=True):
            begin, end = max(at, start), min(end, known)
            if begin < end:
                text = self.tape if end <= whole else self.after
                offset = 0 if end <= whole else whole
                yield kind, text.text[begin - offset : end - offset]

    def read(self) -> Generator[int, None, None]:
        """Every step; what is yielded is up to where all is known."""
        own, tape = self.own, self.tape
        at = yield from self.thought()
        self.cuts.append((at, Kind.ANSWER))
        words = own.before_answer
        answer = (yield from tape.stand(words, at)) if words else -1
        calls = None if answer >= 0 else own.calls
        at = (yield from self.aside(at)) if calls and own.beside else at
        begin = (yield from self.calls_begin(calls, at)) if calls else (yield from tape.end())
        if not calls or begin < 0:
            self.content += self.bare(tape.text[max(at, answer) :])
            return
        end = content_end(calls, tape.text, at, begin)
        self.content += self.bare(tape.text[at:end])
        self.cuts.append((end, Kind.TOOL_CALL))
        yield from self.called(calls, end)

    def aside(self, at: int) -> Waiting:
        """Reads what is said before calls; where it ends, with its words."""
        opening, _, closing = pieces(self.own.beside)
        begin = yield from self.tape.stand(opening, at)
        if begin < 0:
            return at
        end = yield from self.tape.find(mark(closing), begin)
        if end < 0:
            self.content = self.tape.text[begin:]
            return len(self.tape.text)
        self.content, after = yield from self.closed(closing, begin, end)
        return after

    def thought(self) -> Waiting:
        """Reads the reasoning; where it ends, with its words."""
        own, tape = self.own, self.tape
        opening, _, closing = pieces(own.think) if own.think else ("", "", "")
        at = (yield from self.opened(opening)) if opening else 0 if own.think else -1
        if at < 0:
            return max((yield from tape.stand(own.no_think, 0)) if own.no_think else 0, 0)
        sign, draft = mark(closing), mark(calls_open(own.calls)) if own.calls else ""
        draft = draft if holds_control(draft) else ""
        end = yield from tape.find(sign, at, hold=draft)
        if end < 0:  # a call that is begun in an open thought ends it, if the model goes on to its stop
            end = tape.text.find(draft, at) if draft and tape.stopped else -1
            end = end if end >= 0 else len(tape.text)
            self.reasoning = tape.text[at:end]
            return end
        self.reasoning, after = yield from self.closed(closing, at, end)
        return after

    def opened(self, words: str) -> Waiting:
        """Where the words end that a thought opens with; -1 if none does. Blanks around them may be others."""
        tape, core = self.tape, words.strip()
        at = yield from tape.stand(words, 0)
        while at < 0 and not tape.ended and len(tape.text) < FAR and core.startswith(tape.text.lstrip()):
            yield 0
        start = blank(tape.text[:FAR], 0)
        return start + len(core) if at < 0 and tape.text.startswith(core, start) else at

    def closed(self, words: str, at: int, end: int) -> Generator[int, None, tuple[str, int]]:
        """What stands before words whose sign was found, and where they end. Spaced otherwise, blanks are text."""
        tape, sign = self.tape, mark(words)
        before = words[: words.index(sign)]
        rest = words.removeprefix(before)
        after = yield from tape.stand(rest, end)
        if after < 0 and tape.ended and rest.startswith(tape.text[end:]):
            after = len(tape.text)
        if after >= 0 and tape.text.endswith(before, at, end):
            return tape.text[at : end - len(before)], after
        core = yield from tape.stand(rest.strip(), end)
        return tape.text[at:end], core if core >= 0 else end + len(sign)

    def calls_begin(self, calls: Calls, at: int) -> Waiting:
        """Where the first call does, or the section of calls; -1 if there is none."""
        for words in calls.alone:
            if (yield from self.tape.stand(words, at)) >= 0:
                return at
        if calls.alone or not calls_open(calls):
            return (yield from self.tape.end())
        return (yield from self.tape.find(mark(calls_open(calls)), at, behind=len(calls.after_content + calls.open)))

    def called(self, calls: Calls, at: int) -> Generator[int, None, None]:
        """Reads the calls. What looks like one, where an answer may as well begin, must be one."""
        doubtful, known = bool(calls.alone) and not self.own.before_answer, at
        for found in calls_in(calls, self.tape, at, self.schemas):
            if isinstance(found, int):
                yield known if doubtful or calls.behind else found
                continue
            known = found.end
            if found.status is None or (doubtful and not found.call and found.status is not CallStatus.UNCLOSED):
                self.content += self.tape.text[found.begin : found.end]
                self.cuts += [(found.begin, Kind.ANSWER), (found.end, Kind.TOOL_CALL)]
            else:
                self.found.append(found)

    def bare(self, said: str) -> str:
        """Content without the words before it."""
        said = said.removeprefix(self.own.before_content)
        return said.removeprefix(self.own.after_think) if self.reasoning else said


def calls_open(calls: Calls) -> str:
    """The words that surely show where calls begin."""
    return calls.open if calls.open.strip() else calls.call.lead


def content_end(calls: Calls, text: str, at: int, begin: int) -> int:
    """Where content ends before calls: without the words of the template between them."""
    opening = mark(calls.open)
    for words in (calls.open.partition(opening)[0] if opening else calls.open, calls.after_content):
        begin -= len(words) * text.endswith(words, at, begin)
    return begin
