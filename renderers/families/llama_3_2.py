"""Llama 3.2: Llama 3.1, with the date of the day where `date_string` is not given.

The day is the flag `today`, and the family refuses without it: upstream asks the clock, and rows would change by
themselves. It differs from the official template as Llama 3.1 does.
"""

from collections.abc import Iterable
from dataclasses import replace

from renderers.families import llama_3_1
from renderers.messages import Turn
from renderers.patterns import say, today
from renderers.segments import Said


def date(turn: Turn) -> Iterable[Said]:
    if "date_string" in turn.flags:
        return llama_3_1.date(turn)
    return say("{date}", date=today(turn, "%d %b %Y"))(turn)


TEMPLATE = replace(llama_3_1.TEMPLATE, start=(llama_3_1.head(date),))
