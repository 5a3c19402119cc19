"""A card of what a chat template does with conversations, each answer with the smallest conversation that shows it.

The template is asked, and seldom read: an answer is what was seen in conversations that it told. They come from
hypothesis, which makes each as small as it can be; they are always the same ones.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from datetime import date
from functools import cache

import msgspec
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import NoSuchExample

from renderers.certifying.conversations import CONVERSATIONS, oddities
from renderers.certifying.questions import QUESTIONS, Question, Seen
from renderers.errors import TemplateError
from renderers.messages import Message, Request
from renderers.tracing.witness import TracedTemplate

Teller = Callable[[Request], Seen | TemplateError]
"""A conversation as it is told, or why it is refused."""
DAYS = date(2025, 7, 1), date(2024, 2, 29)
SETTINGS = settings(
    max_examples=3000,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=(HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large),
)
DRAWING = settings(SETTINGS, max_examples=800)


@dataclass(frozen=True)
class Finding:
    """One answer of a card."""

    question: str
    answer: str
    shown: Request
    """The smallest conversation that shows it."""
    text: str
    """How it is told; empty where it is refused."""


def certify(template: TracedTemplate) -> Iterator[Finding]:
    """A finding for each of `QUESTIONS`, as they are answered. The day that the template is told does not matter."""
    tell, known = _teller(template), drawn()
    for question in QUESTIONS:
        yield _answer(question, tell, [asked for asked in known if _about(question, asked)])


def _teller(template: TracedTemplate) -> Teller:
    """Tells a conversation, once."""
    one, other = copy(template), copy(template)
    one.today, other.today = DAYS
    known: dict[tuple[tuple[Message, ...], bool], Seen | TemplateError] = {}

    def tell(request: Request) -> Seen | TemplateError:
        key = _key(request)
        if key not in known:
            try:
                known[key] = Seen(one, request, one.tell(request), other)
            except TemplateError as error:
                known[key] = error
        return known[key]

    return tell


@cache
def drawn() -> tuple[Request, ...]:
    """Conversations of all sorts, each once."""
    known: dict[tuple[tuple[Message, ...], bool], Request] = {}
    with suppress(NoSuchExample):
        find(
            CONVERSATIONS,
            lambda asked: known.setdefault(_key(asked), asked) is None,
            settings=settings(SETTINGS, max_examples=800),
        )
    return tuple(sorted(known.values(), key=_size))


def _key(asked: Request) -> tuple[tuple[Message, ...], bool]:
    return asked.messages, bool(asked.tools)


def _size(asked: Request) -> tuple[int, int, int]:
    return len(asked.messages), len(asked.tools), len(msgspec.json.encode(asked.messages))


def _about(question: Question, asked: Request) -> bool:
    return set(oddities(asked)) <= {question.odd} and question.about(asked)


def _answer(question: Question, tell: Teller, known: Sequence[Request]) -> Finding:
    """What a conversation shows; else what is so where none shows it; else why none is told."""
    assert known, f"no conversation is about {question.name!r}"

    def shows(asked: Request) -> bool:
        seen = tell(asked)
        return isinstance(seen, Seen) and bool(question.shows(seen))

    ways = shows, lambda asked: isinstance(tell(asked), Seen), lambda asked: True
    shown = next(filter(None, (_smallest(question, wanted, known) for wanted in ways)))
    seen = tell(shown)
    if isinstance(seen, TemplateError):
        return Finding(question.name, f"refused: {seen}", shown, "")
    otherwise = question.otherwise if isinstance(question.otherwise, str) else question.otherwise(seen)
    return Finding(question.name, question.shows(seen) or otherwise, seen.request, seen.stream.text)


def _smallest(question: Question, wanted: Callable[[Request], bool], known: Sequence[Request]) -> Request | None:
    """The first that is known, shrunk: what is in its messages, then how many they are."""

    def shows(asked: Request) -> bool:
        return bool(asked.messages) and _about(question, asked) and wanted(asked)

    found = next(filter(shows, known), None)
    if found is None:
        return None
    with suppress(NoSuchExample):
        found = min(found, find(CONVERSATIONS, shows, settings=SETTINGS), key=_size)
    while less := next(filter(shows, _less(found)), None):
        found = less
    return found


def _less(asked: Request) -> Iterator[Request]:
    """Without its tools; without one of its messages."""
    if asked.tools:
        yield asked.but(tools=())
    for index in range(len(asked.messages)):
        yield asked.but(messages=asked.messages[:index] + asked.messages[index + 1 :])
