"""A completion read back, with the patterns that write it.

What the model wrote as a control token is one character here that no text can hold, so data that only spells one is not taken
for it. Nothing is stripped, arguments stay verbatim; a completion that was cut off is read as far as it goes.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from renderers.messages import Message, Request, ToolCall, Turn
from renderers.patterns import pieces, take
from renderers.template import Assistant, Template
from renderers.tokenizer import Tokenizer

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
    disguise = _Disguise(tokenizer, template.assistant)
    own = template.assistant.worded(disguise.hide)
    prompted = template.prompt(Turn(request)).removeprefix(template.assistant.open)
    written = disguise.hide(completion) if isinstance(completion, str) else disguise.read(completion)
    said, stop, _ = (disguise.hide(prompted) + written).partition(own.stop)
    reasoning, said = _reasoning(own.think, said)
    content, calls, broken = own.calls.read(said, disguise.mark(own.calls.call.lead)) if own.calls else (said, [], [])
    show = disguise.show
    message = Message(
        "assistant",
        show(content),
        reasoning if reasoning is None else show(reasoning),
        tuple(ToolCall(show(call.name), show(call.arguments)) for call in calls),
    )
    return Parsed(message, bool(stop), tuple(map(show, broken)))


def _reasoning(think: str, said: str) -> tuple[str | None, str]:
    """Reasoning, and what follows it. It may be cut off, or spaced otherwise than the template spaces it."""
    if found := take(think, said) if think else None:
        return found[0]["reasoning"], said[found[1] :]
    opening, *_, closing = pieces(think)
    if not opening.strip() or not said.startswith(opening.strip()):
        return None, said
    reasoning, _, rest = said.removeprefix(opening).removeprefix(opening.strip()).partition(closing.strip())
    return reasoning, rest


class _Disguise:
    """The control tokens of an assistant's words, each as one character that decoded text cannot hold."""

    def __init__(self, tokenizer: Tokenizer, assistant: Assistant):
        words: list[str] = []
        assistant.worded(lambda pattern: words.append(pattern) or pattern)
        controls = sorted((c for c in tokenizer.control if any(c in word for word in words)), key=len, reverse=True)
        self.tokenizer = tokenizer
        self.hidden = {control: chr(SURROGATE + number) for number, control in enumerate(controls)}
        self.shown = {hidden: control for control, hidden in self.hidden.items()}
        self.ids = {tokenizer.control[control]: hidden for control, hidden in self.hidden.items()}
        self.spelled = re.compile("|".join(map(re.escape, controls)) or "(?!)")

    def hide(self, text: str) -> str:
        return self.spelled.sub(lambda found: self.hidden[found[0]], text)

    def show(self, text: str) -> str:
        return "".join(self.shown.get(char, char) for char in text)

    def read(self, ids: Iterable[int]) -> str:
        runs = groupby(map(int, ids), lambda token: self.ids.get(token))
        return "".join(
            self.tokenizer.decode(run) if hidden is None else hidden * len(list(run)) for hidden, run in runs
        )

    def mark(self, lead: str) -> str:
        """What surely begins a call: its control token where it has one, else all of its first words."""
        return lead[0] if lead[:1] in self.shown else lead
