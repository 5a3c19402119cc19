"""A row cut for reading: messages, stretches of one kind and one fate, tokens with the text that they stand for."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np

from pipeline.auditing.case import KINDS, Case
from renderers.segments import Kind
from renderers.tokenizer import Tokenizer

KEEP = {False: (160, 80), True: (1600, 400)}
"""Told or trained: tokens kept at the start and at the end of a stretch that is longer than both."""
CHARACTER = 4
"""A character is at most so many tokens (bytes) long."""


class Token(NamedTuple):
    """What is shown as one: a token, or the tokens that make one character together."""

    ids: tuple[int, ...]
    text: str


class Gap(NamedTuple):
    """Tokens that are left out."""

    tokens: int


class Stretch(NamedTuple):
    """Neighbouring tokens of one kind, message and fate."""

    start: int
    end: int
    kind: Kind
    message: int
    trained: bool

    @property
    def shown(self) -> int:
        """Tokens that are shown of it."""
        return min(self.end - self.start, sum(KEEP[self.trained]))


def blocks(case: Case) -> list[tuple[int, list[Stretch]]]:
    """The stretches, message by message, in the order of the row."""
    return [(message, list(group)) for message, group in groupby(_stretches(case), lambda stretch: stretch.message)]


def _stretches(case: Case) -> Iterator[Stretch]:
    columns = np.stack([case.kinds, case.messages, case.trained])
    if not columns.shape[1]:
        return
    starts = np.flatnonzero(np.append(True, (columns[:, 1:] != columns[:, :-1]).any(axis=0))).tolist()
    for start, end in zip(starts, [*starts[1:], columns.shape[1]], strict=True):
        kind, message, trained = columns[:, start].tolist()
        yield Stretch(start, end, KINDS[kind], message, bool(trained))


def tokens(case: Case, stretch: Stretch) -> Iterator[Token | Gap]:
    """What is shown of a stretch."""
    first, last = KEEP[stretch.trained]
    hidden = stretch.end - stretch.start - stretch.shown
    if not hidden:
        yield from _texts(case.ids[stretch.start : stretch.end].tolist(), case.tokenizer)
        return
    yield from _texts(case.ids[stretch.start : stretch.start + first].tolist(), case.tokenizer)
    yield Gap(hidden)
    yield from _texts(case.ids[stretch.end - last : stretch.end].tolist(), case.tokenizer)


def _texts(ids: list[int], tokenizer: Tokenizer) -> Iterator[Token]:
    """Each token's text: after the token before where that matters, for alone it may lose its space."""
    before: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    for token in ids:
        held = (*held, token)
        text = _spelled(tokenizer, before + held)[len(_spelled(tokenizer, before)) :]
        if "\ufffd" in text and len(held) < CHARACTER:
            continue
        yield Token(held, text)
        before, held = () if tokenizer.nbytes is not None else held, ()
    if held:
        yield Token(held, _spelled(tokenizer, held))


@lru_cache(maxsize=1 << 16)
def _spelled(tokenizer: Tokenizer, ids: tuple[int, ...]) -> str:
    return tokenizer.decode(ids) if ids else ""
