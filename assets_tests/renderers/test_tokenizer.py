"""The vocabulary: what loads, what is a control token, what a token weighs."""

import json

import pytest
import tokenizers
from transformers import PreTrainedTokenizerFast

from renderers.errors import TokenizerError
from renderers.loading import FILES, read_tokenizer
from renderers.tokenizer import Part, Tokenizer

SPELLED = "a<|im_end|>b <think> c</think><tool_call>"
HARD = [
    "",
    "plain",
    "naïve café",
    "cafe\u0301",
    "日本語 😀👩‍👩‍👧",
    " \t\r\n\n  x",
    "\u2028\u00a0\ufeff",
    "a\u0302\u0323",
    "\u1100\u1161",
]


def test_data_never_encodes_to_a_control_token(tiny):
    (ids,) = tiny.encode_batch([SPELLED])
    assert not set(ids) & set(tiny.control.values())
    assert tiny.decode(ids) == SPELLED


def test_added_tokens_are_read_where_asked_for(tiny, tiny_json):
    texts = [SPELLED, "x  <left> y", "x <right>  y", "<cafe\u0301>", "<|im_start|><|im_start|>", "", *HARD]
    upstream = tokenizers.Tokenizer.from_str(tiny_json)
    assert tiny.encode_batch(texts, added=True) == [upstream.encode(t, add_special_tokens=False).ids for t in texts]


def test_a_text_is_split_at_control_tokens_by_the_rules_of_the_library(tiny):
    (parts,) = tiny.split_batch(["x  <left> y<right>  z"])
    left, right = tiny.added["<left>"], tiny.added["<right>"]
    assert parts == [Part("x"), Part("  <left>", left), Part(" y"), Part("<right>  ", right), Part("z")]


def test_special_and_added_tokens_are_told_apart(tiny):
    assert tiny.special == {"<|im_start|>", "<|im_end|>"}
    assert tiny.added.keys() == tiny.control.keys() > tiny.special
    assert tiny.special_tokens == {"eos_token": "<|im_end|>"}


def test_an_added_token_that_plain_text_encodes_to_is_an_ordinary_word(wide):
    assert wide.added.keys() - wide.control.keys() == {"\n", "\n\n"}
    assert wide.encode_batch(["a\n\nb"]) == wide.encode_batch(["a\n\nb"], added=True)


def test_every_token_weighs_the_bytes_of_its_text(tiny):
    assert tiny.nbytes is not None
    for text, ids in zip(HARD, tiny.encode_batch(HARD), strict=True):
        if tiny.measurable(text):
            assert tiny.nbytes[ids].sum() == len(text.encode())
    assert not tiny.measurable("cafe\u0301")


def test_a_vocabulary_without_fixed_lengths_measures_by_offsets(wide):
    assert wide.nbytes is None
    ((ids, starts),) = wide.measure_batch(["the é the"])
    assert [wide.token_text(token) for token in ids] == ["the", " ", "\ufffd", "\ufffd", " ", "the"]
    assert starts.tolist() == [0, 3, 4, 4, 6, 7]


@pytest.mark.parametrize("prefixed", ["pre_tokenizer", "affix", "alphabet"])
def test_byte_lengths_are_not_claimed_where_they_are_not_fixed(tiny_json, prefixed):
    data = json.loads(tiny_json)
    if prefixed == "pre_tokenizer":
        data["pre_tokenizer"]["add_prefix_space"] = True
    elif prefixed == "affix":
        data["model"]["end_of_word_suffix"] = "</w>"
    else:
        data["model"]["vocab"] = {"a": 0}
        data["model"]["merges"] = []
    assert Tokenizer.from_json(json.dumps(data)).nbytes is None


def test_the_config_adds_tokens_and_names_special_ones(tiny_json):
    fresh = max(token["id"] for token in json.loads(tiny_json)["added_tokens"]) + 1
    config = {
        "added_tokens_decoder": {str(fresh): {"content": "<|audio|>", "special": True}, "0": {"content": "<think>"}},
        "bos_token": {"content": "<|im_start|>", "lstrip": False},
        "eos_token": "<|im_end|>",
        "pad_token": None,
        "chat_template": [{"name": "default", "template": "hello"}, {"name": "rag", "template": "no"}],
    }
    tokenizer = Tokenizer.from_json(tiny_json, config=config)
    assert tokenizer.added["<|audio|>"] == fresh
    assert tokenizer.encode_batch(["<|audio|>"], added=True) == [[fresh]]
    assert tokenizer.decode([fresh]) == "<|audio|>"
    assert tokenizer.special_tokens == {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    assert tokenizer.chat_template == "hello"


def test_the_fingerprint_changes_with_the_vocabulary_only(tiny_json):
    same = [Tokenizer.from_json(tiny_json, name=name).fingerprint for name in ("a", "b")]
    other = Tokenizer.from_json(tiny_json.replace("<tool_call>", "<tool_cell>")).fingerprint
    assert same[0] == same[1] != other


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "not json", '{"model": {"type": "Nothing"}}', '{"added_tokens": [1]}', "\ud800"]
)
def test_what_is_no_tokenizer_is_refused(text, lazy):
    with pytest.raises(TokenizerError):
        Tokenizer.from_json(text, name="broken", lazy=lazy)


