"""Control tokens as single characters that no text can hold: so text shows where they really stand."""

from bisect import bisect_left
from codecs import getincrementaldecoder
from collections.abc import Iterable

from renderers.patterns import CONTROL, holds_control
from renderers.tokenizer import Tokenizer

FIRST = 0xD800
"""Where lone surrogates begin."""


class Disguise:
    """The control tokens that a template writes, each as a character of its own; others are text, as spelled."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.characters, self.spelled = dict[int, str](), dict[int, str]()
        """By id; and how each is spelled, by its code point."""
        self.known = dict[int, str | bytes]()
        """What ids say, as far as anybody asked: bytes where that is but a part of a character."""

    def hide(self, words: str) -> str:
        """Words of the template, with every control token that they spell as its character."""
        (parts,) = self.tokenizer.split_batch([words])
        return "".join(part.text if part.id is None else self.character(part.id) for part in parts)

    def character(self, token: int) -> str:
        if token not in self.characters:
            code = FIRST + len(self.characters)
            self.characters[token] = self.known[token] = chr(code)
            self.spelled[code] = self.tokenizer.token_text(token)
        return self.characters[token]

    def spot(self, text: str) -> str:
        """Text in which whatever spells one of the tokens hidden so far is taken for it."""
        (parts,) = self.tokenizer.split_batch([CONTROL.sub("\ufffd", text)])
        return "".join(part.text if part.id is None else self.characters.get(part.id, part.text) for part in parts)

    def show(self, text: str) -> str:
        """Text with every control token spelled again."""
        return text.translate(self.spelled) if holds_control(text) else text

    def said(self, token: int) -> str | bytes:
        """What an id says: a character for a control token of the template; bytes for a part of a character."""
        if token not in self.known:
            said = self.tokenizer.token_bytes(token)
            try:
                self.known[token] = said.decode()
            except UnicodeDecodeError:
                self.known[token] = said
        return self.known[token]


class Ear:
    """Ids heard one after the other, as text. A character that is told in several tokens is heard with the last."""

    def __init__(self, disguise: Disguise, length: int):
        """`length`: of the text that stands before."""
        self.disguise, self.length = disguise, length
        self.decoder = getincrementaldecoder("utf-8")("replace")
        self.starts = list[int]()
        """The character at which each token begins."""

    def hear(self, ids: Iterable[int]) -> str:
        """The text of more ids, as far as its characters are complete."""
        heard, known, partial = list[str](), self.disguise.known, bool(self.decoder.getstate()[0])
        for token in ids:
            said = known[token] if token in known else self.disguise.said(token)
            if partial and isinstance(said, str):
                heard.append(self.end())
            self.starts.append(self.length)
            if isinstance(said, bytes):
                said = self.decoder.decode(said)
                partial = bool(self.decoder.getstate()[0])
            else:
                partial = False
            self.length += len(said)
            heard.append(said)
        return "".join(heard)

    def end(self) -> str:
        """What is left of a character that never ended."""
        rest = self.decoder.decode(b"", final=True)
        self.decoder.reset()
        self.length += len(rest)
        return rest

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """The tokens in which these characters lie, half open."""
        first = bisect_left(self.starts, begin)
        inside = first == len(self.starts) or self.starts[first] > begin
        return max(first - inside, 0), bisect_left(self.starts, end)
