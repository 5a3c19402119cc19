"""A completion read back, with the patterns that write it.

What the model wrote as a control token is one character here that no text can hold, so data that only spells one is not
taken for it. Nothing is stripped, arguments stay verbatim; a completion that was cut off is read as far as it goes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from renderers.messages import Message, Request, ToolCall, Turn
from renderers.patterns import pieces, take
from renderers.template import Template, worded
from renderers.tokenizer import Tokenizer
from renderers.toolcalls import schemas_of

SURROGATE = 0xD800
"""Where characters begin that decoded text cannot hold."""


@dataclass(frozen=True)
class Parsed:
    """What the model said."""

    message: Message
    ended: bool
    """Whether it stopped by itself."""
    broken: tuple[str, ...] = ()
    """What stands where calls do, and cannot be read as one."""


def parse(template: Template, tokenizer: Tokenizer, completion: Sequence[int] | str, request: Request) -> Parsed:
    """The message that a completion tells after this conversation. Never raises for what a model may have written.

    Ids are exact. In text, whatever spells a control token is taken for it.
    """
    disguise = _Disguise(tokenizer)
    own, show = template.assistant.worded(disguise.hide), disguise.show
    end = Turn(request)
    prompted = template.prompt(end).removeprefix(worded(template.assistant.open, end))
    written = disguise.hide(completion) if isinstance(completion, str) else disguise.read(completion)
    said, stopped = _until(disguise.hide(prompted) + written, (worded(own.stop, end), *own.stops, *own.lent))
    reasoning, said = _reasoning(own.think, said)
    said = said.removeprefix(own.no_think) if reasoning is None else said
    content, calls, broken = said, [], []
    if own.before_answer and said.startswith(own.before_answer):
        content = said.removeprefix(own.before_answer)
    elif own.calls:
        content, calls, broken = own.calls.read(said, disguise.mark, schemas_of(request.tools))
    content = content.removeprefix(own.before_content).removeprefix(own.after_think if reasoning else "")
    told = tuple(ToolCall(show(call.name), show(call.arguments), call.id and show(call.id)) for call in calls)
    message = Message("assistant", show(content), None if reasoning is None else show(reasoning), told)
    return Parsed(message, stopped, tuple(map(show, broken)))


def _until(said: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """What stands before the first stop, and whether there is one."""
    end = min((at for at in map(said.find, filter(None, stops)) if at >= 0), default=-1)
    return (said, False) if end < 0 else (said[:end], True)


def _reasoning(think: str, said: str) -> tuple[str | None, str]:
    """Reasoning, and what follows it. It may be cut off, or spaced otherwise than the template spaces it."""
    if not think:
        return None, said
    if found := take(think, said):
        return found[0]["reasoning"], said[found[1] :]
    opening, *_, closing = pieces(think)
    if not said.lstrip().startswith(opening.strip()):
        return None, said
    rest = said.removeprefix(opening) if said.startswith(opening) else said.lstrip().removeprefix(opening.strip())
    closing = closing.strip()
    reasoning, closed, after = rest.partition(closing)
    if not closed and _is_control(closing[:1]):
        reasoning, mark, after = rest.partition(closing[0])
        after = "" if closing.startswith(mark + after) else after
    return reasoning, after


def _is_control(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


class _Disguise:
    """Control tokens as single characters that decoded text cannot hold: lone surrogates."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.hidden = tokenizer, dict[str, str]()
        longest_first = sorted(tokenizer.control, key=len, reverse=True)
        self.spelled = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def hide(self, text: str) -> str:
        """Text with every control token that it spells as its character."""
        return self.spelled.sub(lambda found: self.character(found[0]), text)

    def character(self, control: str) -> str:
        return self.hidden.setdefault(control, chr(SURROGATE + len(self.hidden)))

    def show(self, text: str) -> str:
        """Text with every control token spelled again."""
        shown = {ord(character): control for control, character in self.hidden.items()}
        return text.translate(shown)

    def read(self, ids: Sequence[int]) -> str:
        """The text of ids, in which only those of control tokens that were hidden before are characters."""
        characters = {self.tokenizer.control[control]: character for control, character in self.hidden.items()}
        runs = groupby(map(int, ids), characters.get)
        return "".join(own * len(list(run)) if own else self.tokenizer.decode(run) for own, run in runs)

    def mark(self, words: str) -> str:
        """What surely shows that these words begin: their control token where they begin with one, else all."""
        return words[0] if words[:1] in self.hidden.values() else words
