"""Numbers and messages answer as an int and a list, and note for which others they would have answered alike."""

import operator

import pytest

from renderers.tracing.watched import Cell, Messages, Number, Place

CONVERSATION = [{"role": role, "content": f"{number}."} for number, role in enumerate(("system", "user", "tool") * 5)]


@pytest.mark.parametrize("value", range(-3, 4))
@pytest.mark.parametrize("more", [-2, 0, 1])
@pytest.mark.parametrize(
    "question",
    [
        *(operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne),
        *(operator.add, operator.sub, operator.mul, operator.mod, operator.floordiv, operator.truediv),
    ],
)
def test_a_number_answers_as_an_int_and_alike_within_its_bounds(question, more, value):
    for other in (-1, 1, 2.5):
        for way in (question, lambda one, two: question(two, one)):
            cell = Cell(value)
            answer = way(Number(cell, more), other) if value + more or way is question else None
            if answer is None:
                continue
            low, high = cell.bounds
            assert low <= value <= high
            if type(answer) is bool:
                same = [n for n in range(-9, 10) if low <= n <= high]
                assert {bool(way(n + more, other)) for n in same} == {answer}
            else:
                assert answer == way(value + more, other)


def test_a_number_is_an_int_to_whoever_asks():
    number = Number(Cell(3), 1)
    assert isinstance(number, int)
    assert (str(number), repr(number), f"{number:02}") == ("4", "4", "04")
    assert ([0, 1, 2, 3, 9][number], list(range(number)), {4: "x"}[number]) == (9, [0, 1, 2, 3], "x")
    assert (-number, abs(number), int(number), round(number), 2**number, "ab" * number) == (-4, 4, 4, 4, 16, "ab" * 4)


@pytest.mark.parametrize("length", [1, 3, len(CONVERSATION)])
@pytest.mark.parametrize(
    "ask",
    [
        *(list, len, bool, repr, operator.itemgetter(0), operator.itemgetter(-1), operator.itemgetter(slice(None, -1))),
        lambda messages: list(messages[1:]),
        lambda messages: list(messages[1:][1:]),
        lambda messages: messages[::2],
        lambda messages: messages + [1],  # noqa: RUF005
        lambda messages: [1] + messages,  # noqa: RUF005
        lambda messages: list(reversed(messages)),
        lambda messages: CONVERSATION[2] in messages,
        lambda messages: messages == CONVERSATION[:3],
    ],
)
def test_messages_so_far_answer_as_a_list(ask, length):
    cell = Cell(length)
    assert ask(Messages(CONVERSATION, cell)) == ask(CONVERSATION[:length])
    assert cell.bounds[0] <= length <= cell.bounds[1]


def test_there_is_no_message_after_the_last():
    with pytest.raises(IndexError):
        Messages(CONVERSATION, Cell(2))[2]


@pytest.mark.parametrize("last", [-1, 0, 4])
@pytest.mark.parametrize("more", [0, 1])
def test_messages_up_to_a_place_and_from_there_on_answer_as_a_list(last, more):
    place, told = Place(last), CONVERSATION[:6]
    at, messages = Number(place, more), Messages(CONVERSATION, Cell(len(told)))
    if last + more < 0:
        assert (messages[:at], messages[at:]) == (told[:-1], told[-1:]), "as Python counts from the end"
        return
    old, new = messages[:at], messages[at:]
    assert place.bounds[0] <= -more, "wherever it is"
    assert (list(old), list(new)) == (told[: last + more], told[last + more :])
    assert (len(old), bool(new), old == told) == (last + more, True, False)
    assert list(new[1:]) == told[last + more :][1:]
