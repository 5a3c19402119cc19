"""The picture of a partition: small, and right at the pixels that can be told."""

import io
from collections.abc import Callable
from itertools import chain, repeat

import msgspec
import numpy as np
import pytest
from PIL import Image

from pipeline.auditing.case import KINDS, Case
from pipeline.auditing.picture import HEIGHT, LEGEND, WIDTH, glimpse, picture
from pipeline.records import RowSpan
from renderers.preview import COLOURS
from renderers.segments import SAMPLED, Kind

Make = Callable[..., Case]
BLIND = {
    "nobody": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""What is left of linear RGB, by Machado, Oliveira and Fernandes (2009)."""


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_trained_tokens_are_bright_and_told_ones_dim(case: Make):
    one = case()
    line = opened(picture([one]))[LEGEND + 2]
    middle = (np.arange(len(one.trained)) + 0.5) * WIDTH / len(one.trained)
    brightness = line[middle.astype(int)].sum(axis=1)
    assert brightness[one.trained].max() < brightness[~one.trained].min()


def test_stops_are_seen_however_long_the_row(case: Make):
    one = case()
    tokens = 200_000
    ids = np.full(tokens, 5, np.int32)
    spans = (RowSpan(0, Kind.USER, 1), RowSpan(100_000, Kind.STOP, 2), RowSpan(100_001, Kind.USER, 1))
    labels = np.full(tokens, -100, np.int32)
    labels[100_000] = 5
    rendered = msgspec.structs.replace(one.rendered, input_ids=ids, spans=spans)
    masked = msgspec.structs.replace(one.masked, labels=labels)
    line = opened(picture([Case(one.conversation, rendered, masked, one.tokenizer, one.target)]))[LEGEND + 2]
    colour = [int(COLOURS[Kind.STOP][1][k : k + 2], 16) for k in (1, 3, 5)]
    assert (line == colour).all(axis=1).sum() == 1


def noise(one: Case) -> Case:
    """The same with tokens of random kinds, trained at random: what is hardest to draw small."""
    random = np.random.default_rng(0)
    spans = tuple(RowSpan(k, KINDS[kind], 2) for k, kind in enumerate(random.integers(len(KINDS), size=4000)))
    ids = np.arange(4000, dtype=np.int32)
    rendered = msgspec.structs.replace(one.rendered, input_ids=ids, spans=spans)
    masked = msgspec.structs.replace(one.masked, labels=np.where(random.random(4000) < 0.3, ids, -100).astype(np.int32))
    return Case(one.conversation, rendered, masked, one.tokenizer, one.target)


@pytest.mark.parametrize("rows", [0, 1, 2, 64, 1000])
def test_the_picture_is_small_whatever_it_shows(case: Make, rows: int):
    data = picture(repeat(noise(case()), rows))
    height, width, _ = opened(data).shape
    assert (width, height) <= (WIDTH, HEIGHT)
    assert len(data) < 60_000


@pytest.mark.parametrize("rows", [0, 1, 64])
def test_a_glimpse_is_the_picture_as_far_as_there_is_room(case: Make, rows: int):
    whole = picture(repeat(case(), rows))
    seen = opened(glimpse(whole, room=700))
    assert (seen[0] == opened(whole)[LEGEND, 1::2]).all() if rows else len(seen) == 1
    assert len(glimpse(whole, room=700)) <= 700
    assert len(opened(glimpse(picture(repeat(noise(case()), 64)), room=700))) < HEIGHT - LEGEND


def test_an_empty_row_is_an_empty_line(case: Make):
    empty = case(rendered={"input_ids": np.array([], np.int32), "spans": ()}, trained=False)
    assert opened(picture(chain([empty], [case()]))).shape[1] == WIDTH


@pytest.mark.parametrize("eyes", BLIND.values(), ids=BLIND)
def test_what_the_model_writes_is_told_apart_by_colour_blind_eyes(eyes: np.ndarray):
    seen = [_lab(eyes @ _linear(COLOURS[kind][1])) for kind in sorted(SAMPLED)]
    apart = [np.linalg.norm(a - b) for k, a in enumerate(seen) for b in seen[:k]]
    assert min(apart) > 20


@pytest.mark.parametrize("kind", KINDS)
def test_every_colour_can_be_read_on_white(kind: Kind):
    luminance = _linear(COLOURS[kind][1]) @ (0.2126, 0.7152, 0.0722)
    assert 1.05 / (luminance + 0.05) > 4.5


def _linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _lab(rgb: np.ndarray) -> np.ndarray:
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb.clip(0, 1)
    x, y, z = np.cbrt(xyz / (0.9505, 1, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
