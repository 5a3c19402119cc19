"""What leaves before shares are counted: near duplicates at any threshold, and what benchmarks ask."""

import dataclasses
import json
import random
from pathlib import Path

import msgspec
import pytest
from datasets import Dataset

from assets_tests.pipeline.test_mixture import candidate, mixture, said
from pipeline.errors import SettingsError
from pipeline.mixing.contamination import benchmark_grams, hits
from pipeline.mixing.duplicates import clusters
from pipeline.mixing.mix import MixReport, mix
from pipeline.records import Conversation, Reject


@pytest.mark.parametrize("near", [0.2, 0.3, 0.5, 0.7, 0.85])
def test_pairs_as_near_as_is_asked_for_are_found_at_every_threshold(near: float):
    chance, told = random.Random(3), list[Conversation]()
    for number in range(150):
        said_first = chance.choices(range(4000), k=200)
        cut = int(200 * (1 - 2 * near / (1 + near))) - 6  # of 200 words, as many are others
        other = [*chance.choices(range(4000), k=max(cut, 0)), *said_first[max(cut, 0) :]]
        told += [said(f"{number}{n}", " ".join(map(str, words)), "y") for n, words in enumerate((said_first, other))]
    found = clusters(told, near=near)
    assert sum(found[k] == found[k + 1] for k in range(0, 300, 2)) >= 147


def test_what_benchmarks_ask_is_found_wherever_it_stands(tmp_path: Path):
    question = (
        "Write a function that returns the n-th prime number, counting from zero, for every n below ten thousand."
    )
    file = tmp_path / "bench.jsonl"
    file.write_text(
        json.dumps({"q": [question], "a": "yes"}) + "\n" + json.dumps({"short": "one two"}), encoding="utf-8"
    )
    grams = benchmark_grams([file], 13)
    leaked = said("leak", "hello", f"Sure: {question.upper()}!")
    clean = said("clean", "Write a function.", "yes. one two")
    (hit,) = hits([leaked, clean], grams, 13)
    assert (hit.conversation, hit.message, hit.benchmark) == ("leak", 1, "bench.jsonl:1")


QUESTION = "Write a function that returns the n-th prime,\ncounting from zero, for every n below ten thousand."


@pytest.mark.parametrize("name", ["bench.parquet", "bench.json", "bench.jsonl", "bench.txt"])
def test_benchmarks_are_read_however_they_are_kept(tmp_path: Path, name: str):
    file, rows = tmp_path / name, [{"id": 1, "q": "short"}, {"id": 2, "q": QUESTION}]
    if name.endswith("parquet"):
        Dataset.from_list(rows).to_parquet(file)
    elif name.endswith("json"):
        file.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    else:
        told = [json.dumps(row) if name.endswith("jsonl") else row["q"].replace("\n", " ") for row in rows]
        file.write_text("\n".join(told), encoding="utf-8")
    (hit,) = hits([said("leak", QUESTION, "x")], benchmark_grams([file], 13), 13)
    assert hit.benchmark == f"{name}:2"


def test_a_benchmark_in_which_there_is_nothing_to_look_for_is_refused(tmp_path: Path):
    for name, data, why in (
        ("a.jsonl", b'{"q": "too short"}\n', "no text of 8 words"),
        ("b.jsonl.gz", b"\x1f\x8b\0\0", "no text; name text, JSON"),
        ("c.parquet", b"PAR1", r"c\.parquet"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SettingsError, match=f"curate.benchmarks: .*{why}"):
            benchmark_grams([tmp_path / name], 13)


def test_scripts_without_spaces_are_compared_by_their_characters(tmp_path: Path):
    question = "下列关于光合作用的叙述中，哪一项是正确的？请选择一个答案。"
    (tmp_path / "bench.txt").write_text(question, encoding="utf-8")
    grams = benchmark_grams([tmp_path / "bench.txt"], 13)
    leaked, clean = said("leak", f"考试：{question}谢谢", "甲"), said("clean", "请解释光合作用。", "好的。")
    (hit,) = hits([leaked, clean], grams, 13)
    assert (hit.conversation, hit.message, hit.benchmark) == ("leak", 0, "bench.txt:1")
    long = "春眠不觉晓处处闻啼鸟夜来风雨声花落知多少" * 2
    told = [said("a", long, "好"), said("b", long.replace("鸟", "雀", 1), "好"), said("c", "今天天气怎么样", "好")]
    assert clusters(told, near=0.7) == [0, 0, 2]


def test_every_hit_is_listed_and_not_the_first_alone(tmp_path: Path):
    (tmp_path / "bench.txt").write_text(QUESTION.replace("\n", " "), encoding="utf-8")
    leaked = candidate("a", "leak")
    leaked = dataclasses.replace(leaked, conversation=said("leak", QUESTION, "x", QUESTION, "y"))
    found = {"a": [leaked, candidate("a", "clean")]}
    made, told = mix(found, mixture({"a": {}}), grams=benchmark_grams([tmp_path / "bench.txt"], 13))
    assert [(hit.conversation, hit.message) for hit in told.hits] == [("leak", 0), ("leak", 2)]
    assert [(row.id, row.reason) for row in made if isinstance(row, Reject)] == [("leak", "contaminated")]
    again = msgspec.json.decode(msgspec.json.encode(told), type=MixReport)
    assert again.hits == told.hits
