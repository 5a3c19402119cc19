"""Mixtures: what was asked for, what came of it, what left and why."""

import numpy as np
import pytest

from assets_tests.pipeline.candidates import candidate, mixture, said
from pipeline.errors import PipelineError, SettingsError
from pipeline.mixing.choosing import choose
from pipeline.mixing.duplicates import clusters, duplicates
from pipeline.mixing.mix import Candidate, mix
from pipeline.mixing.quality import RULES, unworthy
from pipeline.mixing.splitting import crossings, grouped, split, ties_of
from pipeline.mixtures import Quality, Source
from pipeline.records import MixedRow, Reject

LOREM = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "the",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "brew",
    "potions",
    "in",
    "a",
    "quiet",
    "tower",
    "by",
    "the",
    "sea",
]


def of(**sizes: list[int]) -> dict[str, list[Candidate]]:
    return {s: [candidate(s, f"{s}{n}", size) for n, size in enumerate(own)] for s, own in sizes.items()}


def kept(rows: list[MixedRow | Reject]) -> list[MixedRow]:
    return [row for row in rows if isinstance(row, MixedRow)]


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({"a": {"percentage": 80}, "b": {"percentage": 20}}, {"a": 100, "b": 25}),
        ({"a": {"percentage": 1}, "b": {"percentage": 99}}, {"a": 1, "b": 100}),
        ({"a": {"proportion": 1}, "b": {"proportion": 0.5}}, None),
        ({"a": {"proportion": 0.25}, "b": {}}, {"a": 33, "b": 100}),
        ({"a": {"weight": 1}, "b": {"weight": 3}}, {"a": 33, "b": 100}),
        ({"a": {}, "b": {}}, {"a": 100, "b": 100}),
    ],
)
def test_a_share_is_what_its_own_scale_says(asked, rows):
    wanted, sizes = mixture(asked), of(a=[10] * 100, b=[10] * 100)
    if rows is None:
        with pytest.raises(SettingsError, match=r"proportions add up to 1\.5"):
            mix(sizes, wanted, grams={})
        return
    made, told = mix(sizes, wanted, grams={})
    assert {share.source: share.rows for share in told.shares} == rows
    assert sum(len(row.rows) for row in kept(made)) + sum(isinstance(r, Reject) for r in made) == 200


def test_mixed_scales_are_refused():
    with pytest.raises(SettingsError, match="a mixture in percentage and weight"):
        mix(of(a=[1], b=[1]), mixture({"a": {"percentage": 50}, "b": {"weight": 1}}), grams={})


def test_shares_can_be_of_tokens():
    sizes = of(a=[100] * 50, b=[10] * 300)
    _, told = mix(sizes, mixture({"a": {"weight": 1}, "b": {"weight": 1}}, by="tokens"), grams={})
    a, b = told.shares
    assert (a.tokens, b.tokens) == (3000, 3000)
    assert (a.rows, b.rows) == (30, 300)
    assert a.realized == b.realized == 0.5


def test_a_source_without_a_row_says_why_each_one_left():
    bad = Reject(id="x:1", stage="conversations", reason="no_messages", detail="x:1: no `messages`")
    with pytest.raises(PipelineError, match="source b: no row of it is left: no_messages: x:1: no `messages`"):
        mix({**of(a=[10]), "b": [bad]}, mixture({"a": {}, "b": {}}), grams={})


def test_a_share_that_is_too_small_for_a_row_is_said():
    asked = mixture({"big": {"percentage": 99}, "tiny": {"percentage": 1}}, by="tokens")
    _, told = mix(of(big=[10] * 30, tiny=[40, 60]), asked, grams={})
    assert [share.rows for share in told.shares] == [30, 0]
    assert told.unheard == [
        "source tiny: 1.00% of tokens was asked, which is less than its smallest row, 40 tokens: none of its 2 rows is "
        "taken; ask for more of it, give rows to the other sources, or raise the limit"
    ]
    _, told = mix(of(big=[10] * 30, tiny=[40, 2]), asked, grams={})
    assert ([share.rows for share in told.shares][1], told.unheard) == (1, [])
    _, told = mix(of(big=[10] * 30, tiny=[40]), mixture({"big": {"weight": 99}, "tiny": {"weight": 1}}), grams={})
    assert [one.partition(":")[0] for one in told.unheard] == ["source tiny"]
    assert "which is less than one row" in told.unheard[0]
    _, told = mix(of(big=[10] * 30, tiny=[40]), mixture({"big": {}, "tiny": {}}, limit=1), grams={})
    assert told.unheard == [], "nobody asked for a share"


def test_a_limit_is_of_all_sources_and_of_what_the_mixture_counts():
    sizes = of(a=[10] * 50, b=[10] * 50)
    _, told = mix(sizes, mixture({"a": {"weight": 3}, "b": {"weight": 1}}, limit=10), grams={})
    assert [share.rows for share in told.shares] == [8, 2]
    _, told = mix(sizes, mixture({"a": {}, "b": {}}, limit=95, by="tokens"), grams={})
    assert sum(share.tokens for share in told.shares) == 90


def test_the_same_seed_gives_the_same_rows_and_another_others():
    asked = {"a": {"weight": 1}, "b": {"weight": 1}}
    names = [
        [row.rows for row in kept(mix(of(a=[10] * 50, b=[10] * 9), mixture(asked, seed=seed), grams={})[0])]
        for seed in (1, 1, 2)
    ]
    assert names[0] == names[1] != names[2]


