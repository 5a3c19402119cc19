"""A partition at a glance: one line a row, one colour a kind, what is trained bright and what was told dim."""

import io
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from pipeline.auditing.case import KINDS, WRITTEN, Case
from renderers.preview import COLOURS

if TYPE_CHECKING:
    from PIL import ImageDraw

WIDTH, HEIGHT, LEGEND = 1200, 400, 20
"""Pixels; the height holds the legend."""
MOST = 64
"""Rows: more would be lines too thin to see, and more bytes than a page of metadata should hold."""
PAPER = np.array([251, 250, 247])
INK = (95, 100, 107)


def _palette() -> np.ndarray:
    """uint8, (told kinds, trained kinds, paper; 3)."""
    bright = np.array(
        [[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for _, colour in map(COLOURS.__getitem__, KINDS)]
    )
    dim = PAPER + (bright - PAPER) * 0.28
    return np.concatenate([dim, bright, PAPER[None]]).round().astype(np.uint8)


def picture(cases: Iterable[Case], *, most: int = MOST) -> bytes:
    """A PNG of the first rows, at most 1200 × 400; the longest row fills the width."""
    from PIL import Image, ImageDraw  # which the graph need not wait for

    lines = [_codes(case) for case in islice(cases, most)]
    longest = max(map(len, lines), default=1)
    thick = max(1, min(14, (HEIGHT - LEGEND) // max(len(lines), 1)))
    paper = 2 * len(KINDS)
    pixels = np.full((LEGEND + thick * len(lines), WIDTH), paper, np.uint8)
    for k, line in enumerate(lines):
        top = LEGEND + thick * k
        drawn = _squeeze(line, max(1, round(WIDTH * len(line) / longest)))
        pixels[top : top + max(1, thick - 1), : len(drawn)] = drawn
    image = Image.fromarray(pixels)
    image.putpalette(_palette().tobytes() + bytes(INK))
    _draw_legend(ImageDraw.Draw(image), ink=paper + 1)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def glimpse(image: bytes, *, room: int) -> bytes:
    """A picture without its legend, half as wide, and of as many rows as fit into so many bytes (lossless WebP)."""
    from PIL import Image

    drawn = Image.open(io.BytesIO(image)).convert("RGB")
    width, height = WIDTH // 2, max(1, drawn.height - LEGEND)
    drawn = drawn.crop((0, LEGEND, WIDTH, LEGEND + height)).resize((width, height), Image.Resampling.NEAREST)
    while True:
        file = io.BytesIO()
        drawn.crop((0, 0, width, height)).save(file, "WEBP", lossless=True, method=6)
        if file.tell() <= room or height == 1:
            return file.getvalue()
        height = max(1, height * 2 // 3)


def _codes(case: Case) -> np.ndarray:
    """uint8, (tokens,): the palette's entry of each token."""
    return (case.kinds + len(KINDS) * case.trained).astype(np.uint8)


def _squeeze(line: np.ndarray, width: int) -> np.ndarray:
    """A line of so many pixels. Where tokens share one, the trained is seen, and of these the stop."""
    if not len(line):
        return line
    starts = np.arange(width) * len(line) // width
    return np.maximum.reduceat(line, starts)


def _draw_legend(draw: "ImageDraw.ImageDraw", *, ink: int) -> None:
    """Written kinds as they look when trained, told ones as they always look."""
    x = 4.0
    for k, kind in enumerate(KINDS):
        draw.rectangle((x, 5, x + 10, 15), fill=k + len(KINDS) * int(WRITTEN[k]), outline=ink)
        draw.text((x + 15, 4), kind, fill=ink)
        x += 15 + draw.textlength(kind) + 16
    draw.text((x + 8, 4), "dim: told; bright: trained", fill=ink)
