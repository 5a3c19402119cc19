"""Tokens are found in text as if all were tried, the longest first, and runs say whose they are."""

import re

from hypothesis import given
from hypothesis import strategies as st

from renderers.tracing.places import Near
from renderers.tracing.runs import DEEP, Runs, Tokens
from renderers.tracing.strings import cat, placed

TEXT = st.text("ab<|\n", max_size=40)
ADDED = st.dictionaries(st.text("ab<|\n", min_size=1, max_size=6), st.booleans(), max_size=12)


def tried(tokens) -> re.Pattern[str]:
    """Each token in turn."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or r"(?!)")


def spans(pattern: re.Pattern[str], text: str):
    return [found.span() for found in pattern.finditer(text)]


@given(ADDED, TEXT)
def test_tokens_are_found_as_if_each_were_tried(added, text):
    tokens, control = Tokens(added), [token for token, special in added.items() if special]
    assert spans(tokens.any, text) == spans(tried(added), text)
    assert [*tokens.controls(text)] == spans(tried(control), text)
    assert [*tokens.controls(text * 9)] == spans(tried(control), text * 9)


@given(ADDED, TEXT, st.integers(0, 40))
def test_no_token_is_cut(added, text, at):
    tokens = Tokens(added)
    at = min(at, len(text))
    around = tried(added).finditer(text, max(at - tokens.longest, 0), at + tokens.longest)
    assert tokens.whole(text, at) == next((cut.start() for cut in around if cut.start() < at < cut.end()), at)


def test_tokens_that_begin_alike_over_and_over_are_found():
    added = dict.fromkeys([" " * size for size in range(1, 4 * DEEP)], False)
    assert spans(Tokens(added).any, " " * (4 * DEEP)) == [(0, 4 * DEEP - 1), (4 * DEEP - 1, 4 * DEEP)]


def test_runs_are_of_one_place_each():
    said, near = ("messages", 1, "content"), Near(("messages", 1))
    parts = [
        ("s", None),
        ("<", near),
        ("x", said),
        ("y", ("messages", 1, "content")),
        (">", Near(near)),
        ("t", ("tools",)),
    ]
    runs = Runs(cat([placed(text, place) for text, place in parts]))
    assert [*zip(runs.starts, runs.ends, runs.places, runs.owners, strict=True)] == [
        (0, 1, None, None),
        (1, 2, near, 1),
        (2, 4, said, 1),
        (4, 5, near, 1),
        (5, 6, ("tools",), None),
    ]
    assert (runs.first[1], runs.last[1], runs.data[1]) == (1, 3, [2])
    assert (runs.at(3), runs.is_data(3, 5), runs.is_data(1, 2)) == (2, True, False)


def test_a_text_of_nothing_has_no_runs():
    assert Runs(cat([])).ends == []
