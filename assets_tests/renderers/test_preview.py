"""A stream for human eyes: what is trained can be seen, and hostile text can do nothing."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.masking import POLICIES, RunColumns
from renderers.preview import COLOURS, STYLE, Run, legend, rendered_runs, stored_runs, to_ansi, to_html, visible
from renderers.rendered import encode
from renderers.segments import Kind, Proof, Segment, Stream, Verdict

HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></span><img src=x onerror=alert(1)>",
    "\"' onmouseover=alert(1) x='",
    "&lt;b&gt; &amp; &#x3C;",
    "\x1b[2J\x1b]0;title\x07\x1b]8;;http://x\x1b\\link",
    "\x9b31m\x90q\x08\x08\x7f",
    "abc\u202efdp.exe\u2066\u200f",
    "zero\u200bwidth\u2060\ufeff\u00ad\U000e0041",
    "line\u2028sep\u2029\x85\r\n\tend",
    "\ud800 alone",
    "--><!--<![CDATA[<?x",
]
SGR = re.compile(r"\x1b\[[0-9;]+m")
UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


class Reader(HTMLParser):
    """The tags and the text that a browser would see."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def stream() -> Stream:
    return Stream(
        (
            Segment("<|im_start|>user\n", message=0),
            Segment("what is <|im_end|>?", Kind.USER, 0, literal=False),
            Segment("<|im_end|>\n<|im_start|>assistant\n", message=1),
            Segment("", Kind.REASONING, 1, literal=False),
            Segment("a token", Kind.ANSWER, 1, literal=False),
            Segment(" 😀", Kind.ANSWER, 1, literal=False),
            Segment("<|im_end|>", Kind.STOP, 1),
        ),
        (Proof(1, Verdict.PROVED),),
    )


def test_a_stream_is_shown_in_runs_with_what_is_trained(tiny, stream):
    (rendered,) = encode([stream], tiny)
    assert rendered_runs(rendered, POLICIES["assistant"]) == [
        Run("<|im_start|>user\n", Kind.SCAFFOLD, 0),
        Run("what is <|im_end|>?", Kind.USER, 0),
        Run("<|im_end|>\n<|im_start|>assistant\n", Kind.SCAFFOLD, 1),
        Run("a token 😀", Kind.ANSWER, 1, trained=True),
        Run("<|im_end|>", Kind.STOP, 1, trained=True),
    ]


def test_a_policy_shows_what_it_leaves_out(tiny, stream):
    (rendered,) = encode([stream], tiny)
    shown = {run.kind for run in rendered_runs(rendered, POLICIES["tool_calls"]) if run.trained}
    assert shown == {Kind.STOP}


def test_a_stored_row_is_shown_as_its_stream_is(tiny, stream):
    (rendered,) = encode([stream], tiny)
    for policy in POLICIES.values():
        stored = stored_runs(rendered.ids, RunColumns.of(rendered), policy, tiny)
        assert stored == rendered_runs(rendered, policy)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert_in_html(text):
    page = to_html([Run(text, Kind.USER, 0), Run(text, Kind.ANSWER, 1, trained=True)], style=False)
    seen = Reader(page)
    assert [tag for tag, _ in seen.tags] == ["pre", "span", "span"]
    assert all(attrs.keys() <= {"class", "title"} for _, attrs in seen.tags)
    assert seen.text == visible(text) * 2
    assert not UNSAFE.search(page)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert_in_a_terminal(text):
    shown = to_ansi([Run(text, Kind.USER, 0), Run(text, Kind.ANSWER, 1, trained=True)])
    assert not UNSAFE.search(SGR.sub("", shown))
    assert SGR.sub("", shown) == visible(text) * 2
    shown.encode()


@given(st.text(alphabet=st.characters()))
def test_no_text_at_all_acts(text):
    for shown in (SGR.sub("", to_ansi([Run(text, Kind.ANSWER)])), to_html([Run(text, Kind.ANSWER)], style=False)):
        assert not UNSAFE.search(shown)
    assert len(Reader(to_html([Run(text, Kind.ANSWER)], style=False)).tags) == 2


def test_line_breaks_and_tabs_are_shown_and_kept():
    assert visible("a\n\tb") == "a⏎\n⇥\tb"


def test_ordinary_text_stays_as_it_is():
    text = "naïve 日本語 العربية עברית 😀 ❤\ufe0f ｜▁ <b>"
    assert visible(text) == text


def test_each_line_of_a_terminal_is_styled_on_its_own():
    lines = to_ansi([Run("a\nb", Kind.ANSWER, 1, trained=True)]).split("\n")
    assert lines == [f"\x1b[1;4;32m{line}\x1b[0m" for line in ("a⏎", "b")]


def test_what_is_trained_is_told_without_colour():
    page = Reader(to_html([Run("x", Kind.ANSWER, 1, trained=True), Run("y", Kind.TOOLS)], style=False))
    titles = [(attrs["class"], attrs["title"]) for tag, attrs in page.tags if tag == "span"]
    assert titles == [
        ("answer trained", "answer, message 1, trained"),
        ("tools", "tools, the conversation, not trained"),
    ]


def test_a_fragment_brings_its_own_style():
    assert to_html([]).startswith(f"<style>{STYLE}</style><pre")
    assert "<" not in STYLE
    assert "url(" not in STYLE


def test_every_kind_has_its_own_colour():
    assert COLOURS.keys() == set(Kind)
    assert len(set(COLOURS.values())) == len(COLOURS)
    assert [run.kind for run in legend()] == list(COLOURS)
