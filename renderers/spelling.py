"""What the pieces of a vocabulary stand for: of a byte-level one, read off its tokenizer.json without what encodes."""

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any, TypedDict

import msgspec
import numpy as np
import tokenizers

Json = Mapping[str, Any]
SHOWN = (*range(33, 127), *range(161, 173), *range(174, 256))
BYTES = {chr(byte): byte for byte in SHOWN}
BYTES |= {chr(256 + n): byte for n, byte in enumerate(byte for byte in range(256) if byte not in SHOWN)}
"""The characters by which byte-level vocabularies spell bytes."""
BYTE = re.compile("<0x[0-9A-F]{2}>")
"""How other vocabularies do."""


class _Model(TypedDict, total=False):
    type: str
    vocab: dict[str, int]
    continuing_subword_prefix: str | None
    end_of_word_suffix: str | None


class _Words(TypedDict, total=False):
    """What of a tokenizer.json says what ids stand for: merges, most of the rest, are passed over."""

    model: _Model
    added_tokens: list[dict[str, Any]] | None
    pre_tokenizer: dict[str, Any] | None
    decoder: dict[str, Any] | None


def words_of(tokenizer_json: str) -> Json | None:
    """What ids stand for, of a byte-level vocabulary; None of another, or of what is none."""
    try:
        data = msgspec.json.decode(tokenizer_json, type=_Words)
        return data if is_byte_level(data) else None
    except (msgspec.MsgspecError, UnicodeEncodeError, KeyError, TypeError, AttributeError):
        return None


def bytes_of(piece: str) -> bytes:
    """What a piece of a byte-level vocabulary stands for; nothing where it is not spelled in bytes."""
    try:
        return bytes([BYTES[sign] for sign in piece])
    except KeyError:
        return b""


def is_byte_level(data: Json) -> bool:
    """Whether the vocabulary writes one character a byte, wherever a token stands."""
    model, before, after = data["model"], _steps(data.get("pre_tokenizer")), _steps(data.get("decoder"))
    byte_level = all(any(step["type"] == "ByteLevel" for step in steps) for steps in (before, after))
    affixed = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    if not byte_level or affixed or model.get("type") != "BPE" or any(s.get("add_prefix_space") for s in before):
        return False
    return model["vocab"].keys() >= set(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def byte_lengths(data: Json, added: Mapping[str, int]) -> np.ndarray | None:
    """Of a byte-level vocabulary; in any other, lengths depend on where a token stands."""
    if not is_byte_level(data):
        return None
    vocab: Mapping[str, int] = data["model"]["vocab"]
    sizes = np.zeros(max(chain(vocab.values(), added.values())) + 1, np.int32)
    sizes[list(vocab.values())] = list(map(len, vocab))
    sizes[list(added.values())] = [len(text.encode()) for text in added]
    return sizes


def _steps(stage: Json | None) -> list[Json]:
    """The steps of a pre-tokenizer or decoder, sequences unrolled."""
    if not stage:
        return []
    inner = chain.from_iterable(stage.get(key, ()) for key in ("pretokenizers", "decoders"))
    return [stage, *chain.from_iterable(map(_steps, inner))]
