"""A vocabulary: text to ids, ids to text, and which of its tokens are control tokens.

Built from the text of `tokenizer.json` with the `tokenizers` library and nothing else: transformers' `tokenizer_class`
swaps the pre-tokenizer of some models (Qwen3.5: 409 of 600 strings change ids), and post-processors add tokens that no
template wrote.

Two engines share the work. The *plain* one has no control tokens, so that text which comes from a message can never
become one; it makes all ids. The *splitter* has nothing but control tokens: it finds them in a template's own words, by
the rules of `tokenizers` (longest first, stripping, normalization).
"""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
import tokenizers
from tokenizers.models import WordLevel

from renderers.engines import Engine, Flat
from renderers.errors import TokenizerError
from renderers.spelling import BYTE, Json, byte_lengths, bytes_of, words_of

SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""What a Jinja template may ask for."""
COMPOSES = {"type": "NFC"}
ASCII_STAYS = (None, COMPOSES, {"type": "Sequence", "normalizers": []})
"""Normalizers that change no ASCII text."""
GAP = "\0"
"""The splitter's word for text between control tokens."""


class Part(NamedTuple):
    """A stretch of text: a control token (`id`), or what lies between two."""

    text: str
    id: int | None = None


class HubTokenizer(Protocol):
    """What is read of a transformers fast tokenizer."""

    @property
    def backend_tokenizer(self) -> Any: ...
    @property
    def special_tokens_map(self) -> Any: ...