def test_what_one_source_has_another_does_not_add():
    found = {"a": [candidate("a", "x")], "b": [candidate("b", "x"), candidate("b", "y")]}
    made, told = mix(found, mixture({"a": {}, "b": {}}), grams={})
    assert [share.fit for share in told.shares] == [1, 1]
    assert [(r.id, r.reason) for r in made if isinstance(r, Reject)] == [("x", "duplicate")]


def test_a_cap_is_a_share_of_its_own():
    sizes = [[10] * 40, [10] * 40]
    taken = choose(sizes, {"a": {}, "b": {}}, by="rows", limit=None, seed=1, caps=[5, None])
    assert [len(rows) for rows in taken] == [5, 40]


def test_packed_sequences_hold_whole_rows_and_say_where_they_begin():
    made, told = mix(of(a=[5, 7, 3, 9, 1, 6, 2, 8]), mixture({"a": {}}, pack=10), grams={})
    assert told.sequences == 5
    assert told.fill == 41 / 50
    for row in kept(made):
        sizes = row.seq_lengths.tolist()
        assert row.position_ids.tolist() == [n for size in sizes for n in range(size)]
        starts = np.cumsum([0, *sizes[:-1]])
        assert (row.labels[starts] == -100).all()
        assert len(row.input_ids) == sum(sizes) <= 10
        assert len(row.rows) == len(sizes)
    made, _ = mix(of(a=[11, 3]), mixture({"a": {}}, pack=10), grams={})
    assert [(r.id, r.reason) for r in made if isinstance(r, Reject)] == [("a0", "too_long")]


def test_duplicates_leave_and_the_best_stays():
    long = " ".join(LOREM * 6)
    nearly = long.replace("seven", "eight", 1)
    told = [
        said("cut", long, long, status="length"),
        said("whole", long, nearly, status="complete"),
        said("same", long, nearly, status="complete"),
        said("other", "what is the capital of France", "it is Paris"),
    ]
    gone = {reject.id: reject for reject in duplicates(told, near=0.75)}
    assert gone.keys() == {"cut", "same"}
    assert "whole stays" in gone["cut"].detail
    assert [reject.id for reject in duplicates(told, near=None)] == ["same"]


def test_near_means_the_similarity_that_is_asked_for():
    told = [said("a", " ".join(LOREM * 3 + ["x"] * 3), "y"), said("b", " ".join(LOREM * 3 + ["z"] * 9), "y")]
    assert clusters(told, near=0.5) == [0, 0]
    assert clusters(told, near=0.95) == [0, 1]


CALL = {"id": "1", "type": "function", "function": {"name": "ls", "arguments": "{}"}}
STEP = (
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "no", "tool_call_id": "1"},
)
BAD = {
    "truncated": said("truncated", "a", "b", status="aborted"),
    "refused": said(
        "refused",
        "a",
        "I\N{RIGHT SINGLE QUOTATION MARK}m sorry, but I can\N{RIGHT SINGLE QUOTATION MARK}t help with that.",
    ),
    "repeated_calls": said("repeated_calls", "a", *STEP * 4, {"role": "assistant", "content": "done"}),
    "silent_tools": said("silent_tools", "a", STEP[0], {"role": "tool", "content": " ", "tool_call_id": "1"}),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_strikes_what_it_says_and_can_be_switched_off(rule: str):
    good = said("good", "a", *STEP * 3, {"role": "assistant", "content": "I can help with that."}, status="complete")
    (gone,) = unworthy([good, BAD[rule]], Quality())
    assert (gone.id, gone.reason) == (rule, rule)
    off = Quality.model_validate({rule: None if rule == "repeated_calls" else False})
    assert not [r for r in unworthy([BAD[rule]], off) if r.reason == rule]


def test_a_split_that_is_too_small_for_a_group_is_said():
    _, told = mix(of(a=[10] * 12), mixture({"a": {}}, splits={"test": 5, "validation": 25}), grams={})
    assert told.splits == {"train": 9, "test": 0, "validation": 3}
    assert told.unheard == [
        "split test: 5% of 12 rows was asked, and no group that belongs together is so small: it is empty; ask for "
        "more of it, or give the mixture more rows"
    ]


def test_nothing_leaks_across_splits_whatever_ties_rows():
    told = [
        said(f"c{n}", f"task {n % 40}", f"answer {n}", metadata={"github_repo": f"r/{n % 60}"} if n % 3 else {})
        for n in range(200)
    ]
    ties = [ties_of(one, cluster) for cluster, one in enumerate(told)]
    groups = grouped(ties)
    where = split(groups, [1] * 200, {"validation": 10, "test": 10}, 7)
    assert set(crossings(ties, where).values()) == {0}
    assert 10 <= where.count("validation") <= 20
    assert crossings(ties, ["train", "test"] * 100)["task"] == 0
    assert crossings(ties, ["train"] * 100 + ["test"] * 100)["task"] == 40


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({}, "name one of batches, tag, path, repo"),
        ({"batches": "*", "path": "x"}, "name one of"),
        ({"repo": "a/b", "revision": "main"}, "a branch moves"),
        ({"batches": "*", "percentage": 101}, "less than or equal to 100"),
    ],
)
def test_a_source_that_means_nothing_is_refused(source, why):
    with pytest.raises(ValueError, match=why):
        Source.model_validate(source)


def test_a_source_without_a_row_says_so():
    found = {"a": []}
    with pytest.raises(PipelineError, match="a: no row of it is left: it had none"):
        mix(found, mixture({"a": {}}), grams={})
