"""The fast engine: taken where it has the ids of `tokenizers`, and watched while it is."""

import copy
import pickle

import numpy as np
import pytest
import tokenizers

from renderers import engines
from renderers.engines import Engine, Texts, encode_plainly, hard_texts
from renderers.errors import EnginesDiffer


@pytest.fixture
def plain(tiny_json: str) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(tiny_json)


@pytest.fixture
def other(wide_json: str) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(wide_json)


@pytest.mark.parametrize("family", ["qwen3", "gpt-oss", "gemma-3"])
def test_official_vocabularies_are_encoded_fast(load, family: str):
    engine = load(family).engine
    assert engine.load()
    texts = [text * 2 for text in hard_texts()]
    for some in (texts, ["", *(text for text in texts if "\0" not in text), "", ""], [""], []):
        assert all(map(np.array_equal, engine.encode(some), encode_plainly(engine.plain, some)))


def test_texts_on_a_line_read_as_they_were_given():
    for texts in (["Größe", "", "数\n"], ["a\0b", "", "\0"], [""], []):
        line = Texts.of(texts)
        assert [*line] == texts == line[:]
        assert line.sizes.tolist() == [len(text.encode()) for text in texts]
        assert line.ascii.tolist() == [text.isascii() for text in texts]


def test_a_vocabulary_that_the_fast_engine_does_not_know_is_encoded_by_tokenizers(load):
    engine = load("kimi-k2").engine
    assert not engine.load()
    ids, openings = engine.encode(["Größe", "", "数"])
    assert openings.tolist() == [0, *np.cumsum([len(engine.plain.encode(t).ids) for t in ("Größe", "", "数")])]
    assert ids.dtype == np.int32


def test_the_fast_engine_is_loaded_when_it_pays(example, monkeypatch):
    engine, text = Engine(example.engine.plain), "def the(other):\n" * 20
    monkeypatch.setattr(engines, "proven", lambda plain: loaded.append(plain))
    loaded = []
    for asked in range(0, engines.PAYS, len(text) * 100):
        assert not loaded, f"{asked} characters do not pay for it"
        engine.encode([text] * 100)
    engine.encode([text] * 100)
    assert loaded == [engine.plain]


def test_a_loaded_engine_goes_to_other_processes(example):
    engine = Engine(example.engine.plain)
    assert engine.load()
    for there in (pickle.loads(pickle.dumps(engine)), copy.deepcopy(engine)):
        assert there.encode(["the cat"])[0].tolist() == engine.encode(["the cat"])[0].tolist()


def test_ids_that_differ_are_never_taken(plain, other, monkeypatch):
    engine = Engine(plain)
    monkeypatch.setattr(engines, "PROVEN", {})
    assert engine.load()
    engine.encode(["the cat"])
    monkeypatch.setattr(engines, "encode_fast", lambda fast, texts: encode_plainly(other, texts))
    with pytest.raises(EnginesDiffer, match="differ on 'the cat'"):
        [engine.encode(["the cat"]) for _ in range(2000)]


def test_a_fast_engine_with_other_ids_does_not_prove_itself(plain, other, monkeypatch):
    monkeypatch.setattr(engines, "PROVEN", {})
    monkeypatch.setattr(engines, "encode_fast", lambda fast, texts: encode_plainly(other, texts))
    assert not Engine(plain).load()
    assert list(engines.PROVEN.values()) == [False]


def test_one_token_in_a_thousand_is_compared(example, monkeypatch):
    engine = Engine(example.engine.plain)
    assert engine.load()
    seen = []
    monkeypatch.setattr(engine, "plain", Counting(engine.plain, seen))
    tokens = sum(len(engine.encode(["def the(other): return other + 1\n" * 3] * 50)[0]) for _ in range(40))
    assert tokens / 1000 <= sum(seen) <= tokens / 1000 + 200


class Counting:
    """A tokenizer that notes how many tokens it was asked for."""

    def __init__(self, plain: tokenizers.Tokenizer, seen: list[int]):
        self.plain, self.seen = plain, seen

    def encode(self, text: str, *, add_special_tokens: bool) -> tokenizers.Encoding:
        told = self.plain.encode(text, add_special_tokens=add_special_tokens)
        self.seen.append(len(told.ids))
        return told
