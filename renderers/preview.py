"""A stream for human eyes: coloured by kind, what is trained bold and underlined, nothing invisible.

Text in a stream is hostile until proved otherwise. Terminal escapes, control characters, bidirectional overrides and
characters without a shape become visible glyphs in both writers, and HTML is escaped: nothing runs, nothing moves.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from renderers.masking import LossPolicy, RunColumns, loss_mask, trained_runs
from renderers.rendered import Rendered
from renderers.segments import Kind, Segment, Stream
from renderers.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text with one meaning and one fate."""

    text: str
    kind: Kind
    message: int | None = None
    trained: bool = False


COLOURS: dict[Kind, tuple[int, str]] = {
    Kind.SCAFFOLD: (90, "#767676"),
    Kind.TOOLS: (35, "#6a5d8c"),
    Kind.SYSTEM: (33, "#7d6608"),
    Kind.DEVELOPER: (93, "#8a5a1c"),
    Kind.USER: (34, "#00786b"),
    Kind.TOOL_RESULT: (36, "#4a6b8a"),
    Kind.REASONING: (95, "#a8328f"),
    Kind.ANSWER: (32, "#0b5bd0"),
    Kind.TOOL_CALL: (92, "#b84a00"),
    Kind.STOP: (31, "#1c1c1c"),
}
"""Of each kind: the terminal's colour (SGR) and HTML's. What is sampled differs for colour-blind eyes too."""

STYLE = "".join(
    [
        ".stream{white-space:pre-wrap;overflow-wrap:anywhere;background:#fff;color:#222;padding:1em;margin:0}",
        ".stream .trained{font-weight:bold;text-decoration:underline;background:#eef7ee}",
        *(f".stream .{kind}{{color:{colour}}}" for kind, (_, colour) in COLOURS.items()),
    ]
)
"""The CSS of `to_html`."""


def rendered_runs(rendered: Rendered, policy: LossPolicy) -> list[Run]:
    """A stream's runs, and what this policy trains of them. Text is the segments' own, told or not told in tokens."""
    trained = np.zeros(len(rendered.segments), bool)
    trained[rendered.owners[loss_mask(rendered, policy)]] = True
    return _runs(rendered.segments, trained.tolist())


def stream_runs(stream: Stream, policy: LossPolicy) -> list[Run]:
    """The same of a stream that nothing has encoded."""
    told = stream.segments
    columns = RunColumns(
        starts=range(len(told)),
        kinds=[segment.kind for segment in told],
        messages=[-1 if segment.message is None else segment.message for segment in told],
        trainable=stream.trainable,
        length=len(told),
        asked=stream.asked,
        weights=stream.weights,
    )
    return _runs(told, trained_runs(columns, policy))


def _runs(segments: Sequence[Segment], trained: Sequence[bool]) -> list[Run]:
    marked = zip(segments, trained, strict=True)
    alike = groupby(marked, lambda pair: (pair[0].kind, pair[0].message, pair[1]))
    runs = (Run("".join(s.text for s, _ in pairs), kind, message, learned) for (kind, message, learned), pairs in alike)
    return [run for run in runs if run.text]


def stored_runs(ids: np.ndarray, columns: RunColumns, policy: LossPolicy, tokenizer: Tokenizer) -> list[Run]:
    """The same of a stored row, whose text is read back from its ids."""
    ends = [*columns.starts[1:], columns.length]
    texts = [tokenizer.decode(ids[start:end]) for start, end in zip(columns.starts, ends, strict=True)]
    learned = trained_runs(columns, policy)
    told = zip(texts, columns.kinds, columns.messages, learned, strict=True)
    return [Run(text, Kind(kind), None if message < 0 else message, trained) for text, kind, message, trained in told]


def to_ansi(runs: Iterable[Run]) -> str:
    """For a terminal. Each line is styled on its own, so that pagers can cut it anywhere."""
    return "".join(_ansi(run) for run in runs)


def to_html(runs: Iterable[Run], *, style: bool = True) -> str:
    """An HTML fragment that needs nothing else; `style=False` leaves `STYLE` to the page."""
    sheet = f"<style>{STYLE}</style>" if style else ""
    return f'{sheet}<pre class="stream">{"".join(_html(run) for run in runs)}</pre>'


def legend() -> list[Run]:
    """What the colours mean: a run a kind, the sampled ones as if trained."""
    return [Run(f" {kind} ", kind, trained=kind.sampled) for kind in COLOURS]


def visible(text: str) -> str:
    """This text with a glyph for every character that would act rather than show; line breaks stay, after theirs."""
    return UNSEEN.sub(lambda found: _glyph(found[0]), text)


UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Control characters, line separators, bidirectional marks and overrides, characters without a shape of their own."""
PICTURES = {"\n": "⏎\n", "\t": "⇥\t", "\x7f": "␡"}


def _glyph(char: str) -> str:
    if char in PICTURES:
        return PICTURES[char]
    return chr(0x2400 + ord(char)) if char < " " else f"⟨U+{ord(char):04X}⟩"


def _ansi(run: Run) -> str:
    codes = f"1;4;{COLOURS[run.kind][0]}" if run.trained else str(COLOURS[run.kind][0])
    lines = visible(run.text).split("\n")
    return "\n".join(f"\x1b[{codes}m{line}\x1b[0m" if line else "" for line in lines)


def _html(run: Run) -> str:
    where = "the conversation" if run.message is None else f"message {run.message}"
    fate = "trained" if run.trained else "not trained"
    names = f"{run.kind} trained" if run.trained else run.kind
    return f'<span class="{names}" title="{run.kind}, {where}, {fate}">{html.escape(visible(run.text))}</span>'