@pytest.mark.parametrize("family", ["qwen3", "llama-3", "gpt-oss", "gemma-3", "glm-4.5"])
def test_a_lazy_tokenizer_says_what_ids_stand_for_and_makes_the_rest_when_asked(official, load, family):
    files = {name: official(family) / name for name in FILES if (official(family) / name).exists()}
    lazy, whole = read_tokenizer(files, name=family, lazy=True), load(family)
    waits = family != "gemma-3"
    assert (lazy._whole is not None) == waits, "pieces of Gemma's say other things in other places"
    ids = [*range(0, len(whole.added) + 150_000, 97), *whole.added.values()]
    assert [lazy.token_bytes(token) for token in ids] == [whole.token_bytes(token) for token in ids]
    (row,) = whole.encode_batch(["".join(HARD) + SPELLED])
    for cut in range(len(row)):
        assert lazy.decode(row[cut:]) == whole.decode(row[cut:])
        assert lazy.decode(row[: cut + 1]) == whole.decode(row[: cut + 1])
    assert (lazy._whole is not None) == waits, "nobody has asked to encode"
    assert lazy.encode_batch([SPELLED], added=True) == whole.encode_batch([SPELLED], added=True)
    assert (lazy.control, lazy.fingerprint, lazy.sticky) == (whole.control, whole.fingerprint, whole.sticky)
    assert lazy.decode(row) == whole.decode(row)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lazy.nothing  # noqa: B018


def test_a_transformers_tokenizer_is_taken_as_it_is(tiny_json, tiny):
    hf = PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(tiny_json), eos_token="<|im_end|>", chat_template="hi"
    )
    ours = Tokenizer.from_hf(hf, name="mine")
    assert (ours.name, ours.chat_template, ours.special_tokens["eos_token"]) == ("mine", "hi", "<|im_end|>")
    assert ours.added == tiny.added
    assert ours.encode_batch([SPELLED, *HARD]) == tiny.encode_batch([SPELLED, *HARD])


def test_part_of_a_character_reads_as_a_replacement(tiny):
    (ids,) = tiny.encode_batch(["😀"])
    assert tiny.decode(ids) == "😀"
    assert tiny.token_text(ids[0]) == "\ufffd"


SMALL = ["qwen3", "gemma-3", "llama-3.1", "gpt-oss", "kimi-k2.6", "mistral-nemo", "deepseek-v3.2", "nemotron-3-nano"]


@pytest.mark.parametrize("family", SMALL)
def test_no_control_token_of_an_official_vocabulary_can_be_spelled(load, family):
    tokenizer = load(family)
    texts = [*tokenizer.control, "".join(tokenizer.control), *(f"a{text}b" for text in tokenizer.control)]
    found = {token for ids in tokenizer.encode_batch(texts) for token in ids}
    assert not found & set(tokenizer.control.values())
    assert tokenizer.special <= tokenizer.control.keys()


def test_a_token_that_only_the_config_has_is_one_token(load):
    tokenizer = load("qwen3.8")
    assert tokenizer.encode_batch(["<tts_pad>"], added=True) == [[248072]]
    assert "<tts_pad>" in tokenizer.control


def test_gemma_writes_html_in_letters_where_it_is_data(load):
    """A deviation from upstream: such tokens are not told apart from `<think>`, and data writes none of them."""
    tokenizer = load("gemma-3")
    ours, upstream = (tokenizer.encode_batch(["<table>\n\n\t<td>"], added=added)[0] for added in (False, True))
    assert upstream == [tokenizer.added[text] for text in ("<table>", "\n\n", "\t", "<td>")]
    assert tokenizer.decode(ours) == tokenizer.decode(upstream)
    assert set(ours) & set(upstream) == {tokenizer.added["\n\n"], tokenizer.added["\t"]}


@pytest.mark.parametrize("vocabulary", ["tiny", "wide", "example"])
def test_tokens_are_the_bytes_of_their_text(vocabulary, request):
    tokenizer = request.getfixturevalue(vocabulary)
    text = (
        "the other\n\n\u65e5\u672c \U0001f600 caf\u00e9 <|im_end|>"
        if vocabulary != "wide"
        else "the o\n\n\u65e5<|im_end|>"
    )
    for added in (False, True):
        (ids,) = tokenizer.encode_batch([text], added=added)
        assert b"".join(map(tokenizer.token_bytes, ids)).decode() == tokenizer.decode(ids)
    assert tokenizer.token_bytes(10**9) == tokenizer.token_bytes(-1) == "\ufffd".encode()