class Tokenizer:
    """A vocabulary, its control tokens, and the chat template that came with it. Immutable.

    One that is read `lazy`, for who has ids and wants their text, makes what encodes when somebody asks for it.
    """

    name: str
    chat_template: str | None
    added: Mapping[str, int]
    """Every added token. Some vocabularies add ordinary words too (Gemma 3: runs of newlines)."""
    special: frozenset[str]
    """Added tokens that are marked special."""
    control: Mapping[str, int]
    """Added tokens that only a template may write: those that plain text does not encode to. Where words of use outside
    templates are among them (Gemma 3: `<table>`), data has these in letters, and upstream in one token."""
    special_tokens: Mapping[str, str]
    """bos_token, eos_token, … for templates that ask."""
    sticky: bool
    """Whether some control token is read in more than its letters: in blanks beside it, in what normalizes to it."""
    nbytes: np.ndarray | None
    """Bytes of text that each id stands for, by id; None where that is not fixed (SentencePiece-like vocabularies)."""
    measures_ascii: bool
    """Whether `nbytes` adds up for all ASCII text."""
    fingerprint: str
    """Hash of the vocabulary, its added tokens and its special ones."""

    def __init__(
        self,
        data: Json,
        *,
        special_tokens: Mapping[str, str],
        chat_template: str | None = None,
        name: str = "",
        whole: Callable[[], Json] | None = None,
    ):
        """`data` is a parsed tokenizer.json, or its words, and `whole` gives all of it: see `from_json`, `from_hf`."""
        self.name, self.chat_template, self.special_tokens = name, chat_template, special_tokens
        tokens: list[Json] = data.get("added_tokens") or []
        self.added = {token["content"]: token["id"] for token in tokens}
        self.special = frozenset(token["content"] for token in tokens if token.get("special"))
        self._whole, self._words = whole, dict[int, str]()
        if whole:
            self._words = {token: piece for piece, token in data["model"]["vocab"].items()}
            self._words |= {token: text for text, token in self.added.items()}
        else:
            self._make(data, tokens)

    def __getattr__(self, name: str) -> Any:
        """What is not there of a lazy one: it is made now."""
        whole = self.__dict__.get("_whole")
        if whole is None or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self._whole, data = None, whole()
        self._make(data, data["added_tokens"])
        return getattr(self, name)

    def _make(self, data: Json, tokens: Sequence[Json]) -> None:
        """What encodes."""
        bare = {**data, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        spelled = json.dumps(bare, ensure_ascii=False)
        self.fingerprint = _digest(spelled, json.dumps([tokens, dict(self.special_tokens)]))
        self._plain = _engine(spelled)
        self.engine = Engine(self._plain)
        self.control = self._keep_words(tokens)
        self.sticky = any(_is_sticky(token, data) for token in tokens if token["content"] in self.control)
        self._splitter, self._split_ids = self._split_at(tokens)
        self._control_text = {token: text for text, token in self.control.items()}
        self.nbytes = byte_lengths(data, self.added)
        self._composes = data.get("normalizer") == COMPOSES
        self.measures_ascii = self.nbytes is not None and data.get("normalizer") in ASCII_STAYS

    @classmethod
    def from_json(
        cls,
        tokenizer_json: str,
        *,
        config: Json | None = None,
        chat_template: str | None = None,
        name: str = "",
        lazy: bool = False,
    ) -> "Tokenizer":
        """From the text of tokenizer.json, and the parsed tokenizer_config.json.

        The config may add tokens (`added_tokens_decoder`), names the special ones (a string, or a dict with `content`),
        and may hold the chat template. `lazy`: of a byte-level vocabulary, no more is read than what its ids stand for,
        until more is asked for. Raises TokenizerError where the text is no tokenizer.
        """
        config = config or {}

        def read(words: Json | None = None) -> Json:
            data = words or json.loads(tokenizer_json)
            added = _with_config(data.get("added_tokens") or [], config.get("added_tokens_decoder") or {})
            return {**data, "added_tokens": added}

        try:
            words = words_of(tokenizer_json) if lazy else None
            data = read(words)
            special = {key: _content(config[key]) for key in SPECIAL_NAMES if config.get(key)}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise TokenizerError(f"{name or 'this text'} is not a tokenizer.json: {error!r}") from error
        template = _default(config.get("chat_template")) if chat_template is None else chat_template
        whole = read if words else None
        return cls(data, special_tokens=special, chat_template=template, name=name, whole=whole)

    @classmethod
    def from_hf(cls, hf: HubTokenizer, *, name: str | None = None) -> "Tokenizer":
        """From a transformers fast tokenizer: its backend as it is, whatever its class did to it."""
        special = {key: str(value) for key, value in hf.special_tokens_map.items() if key in SPECIAL_NAMES and value}
        return cls(
            json.loads(hf.backend_tokenizer.to_str()),
            special_tokens=special,
            chat_template=_default(getattr(hf, "chat_template", None)),
            name=getattr(hf, "name_or_path", "") if name is None else name,
        )

    def encode_batch(self, texts: Sequence[str], *, added: bool = False) -> list[list[int]]:
        """Ids of each text. `added=False`: no control token comes out, whatever the text spells."""
        if not added:
            ids, openings = self.encode_flat(texts)
            return [row.tolist() for row in np.split(ids, openings[1:-1])] if texts else []
        parts = self.split_batch(texts)
        plain = iter(self.encode_batch([part.text for part in chain.from_iterable(parts) if part.id is None]))
        return [list(chain.from_iterable(next(plain) if p.id is None else (p.id,) for p in row)) for row in parts]

    def encode_flat(self, texts: Sequence[str]) -> Flat:
        """Ids of all texts end to end, and where each text's begin: one engine call, no control token comes out."""
        return self.engine.encode(texts)

    def measure_batch(self, texts: Sequence[str]) -> list[tuple[list[int], np.ndarray]]:
        """As `encode_batch`, with the byte of the text at which each token begins: slower, for any vocabulary."""
        encodings = self._plain.encode_batch(texts, add_special_tokens=False)
        return [(e.ids, _starts(text, e.offsets)) for text, e in zip(texts, encodings, strict=True)]

    def measurable(self, text: str) -> bool:
        """Whether `nbytes` of this text's tokens add up to its own bytes (a normalizer may change them)."""
        if self.nbytes is None:
            return False
        if (text.isascii() and self.measures_ascii) or self._plain.normalizer is None:
            return True
        if self._composes and unicodedata.is_normalized("NFC", text):
            return True
        return self._plain.normalizer.normalize_str(text) == text

    def split_batch(self, texts: Sequence[str]) -> list[list[Part]]:
        """Each text cut into control tokens and what lies between them."""
        encodings = self._splitter.encode_batch(texts, add_special_tokens=False)
        return [self._parts(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of these ids, control tokens included."""
        if self._whole:
            return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")
        row = np.fromiter(ids, np.int64)
        texts, at = [], 0
        for k in np.flatnonzero(np.isin(row, list(self._control_text))).tolist():
            texts += self._decode_plain(row[at:k]), self._control_text[int(row[k])]
            at = k + 1
        return "".join([*texts, self._decode_plain(row[at:])])

    def token_text(self, token: int) -> str:
        """The text of one id; a token that is part of a character reads as U+FFFD."""
        return self.decode([token])

    def token_bytes(self, token: int) -> bytes:
        """What one id stands for: bytes, which may be a part of a character. U+FFFD for an id that is none."""
        if self._whole:
            piece = self._words.get(token, "\ufffd")
            return piece.encode() if piece in self.added else bytes_of(piece) or piece.encode()
        if token in self._control_text:
            return self._control_text[token].encode()
        piece = self._plain.id_to_token(token) if 0 <= token < 1 << 32 else None
        if piece is None:
            return "\ufffd".encode()
        if self.nbytes is not None and (said := bytes_of(piece)):
            return said
        if self.nbytes is None and BYTE.fullmatch(piece):
            return bytes.fromhex(piece[3:5])
        return self._decode_plain(np.array([token])).encode()

    def _decode_plain(self, row: np.ndarray) -> str:
        return self._plain.decode(row.tolist(), skip_special_tokens=False) if len(row) else ""

    def _keep_words(self, tokens: Sequence[Json]) -> Mapping[str, int]:
        """Give the plain engine the added tokens that plain text encodes to anyway; the rest are control tokens."""
        spelled = self.encode_batch([token["content"] for token in tokens])
        words = {
            token["content"]
            for token, ids in zip(tokens, spelled, strict=True)
            if ids == [token["id"]] and not token.get("special")
        }
        self._plain.add_tokens([_added_token(token) for token in tokens if token["content"] in words])
        return {text: token for text, token in self.added.items() if text not in words}

    def _split_at(self, tokens: Sequence[Json]) -> tuple[tokenizers.Tokenizer, Mapping[int, int]]:
        splitter = tokenizers.Tokenizer(WordLevel({GAP: 0}, unk_token=GAP))
        if self._plain.normalizer is not None:
            splitter.normalizer = self._plain.normalizer  # pyright: ignore[reportAttributeAccessIssue]
        splitter.add_tokens([_added_token(token) for token in tokens if token["content"] in self.control])
        theirs = splitter.get_added_tokens_decoder()
        return splitter, {key: self.control[token.content] for key, token in theirs.items()}

    def _parts(self, text: str, encoding: tokenizers.Encoding) -> list[Part]:
        parts, at = [], 0
        for key, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if key not in self._split_ids:
                continue
            parts += Part(text[at:start]), Part(text[start:end], self._split_ids[key])
            at = end
        return [part for part in (*parts, Part(text[at:])) if part.text]


def _engine(spelled: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(spelled)
    except Exception as error:  # the bindings raise bare Exception
        raise TokenizerError(f"not a tokenizer.json: {error}") from error


def _digest(*texts: str) -> str:
    found = hashlib.sha256()
    for text in texts:
        found.update(text.encode("utf-8", "surrogatepass"))
    return found.hexdigest()[:16]


def _content(token: str | Json) -> str:
    return token if isinstance(token, str) else token["content"]


def _default(template: Any) -> str | None:
    """The chat template; of several named ones, `default`."""
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}
    return template.get("default") if isinstance(template, dict) else template


def _with_config(tokens: list[Json], named: Mapping[str, Json]) -> list[Json]:
    """Added tokens of the vocabulary, then those that only the config has."""
    known = {token["content"] for token in tokens}
    later = sorted((int(key), token) for key, token in named.items() if token["content"] not in known)
    return [*tokens, *({**token, "id": key} for key, token in later)]


def _added_token(token: Json) -> tokenizers.AddedToken:
    flags = {key: bool(token.get(key)) for key in ("single_word", "lstrip", "rstrip")}
    return tokenizers.AddedToken(
        token["content"], normalized=bool(token.get("normalized", not token.get("special"))), **flags
    )


def _is_sticky(token: Json, data: Json) -> bool:
    changed = data.get("normalizer") not in (None, {"type": "Sequence", "normalizers": []})
    normalized = changed and token.get("normalized", not token.get("special"))
    return normalized or any(token.get(flag) for flag in ("single_word", "lstrip", "rstrip"))


def _starts(text: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Offsets in characters -> the byte at which each token begins, int64."""
    starts = np.fromiter((start for start, _ in offsets), np.int64, len(offsets))
    if text.isascii():
        return starts
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    sizes = 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF)
    return np.append(0, np.cumsum(sizes))[starts]
