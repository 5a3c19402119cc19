"""What is kept of a long row, for every family: never a cut inside the template's own words."""

from datetime import date

import numpy as np
import pytest

from pipeline.fingerprint import corpus
from pipeline.fitting import FITS
from pipeline.records import Conversation, RenderedRow
from pipeline.rendering import render
from pipeline.targets import EXAMPLE
from renderers import FAMILIES, Tokenizer, create_renderer
from renderers.messages import Request
from renderers.rendered import encode

DAY = date(2025, 7, 1)
NOTHING = {"trace_id": "", "prompt_id": "", "window": 0, "format": ""}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A small vocabulary: the words of most templates are many tokens in it."""
    return Tokenizer.from_json((EXAMPLE / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"), name="example")


@pytest.mark.parametrize("family", FAMILIES)
def test_no_cut_falls_inside_the_words_of_a_template(family, tokenizer):
    renderer, compared = create_renderer(tokenizer, family), 0
    for number, request in enumerate(corpus()):
        told = Conversation(**NOTHING, id=str(number), messages=request.messages, tools=request.tools, date=DAY)
        (row,) = render([told], renderer)
        if isinstance(row, RenderedRow) and not request.generating:
            (whole,) = encode(renderer.streams(Request(told.answered, told.tools, today=DAY), "last"), tokenizer)
            assert np.array_equal(whole.ids, row.input_ids)
            compared += cuts(row, whole)
    assert compared > 50


def cuts(row: RenderedRow, whole) -> int:
    """How many ends were looked at."""
    limits = range(len(row.input_ids))
    kept = [s for fit in FITS.values() for limit in limits for part in fit(row, limit) for s in part.stretches]
    ends, begins = {stretch.end for stretch in kept}, {stretch.start for stretch in kept}
    for place in (ends | begins) - {0, len(row.input_ids)}:
        before, after = whole.owners[place - 1], whole.owners[place]
        assert before != after or not whole.segments[before].literal, whole.segments[before]
    return len(ends)
