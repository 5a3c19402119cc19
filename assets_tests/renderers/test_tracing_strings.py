"""Text is a str in all it does, and knows of every character where it came from."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.tracing.places import Near
from renderers.tracing.strings import Text, cat, join, of_runs, own, placed, whole

LETTERS = st.text(alphabet="aB ß\tΣ\r\n,%{}x'<|>", max_size=14)
SHORT = st.text(alphabet="aB ß\n,x", max_size=2)
FILLED = st.text(alphabet="aB ß\n,x", min_size=1, max_size=2)
SIZES = st.integers(-3, 18)
CALLS = st.one_of(
    st.tuples(st.sampled_from(["strip", "lstrip", "rstrip"]), st.tuples(SHORT | st.none())),
    st.tuples(st.sampled_from(["split", "rsplit"]), st.tuples(FILLED | st.none(), st.integers(-1, 3))),
    st.tuples(st.sampled_from(["partition", "rpartition"]), st.tuples(FILLED)),
    st.tuples(
        st.sampled_from(["removeprefix", "removesuffix", "__add__", "__contains__", "count", "find"]), st.tuples(SHORT)
    ),
    st.tuples(st.just("splitlines"), st.tuples(st.booleans())),
    st.tuples(st.just("replace"), st.tuples(SHORT, SHORT, st.integers(-1, 3))),
    st.tuples(st.just("join"), st.tuples(st.lists(SHORT, max_size=3))),
    st.tuples(st.just("__mul__"), st.tuples(st.integers(-1, 3))),
    st.tuples(st.sampled_from(["center", "ljust", "rjust"]), st.tuples(SIZES, st.just("*"))),
    st.tuples(st.sampled_from(["zfill", "expandtabs"]), st.tuples(SIZES)),
    st.tuples(st.just("__getitem__"), st.tuples(st.slices(14) | st.integers(-14, 13))),
    st.tuples(st.just("translate"), st.tuples(st.just({ord("a"): "bc", ord(" "): None}))),
    st.tuples(st.sampled_from(["format", "__mod__"]), st.tuples(SHORT)),
    st.tuples(
        st.sampled_from(
            ["upper", "lower", "title", "capitalize", "swapcase", "casefold", "isupper", "__len__", "__repr__"]
        ),
        st.just(()),
    ),
)
"""A method of str and its arguments."""


def remembering(text: str) -> Text:
    """Text whose k-th character comes from ("c", k)."""
    return of_runs(text, [(at + 1, ("c", at)) for at in range(len(text))])


def places(text: str) -> list:
    """The place of each character."""
    assert isinstance(text, Text)
    starts = [0, *(end for end, _ in text._runs)]
    return [place for start, (end, place) in zip(starts, text._runs, strict=False) for _ in range(start, end)]


def covers(text: str) -> bool:
    """Whether the runs lie side by side from the first character to the last."""
    ends = [0, *(end for end, _ in text._runs)] if isinstance(text, Text) else [len(text)]
    return ends == sorted(set(ends)) and ends[-1] == len(text)


def texts(value):
    return value if isinstance(value, (list, tuple)) else [value] if isinstance(value, str) else []


@given(LETTERS, CALLS)
def test_every_method_does_what_that_of_str_does(text, call):
    name, arguments = call
    plain = traced = error = None
    try:
        plain = getattr(text, name)(*arguments)
    except Exception as raised:
        error = raised
    if error is not None:
        with pytest.raises(type(error)) as refused:
            getattr(remembering(text), name)(*arguments)
        assert str(refused.value) == str(error)
        return
    traced = getattr(remembering(text), name)(*arguments)
    assert traced == plain
    for part in texts(traced):
        assert covers(part)


@given(LETTERS, CALLS)
def test_what_is_cut_keeps_the_place_of_each_character(text, call):
    name, arguments = call
    if name not in {
        "strip",
        "lstrip",
        "rstrip",
        "split",
        "rsplit",
        "partition",
        "rpartition",
        "splitlines",
        "__getitem__",
    }:
        return
    with suppress(IndexError, ValueError):
        for part in texts(getattr(remembering(text), name)(*arguments)):
            assert [text[place[1]] for place in places(part)] == list(part)


@given(st.lists(LETTERS, max_size=4), SHORT)
def test_what_is_put_together_keeps_the_places_of_its_parts(parts, separator):
    told = [placed(part, ("p", at)) for at, part in enumerate(parts)]
    made = join(separator, told)
    assert made == separator.join(parts)
    wanted = []
    for at, part in enumerate(parts):
        wanted += [None] * (len(separator) if at else 0) + [("p", at)] * len(part)
    assert places(made) == wanted


@given(LETTERS, SHORT, st.integers(-1, 3))
def test_replaced_text_is_of_the_replacement_and_the_rest_stays(text, new, count):
    made = remembering(text).replace("a", placed(new, ("new",)), count)
    assert made == text.replace("a", new, count)
    for place, character in zip(places(made), made, strict=True):
        assert place == ("new",) if place[0] == "new" else text[place[1]] == character


@pytest.mark.parametrize("other", [1, None, ["x"], 1.5, b"x"])
def test_what_cannot_be_added_says_what_str_says(other):
    for left, right in (("a", other), (other, "a")):
        with pytest.raises(TypeError) as plain:
            left + right
        with pytest.raises(TypeError) as traced:
            (own(left) if left == "a" else left) + (own(right) if right == "a" else right)
        assert str(traced.value) == str(plain.value)


def test_a_plain_text_on_the_left_takes_the_places_of_the_right():
    data = placed("x", ("d",))
    assert places("<" + data) == [None, ("d",)]
    assert places("<%s>" % data) == [("d",)] * 3  # noqa: UP031 (it is what is tested)


def test_text_built_anew_is_data_when_any_of_it_is():
    data = placed("x", ("messages", 0, "content"))
    words = placed("y", Near(("messages", 1)))
    assert places(whole("new", words, data)) == [("messages", 0, "content")] * 3
    assert places(whole("new", words)) == [Near(("messages", 1))] * 3
    assert places(whole("new", {"a": 1})) == [()] * 3


def test_places_of_words_and_of_data_never_compare_equal():
    assert Near(("tools", 0)) != ("tools", 0)
    assert ("tools", 0) != Near(("tools", 0))  # noqa: SIM300 (the other side asks the other class)
    assert Near(("tools", 0)) == Near(("tools", 0))


def test_iteration_gives_text():
    assert [places(character) for character in remembering("ab")] == [[("c", 0)], [("c", 1)]]
    assert places(cat(reversed(remembering("ab")))) == [("c", 1), ("c", 0)]
