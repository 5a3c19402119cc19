"""Text to ids, fast: `gigatoken` where it proves itself, else `tokenizers`; the ids are the same.

`gigatoken` takes a sixtieth of the time and is young, so it is never trusted: it must give the ids of `tokenizers` on a
hard corpus before it is used, and on a sample of all that it is given while it is. Loading it takes as long as
`tokenizers` takes for a megabyte of text, so that is when it is loaded.
"""

import hashlib
import random
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import tokenizers

from renderers.errors import EnginesDiffer

if TYPE_CHECKING:
    import gigatoken

PAYS = 1_000_000
"""Bytes that `tokenizers` encodes while `gigatoken` loads."""
RENEWED = 500_000_000
"""Bytes after which `gigatoken` is loaded anew: its cache of words has no bound."""
SAMPLED = 1_000
"""One token in so many is compared."""
HARD = (
    [chr(code) for code in range(32, 127)],
    [" ", "  ", "\n", "\n\n", "\r\n", "\r", *"\t\v\f\x1c\x85\xa0\u1680\u2028\u200b\u3000"],
    [*"0123456789\u0661\xb2\u2160\uff11\u0be7\U0001d7d8"],
    [chr(code) for code in (*range(0xC0, 0x250), *range(0x300, 0x330), 0x483, 0x20DD, 0x3099)],
    [chr(code) for code in (*range(0x4E00, 0x4F00), *range(0x3041, 0x3097), *range(0xAC00, 0xAC40), 0x1100, 0xF900)],
    [chr(code) for code in (*range(0x600, 0x700), *range(0x900, 0x980), *range(0xE00, 0xE3B))],
    ["\U0001f642", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\U0001f44d\U0001f3fd"],
    ["'s", "'S", "'RE", "'ve", "'Ll", "'x", "\u017f", "'\u017f", "\u212a", "I'M", "DON'T", "camelCase", "HTTPServer"],
    ["<|im_start|>", "<|im_end|>", "<think>", "</tool_call>", "<|eot_id|>", "[INST]", "<|", "|>", "<bos>", "\u2581"],
    ["def ", "self.", "    ", "\t\t", '{"', '": ', "\\n", "://", "__", "->", "/*", "1e-05", ");\n", "}\n\n", "..."],
    [*"\0\x01\x7f\xad\ufeff\ufffd\ufffe\ue000\U000e0041\U0010ffff\u0378\u0344", "\u1e9b\u0323"],
)
"""What tokenizers stumble over, sort by sort."""

Flat = tuple[np.ndarray, np.ndarray]
"""Ids of all texts end to end, int32; where each text's begin, and the end, int64."""
CUT = b"\0"
NO_TEXT = b"\xff"
"""No text holds this byte; but then, no engine cuts there."""


class Texts(Sequence[str]):
    """Texts end to end as bytes, each with a byte after it that none of them holds: `gigatoken` takes them so, without
    the interpreter. A `str` is made when somebody looks at one."""

    def __init__(self, line: bytes, after: bytes = CUT):
        self.line, self.after = line, after

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Texts":
        if isinstance(texts, Texts):
            return texts
        told = [text.encode() for text in texts]
        after = NO_TEXT if any(CUT in one for one in told) else CUT
        return cls(b"".join([one + after for one in told]), after)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        k = range(len(self))[index]
        return self.line[self.ends[k - 1] + 1 if k else 0 : self.ends[k]].decode()

    @property
    def octets(self) -> np.ndarray:
        return np.frombuffer(self.line, np.uint8)

    @cached_property
    def ends(self) -> np.ndarray:
        return np.flatnonzero(self.octets == self.after[0])

    @property
    def begins(self) -> np.ndarray:
        return np.append(0, self.ends + 1)[:-1]

    @property
    def sizes(self) -> np.ndarray:
        """Bytes of each."""
        return self.ends - self.begins

    @property
    def ascii(self) -> np.ndarray:
        """Whether each is."""
        others = np.flatnonzero(self.octets > 0x7F)
        return np.searchsorted(others, self.begins) == np.searchsorted(others, self.ends)


class Engine:
    """A vocabulary without control tokens."""

    def __init__(self, plain: tokenizers.Tokenizer):
        self.plain = plain
        self._fast: gigatoken.Tokenizer | None = None
        self._loads_at = PAYS
        self._asked = self._encoded = self._compared = 0
        self._dice = random.Random(0)

    def __reduce__(self) -> tuple[type["Engine"], tuple[tokenizers.Tokenizer]]:
        """Another process loads `gigatoken` itself, which does not travel."""
        return Engine, (self.plain,)

    def encode(self, texts: Sequence[str]) -> Flat:
        """Raises EnginesDiffer where the two engines differ."""
        texts = Texts.of(texts)
        self._asked += len(texts.line)
        if self._asked > self._loads_at:
            self.load()
        if self._fast is None:
            return encode_plainly(self.plain, texts)
        ids, openings = encode_fast(self._fast, texts)
        self._encoded += len(ids)
        while texts and self._compared * SAMPLED <= self._encoded:
            self._compare(self._dice.randrange(len(texts)), texts, ids, openings)
        return ids, openings

    def load(self) -> bool:
        """Load `gigatoken`, or load it anew. False where it did not prove itself."""
        self._fast = None  # or there would be two of them for a moment
        self._fast, self._loads_at, self._asked = proven(self.plain), RENEWED, 0
        return self._fast is not None

    def _compare(self, k: int, texts: Sequence[str], ids: np.ndarray, openings: np.ndarray) -> None:
        upstream = self.plain.encode(texts[k], add_special_tokens=False).ids
        if upstream != ids[openings[k] : openings[k + 1]].tolist():
            raise EnginesDiffer(f"gigatoken and tokenizers differ on {texts[k]!r}: nothing that it encoded can be used")
        self._compared += len(upstream) + 1


def encode_plainly(plain: tokenizers.Tokenizer, texts: Sequence[str]) -> Flat:
    """The ids of `tokenizers`."""
    told = [encoding.ids for encoding in plain.encode_batch_fast(list(texts), add_special_tokens=False)]
    openings = np.append(0, np.cumsum(np.fromiter(map(len, told), np.int64, len(told))))
    return np.fromiter(chain.from_iterable(told), np.int32, openings[-1]), openings


def encode_fast(fast: "gigatoken.Tokenizer", texts: Sequence[str]) -> Flat:
    """The ids of `gigatoken`, in one thread: many threads on one tokenizer only wait for each other."""
    import gigatoken  # most processes never encode enough to want it

    texts = Texts.of(texts)
    if texts.after == NO_TEXT:
        return _flat(fast.encode_batch(list(texts), parallel=False))
    ids, openings = _flat(fast.encode_batch(gigatoken.BytesSource(texts.line, texts.after), parallel=False))
    return ids, openings[np.append(0, np.cumsum(texts.sizes > 0))]  # of empty ones it says nothing


def _flat(told: Any) -> Flat:
    return np.asarray(told.layout.content.data).view(np.int32), np.asarray(told.layout.offsets.data)


def proven(plain: tokenizers.Tokenizer) -> "gigatoken.Tokenizer | None":
    """`gigatoken` for this vocabulary, if it loads it and gives its ids on hard texts; asked once a process."""
    import gigatoken

    spelled = plain.to_str()
    key = hashlib.sha256(spelled.encode()).hexdigest()
    if not PROVEN.get(key, True):
        return None
    try:
        fast = gigatoken.Tokenizer.from_json(spelled)
    except (ValueError, RuntimeError):  # a vocabulary of a make that it does not know
        PROVEN[key] = False
        return None
    if key not in PROVEN:
        PROVEN[key] = all(_agree(fast, plain, [t for t in hard_texts() if ("\0" in t) is cut]) for cut in (False, True))
    return fast if PROVEN[key] else None


def _agree(fast: "gigatoken.Tokenizer", plain: tokenizers.Tokenizer, texts: Sequence[str]) -> bool:
    return all(map(np.array_equal, encode_fast(fast, texts), encode_plainly(plain, texts)))


PROVEN: dict[str, bool] = {}
"""Whether `gigatoken` has the ids of `tokenizers`, by the hash of a vocabulary."""


def hard_texts() -> list[str]:
    """The same ones every time: sorts mixed at random, any code points, long runs."""
    dice = random.Random(11)
    mixed = [_mixed(dice.sample(HARD, 3), dice) for _ in range(600)]
    points = [[dice.randrange(1, 0x110000) for _ in range(20)] for _ in range(60)]
    anything = ["".join(chr(p) for p in row if not 0xD800 <= p < 0xE000) for row in points]
    runs = [dice.choice(sort) * dice.randrange(30, 300) for sort in HARD for _ in range(4)]
    long = ["".join(dice.choices("etaoinshrdlucm", k=400)), "".join(dice.choices("0123456789abcdef", k=400)), ""]
    return [*mixed, *anything, *runs, *long]


def _mixed(sorts: Sequence[Sequence[str]], dice: random.Random) -> str:
    return "".join(dice.choice(dice.choice(sorts)) for _ in range(dice.randrange(1, 40)))
