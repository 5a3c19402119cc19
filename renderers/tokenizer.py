"""A vocabulary: text to ids, ids to text, and which of its tokens are control tokens.

Built from the text of `tokenizer.json` with the `tokenizers` library and nothing else: transformers' `tokenizer_class` swaps
the pre-tokenizer of some models (Qwen3.5: 409 of 600 strings change ids), and post-processors add tokens that no template wrote.

Two engines share the work. The *plain* one has no control tokens, so that text which comes from a message can never become
one; it makes all ids. The *splitter* knows control tokens and nothing else: it finds them in a template's own words, with the
matching rules (longest first, stripping, normalization) that `tokenizers` has.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import tokenizers
from tokenizers.models import WordLevel

from renderers.errors import TokenizerError

SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""What a Jinja template may ask for."""
GAP = "\0"
"""The splitter's word for text between control tokens."""


class Part(NamedTuple):
    """A stretch of template text: a control token (`id`), or text between two."""

    text: str
    id: int | None


class HubTokenizer(Protocol):
    """What is read of a transformers fast tokenizer."""

    @property
    def backend_tokenizer(self) -> Any: ...
    @property
    def special_tokens_map(self) -> Any: ...


class Tokenizer:
    """A vocabulary, its control tokens, and the chat template that came with it. Immutable."""

    name: str
    chat_template: str | None
    added: Mapping[str, int]
    """Every added token. Some vocabularies add ordinary words too (Gemma 3: runs of newlines)."""
    special: frozenset[str]
    """Added tokens that are marked special."""
    control: Mapping[str, int]
    """Added tokens that only a template may write: those which plain text does not encode to."""
    special_tokens: Mapping[str, str]
    """bos_token, eos_token, … for templates that ask."""
    nbytes: np.ndarray | None
    """Bytes of text that each id stands for; None where that is not fixed (SentencePiece-like vocabularies)."""
    fingerprint: str
    """Hash of the vocabulary and of the special tokens."""

    def __init__(
        self, data: Mapping[str, Any], *, special_tokens: Mapping[str, str], chat_template: str | None, name: str
    ):
        """`data` is a parsed tokenizer.json; see `from_json` and `from_hf`."""
        self.name, self.chat_template, self.special_tokens = name, chat_template, special_tokens
        self._data = {**data, "post_processor": None, "truncation": None, "padding": None}
        tokens: list[dict[str, Any]] = data.get("added_tokens") or []
        self.added = {token["content"]: token["id"] for token in tokens}
        self.special = frozenset(token["content"] for token in tokens if token.get("special"))
        self._plain = _engine({**self._data, "added_tokens": []})
        self.control = self._keep_ordinary_words(tokens)
        self._splitter, self._split_ids = self._make_splitter(tokens)
        self.nbytes = _byte_lengths(data, self.added)

    @classmethod
    def from_json(
        cls,
        tokenizer_json: str,
        *,
        config: Mapping[str, Any] | None = None,
        chat_template: str | None = None,
        name: str = "",
    ) -> "Tokenizer":
        """From the text of tokenizer.json and the parsed tokenizer_config.json.

        The config may add tokens (`added_tokens_decoder`), name special ones (a string, or a dict with `content`), and hold the
        chat template where no file does. Raises TokenizerError where the text is no tokenizer.
        """
        config = config or {}
        try:
            data = json.loads(tokenizer_json)
            special = {name: _content(config[name]) for name in SPECIAL_NAMES if config.get(name)}
            data["added_tokens"] = _with_config(data.get("added_tokens") or [], config)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise TokenizerError(f"{name or 'tokenizer.json'} is not a tokenizer: {error!r}") from error
        template = chat_template if chat_template is not None else config.get("chat_template")
        if isinstance(template, list):
            template = next((entry["template"] for entry in template if entry.get("name") == "default"), None)
        return cls(data, special_tokens=special, chat_template=template, name=name)

    @classmethod
    def from_hf(cls, hf: HubTokenizer, *, name: str | None = None) -> "Tokenizer":
        """From a transformers fast tokenizer: its backend as it is, whatever its class did to it."""
        special = {key: str(value) for key, value in hf.special_tokens_map.items() if key in SPECIAL_NAMES and value}
        return cls(
            json.loads(hf.backend_tokenizer.to_str()),
            special_tokens=special,
            chat_template=getattr(hf, "chat_template", None),
            name=getattr(hf, "name_or_path", "") if name is None else name,
        )

    def encode_batch(self, texts: Sequence[str], *, added: bool = False) -> list[list[int]]:
        """Ids of each text. `added=False`: no control token can come out, whatever the text spells."""
        engine = self._whole if added else self._plain
        return [e.ids for e in engine.encode_batch_fast(texts, add_special_tokens=False)]

    def measure_batch(self, texts: Sequence[str]) -> list[tuple[list[int], np.ndarray]]:
        """As `encode_batch`, with the byte of the text at which each token begins (int64): slower, for any vocabulary."""
        encodings = self._plain.encode_batch(texts, add_special_tokens=False)
        return [(e.ids, _starts(text, e.offsets)) for text, e in zip(texts, encodings, strict=True)]

    def measurable(self, text: str) -> bool:
        """Whether `nbytes` of this text's tokens add up to its own bytes (a normalizer may change them)."""
        if self.nbytes is None:
            return False
        normalizer = self._plain.normalizer
        if normalizer is None or (text.isascii() and _is_nfc(self._data)):
            return True
        return normalizer.normalize_str(text) == text

    def split_batch(self, texts: Sequence[str]) -> list[list[Part]]:
        """Each text cut into control tokens and what lies between them."""
        encodings = self._splitter.encode_batch(texts, add_special_tokens=False)
        return [self._parts(text, e) for text, e in zip(texts, encodings, strict=True)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of these ids, control tokens included."""
        return self._whole.decode([int(i) for i in ids], skip_special_tokens=False)

    def token_text(self, token: int) -> str:
        """The text of one id; a token that is part of a character reads as U+FFFD."""
        return self.decode([token])

    @cached_property
    def fingerprint(self) -> str:
        spelled = json.dumps([self._data, dict(self.special_tokens)], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(spelled.encode()).hexdigest()[:16]

    @cached_property
    def _whole(self) -> tokenizers.Tokenizer:
        return _engine(self._data)

    def _keep_ordinary_words(self, tokens: list[dict[str, Any]]) -> dict[str, int]:
        """Give the plain engine the added tokens that plain text encodes to anyway; the others are control tokens."""
        spelled = self.encode_batch([token["content"] for token in tokens])
        ordinary = [
            not token.get("special") and ids == [token["id"]] for token, ids in zip(tokens, spelled, strict=True)
        ]
        self._plain.add_tokens([_added_token(t) for t, plain in zip(tokens, ordinary, strict=True) if plain])
        return {t["content"]: t["id"] for t, plain in zip(tokens, ordinary, strict=True) if not plain}

    def _make_splitter(self, tokens: list[dict[str, Any]]) -> tuple[tokenizers.Tokenizer, dict[int, int]]:
        splitter = tokenizers.Tokenizer(WordLevel({GAP: 0}, unk_token=GAP))
        if self._plain.normalizer is not None:
            splitter.normalizer = self._plain.normalizer
        splitter.add_tokens([_added_token(token) for token in tokens if token["content"] in self.control])
        own = splitter.get_added_tokens_decoder()
        return splitter, {key: self.control[token.content] for key, token in own.items()}

    def _parts(self, text: str, encoding: tokenizers.Encoding) -> list[Part]:
        parts, at = [], 0
        for key, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if key not in self._split_ids:
                continue
            if start > at:
                parts.append(Part(text[at:start], None))
            parts.append(Part(text[start:end], self._split_ids[key]))
            at = end
        return parts if at == len(text) else [*parts, Part(text[at:], None)]


def _engine(data: Mapping[str, Any]) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(data, ensure_ascii=False))
    except Exception as error:  # the bindings raise bare Exception
        raise TokenizerError(f"not a tokenizer: {error}") from error


def _content(token: str | Mapping[str, Any]) -> str:
    return token if isinstance(token, str) else token["content"]


def _with_config(tokens: list[dict[str, Any]], config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Added tokens of the vocabulary, then those that only the config has."""
    known = {token["content"] for token in tokens}
    named = {int(key): token for key, token in config.get("added_tokens_decoder", {}).items()}
    return tokens + [{"id": key, **token} for key, token in sorted(named.items()) if token["content"] not in known]


def _added_token(token: Mapping[str, Any]) -> tokenizers.AddedToken:
    flags = {key: bool(token.get(key)) for key in ("single_word", "lstrip", "rstrip", "normalized")}
    return tokenizers.AddedToken(token["content"], **flags)


def _is_nfc(data: Mapping[str, Any]) -> bool:
    return (data.get("normalizer") or {}).get("type") == "NFC"


def _byte_lengths(data: Mapping[str, Any], added: Mapping[str, int]) -> np.ndarray | None:
    """A byte-level vocabulary writes one character a byte; any other has no fixed lengths."""
    model, vocab = data["model"], data["model"].get("vocab")
    steps = [step for name in ("pre_tokenizer", "decoder") for step in _steps(data.get(name))]
    byte_level = [step for step in steps if step.get("type") == "ByteLevel"]
    prefixed = any(step.get("add_prefix_space") for step in _steps(data.get("pre_tokenizer")))
    affixed = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    if model.get("type") != "BPE" or len(byte_level) < 2 or prefixed or affixed or not vocab.keys() >= set(alphabet):
        return None
    sizes = np.zeros(max(*vocab.values(), *added.values(), 0) + 1, np.int64)
    sizes[list(vocab.values())] = list(map(len, vocab))
    sizes[list(added.values())] = [len(text.encode()) for text in added]
    return sizes


def _steps(stage: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if not stage:
        return []
    inner = [step for key in ("pretokenizers", "decoders") for step in stage.get(key, ())]
    return [stage, *(deeper for step in inner for deeper in _steps(step))]


def _starts(text: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Where tokens begin, in bytes, of offsets in characters."""
    starts = np.fromiter((start for start, _ in offsets), np.int64, len(offsets))
    if text.isascii():
        return starts
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    sizes = 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF)
    return np.append(0, np.cumsum(sizes))[starts]
