"""The token page shows everything and does nothing."""

import io
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import sync_playwright

from pipeline.auditing import Summary, inspect
from pipeline.auditing.case import Case
from pipeline.auditing.page import write_page
from pipeline.auditing.picture import picture
from pipeline.auditing.stretches import Gap, blocks, tokens
from pipeline.records import Conversation
from renderers.messages import Message

Make = Callable[..., Case]
HOSTILE = {
    "script": "<script>alert(1)</script>",
    "style": "</style></pre></details><script>x()</script>",
    "attribute": "\"><img src=x onerror=alert(1)> ' onload='x",
    "comment": "<!-- --><![CDATA[ ]]> <base href=//evil>",
    "entity": "&lt;script&gt; &#60;b&#62; &amp;",
    "meta": '<meta http-equiv="refresh" content="0;url=//evil"><link rel=stylesheet href=//evil>',
    "ansi": "\x1b[2J\x1b]0;owned\x07 \x9b31m",
    "bidi": "a\u202eb\u2066c\u200fd\u061ce",
    "separators": "a\u2028b\u2029c\x85d\x0be",
    "invisible": "a\u200bb\ufeffc\u00add\U000e0041",
    "nul": "a\x00b\x7f",
    "template": "{{7*7}} {% raw %} {0} %s $x ${y}",
}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TAGS = re.compile(
    "html|head|meta|title|style|body|h1|h2|p|dl|dt|dd|div|small|img|table|tr|th|td|span|b|bdi|br|pre|a|label|input|"
    "details|summary|code|footer"
)


class Page(HTMLParser):
    """What a browser would find: tags, attributes, and whether they are nested well."""

    def __init__(self, written: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(written)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if self.open and self.open[-1] != "style" else ""

    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.tags if "id" in attrs]

    def links(self) -> list[str]:
        return [attrs["href"] or "" for tag, attrs in self.tags if tag == "a"]


def page(cases: Sequence[Case], **limits: int) -> tuple[str, Page]:
    summary, findings = Summary(), []
    for case in cases:
        found = tuple(inspect(case))
        summary.add(case, found)
        findings += found
    file = io.StringIO()
    write_page(file, cases, findings, summary, title="masked/x <b>", picture=picture(cases), **limits)
    return file.getvalue(), Page(file.getvalue())


def renamed(case: Case, name: str) -> Case:
    rendered = msgspec.structs.replace(case.rendered, id=name, conversation_id=name)
    return Case(case.conversation, rendered, case.masked, case.tokenizer, case.target)


def tampered(conversation: Conversation, text: str) -> Conversation:
    """This text in every place that a trace fills."""

    def spoil(message: Message) -> Message:
        calls = tuple(msgspec.structs.replace(call, name=text) for call in message.tool_calls)
        return message.but(content=text, reasoning=message.reasoning and text, tool_calls=calls)

    return msgspec.structs.replace(
        conversation, id=text, messages=tuple(map(spoil, conversation.messages)), tools=({"name": text},)
    )


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_stays_inert(case: Make, conversation: Conversation, text: str):
    spoiled = case(tampered(conversation, text), verdicts={2: text}, trainable=(2, 4))
    written, found = page([renamed(spoiled, text)])
    assert all(TAGS.fullmatch(tag) for tag, _ in found.tags)
    assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on")]
    assert not any(ord(char) < 32 and char != "\n" for char in written)
    assert not set(written) & set("\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200f\u061c\u200b\ufeff\u00ad\U000e0041")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_a_browser_opens_it_offline_and_hostile_text_is_only_read(
    case: Make, conversation: Conversation, tmp_path: Path
):
    rows = [
        renamed(case(tampered(conversation, text), verdicts={2: text}, trainable=(2, 4)), f"{name} {text}")
        for name, text in HOSTILE.items()
    ]
    place = tmp_path / "tokens.html"
    place.write_text(page(rows)[0], encoding="utf-8")
    asked, done = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_context(offline=True).new_page()
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("dialog", lambda dialog: (done.append(dialog.message), dialog.dismiss()))
        opened.on("pageerror", lambda error: done.append(str(error)))
        opened.on("console", lambda said: done.append(said.text))
        opened.goto(place.as_uri())
        opened.evaluate("document.querySelectorAll('details').forEach(closed => { closed.open = true })")
        opened.mouse.wheel(0, 10_000)
        opened.wait_for_timeout(500)
        shown = opened.locator("body").inner_text()
        scripts = opened.evaluate("document.scripts.length + document.querySelectorAll('link, base, iframe').length")
        drawn = opened.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        at = opened.url
        browser.close()
    assert at == place.as_uri()
    assert [url for url in asked if not url.startswith("data:")] == [at]
    assert (scripts, drawn, done) == (0, True, [])
    assert all(told in shown for told in ("<script>alert(1)</script>", "onerror=alert(1)", "&lt;script&gt;"))


