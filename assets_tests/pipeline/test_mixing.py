"""Shares of a mixture: true to a row, and no row left out that a share has room for."""

from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SettingsError
from pipeline.mixing import counts, shares

SOURCES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), min_size=1, max_size=4)


@given(SOURCES, st.none() | st.integers(0, 100))
def test_a_mixture_is_as_large_as_its_scarcest_source_allows(sources, limit):
    weights = [weight for _, weight in sources]
    wanted = [weight / sum(weights) for weight in weights]
    available = [rows for rows, _ in sources]
    taken = counts(available, wanted, limit)
    assert all(rows <= there for rows, there in zip(taken, available, strict=True))
    assert all(abs(rows - sum(taken) * share) < 1 for rows, share in zip(taken, wanted, strict=True))
    most = min(floor(rows * sum(weights) / weight) for rows, weight in sources)
    assert sum(taken) == (most if limit is None else min(most, limit))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([{}, {}], None),
        ([{"percentage": 80}, {"percentage": 20}], [0.8, 0.2]),
        ([{"percentage": 0.5}, {}], [0.005, 0.995]),
        ([{"proportion": 0.5}, {}, {}], [0.5, 0.25, 0.25]),
        ([{"weight": 3}, {"weight": 1}], [0.75, 0.25]),
        ([{"percentage": 30}, {"percentage": 30}], [0.5, 0.5]),
    ],
)
def test_shares_are_what_they_say(asked, told):
    found = shares({str(number): entry for number, entry in enumerate(asked)})
    assert found is told or found == pytest.approx(told)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ([{"percentage": 80}, {"weight": 1}], "a mixture in percentage and weight: say all shares in one"),
        ([{"weight": 1}, {}], "source 1: it has no weight"),
        ([{"percentage": 0}, {}], "source 0: percentage: 0 is no share"),
        ([{"percentage": 100}, {}], "percentages add up to 100 of 100: leave something to 1"),
        ([{"proportion": 0.8}, {"proportion": 0.8}], "proportions add up to 1.6"),
    ],
)
def test_shares_that_make_no_mixture_are_refused_by_name(asked, why):
    with pytest.raises(SettingsError, match=why):
        shares({str(number): entry for number, entry in enumerate(asked)})