def test_the_page_asks_for_nothing(case: Make):
    written, found = page([case()])
    policy = next(attrs["content"] or "" for tag, attrs in found.tags if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    sources = [attrs.get("src") or attrs.get("href") or "" for _, attrs in found.tags if {"src", "href"} & attrs.keys()]
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert not any(word in written for word in ("<script", "@import", "url(", "http://", "https://"))


def test_every_token_says_what_it_is(case: Make):
    one = case()
    _, found = page([one])
    titles = [attrs["title"] or "" for tag, attrs in found.tags if tag == "bdi"]
    shown = [sum(stretch.shown for stretch in stretches) for _, stretches in blocks(one)]
    assert len(titles) == sum(shown)
    assert sum(title.endswith(", trained") for title in titles) == one.trained.sum()
    stop = one.tokenizer.added["<|im_end|>"]
    assert titles.count(f"{stop} stop, trained") == 2


def test_the_text_of_a_row_can_be_read(case: Make, conversation: Conversation):
    told = conversation.messages[1].but(content="Zwölf 🦊 boxes")
    said = msgspec.structs.replace(conversation, messages=(conversation.messages[0], told, *conversation.messages[2:]))
    _, found = page([case(said)])
    assert "Zwölf 🦊 boxes" in found.text
    assert "It passes now: the loop ran once too often." in found.text
    fox = [attrs["title"] for tag, attrs in found.tags if tag == "bdi" and "+" in (attrs["title"] or "")]
    assert [title and title.count("+") for title in fox] == [1, 3]


def test_every_turn_shows_its_verdict(case: Make):
    _, found = page([case(verdicts={2: "history rewritten"})])
    assert "✗ history rewritten" in found.text
    assert "✓ proved" in found.text


def test_findings_lead_to_their_rows(case: Make):
    rows = [renamed(case(), "good"), renamed(case(verdicts={2: "history rewritten"}, trainable=(2, 4)), "bad row/1")]
    _, found = page(rows)
    assert "this turn is trained and not proved: history rewritten" in found.text
    assert found.links()
    assert {link.removeprefix("#") for link in found.links()} <= set(found.ids())


def test_a_long_partition_shows_its_flawed_rows_and_says_what_is_left_out(case: Make):
    rows = [renamed(case(), f"good-{k}") for k in range(6)]
    rows.insert(5, renamed(case(verdicts={2: "history rewritten"}, trainable=(2, 4)), "bad"))
    rows.append(renamed(case(verdicts={2: "history rewritten"}), "warned"))
    _, found = page(rows, most_rows=3)
    assert [name for name in found.ids() if name.startswith("row-")] == [
        "row-good-0",
        "row-good-1",
        "row-bad",
        "row-warned",
    ]
    assert "3 of 8 rows are shown: those with errors, and the first others." in found.text
    assert "Findings also speak of rows that are not shown: warned" in found.text


def test_a_page_is_read_and_written_row_by_row(case: Make):
    rows = [renamed(case(), f"row-{k}") for k in range(10)]
    summary, file, at = Summary(), io.StringIO(), []

    def watched() -> Iterator[Case]:
        for row in rows:
            at.append(file.tell())
            yield row

    write_page(file, watched(), [], summary, title="x", most_rows=4)
    assert len(at) == 5
    assert at[1] < at[2] < at[3] < at[4]


def test_room_is_counted_in_tokens_too(case: Make):
    rows = [renamed(case(), f"row-{k}") for k in range(10)]
    _, found = page(rows, most_tokens=1000)
    assert "2 of 10 rows are shown" in found.text


def test_long_stretches_are_shortened_and_say_so(case: Make, conversation: Conversation):
    long = conversation.messages[1].but(content="word " * 1000)
    said = msgspec.structs.replace(conversation, messages=(conversation.messages[0], long, *conversation.messages[2:]))
    one = case(said)
    gaps = [p.tokens for _, group in blocks(one) for s in group for p in tokens(one, s) if isinstance(p, Gap)]
    _, found = page([one])
    assert 5000 - 240 in gaps
    assert f"… {5000 - 240:,} tokens left out …" in found.text


def test_a_row_longer_than_a_page_ends_with_what_is_left_out(case: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.auditing.page.MOST_TOKENS", 250)
    _, found = page([case()])
    assert "Please make the failing test pass." in found.text
    assert "the rest… 236 tokens left out …" in found.text


def test_a_partition_without_rows_has_a_page():
    _, found = page([])
    assert "All 0 rows are shown." in found.text


def test_two_hundred_rows_fit_in_four_megabytes(case: Make):
    rows = [renamed(case(), f"row-{k}") for k in range(200)]
    written, _ = page(rows)
    assert len(written.encode()) < 4_000_000
