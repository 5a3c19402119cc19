"""A rendering diff for people: in the terminal, as Markdown, and as a page that asks for nothing else."""

import html
from collections.abc import Iterable, Iterator
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.comparing.causes import Cause, Diff, Example, Piece
from pipeline.comparing.differing import Difference
from renderers.preview import COLOURS, visible

PAGE = "diff.html"
"""Its name, beside the masked partition."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:76em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;width:100%;table-layout:fixed}td,th{text-align:left;vertical-align:top;padding:.4em .8em;
border-top:1px solid #ddd}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0}.changed{background:#fff1b8}
.trained{font-weight:bold;text-decoration:underline}h2{font-size:1.05em;margin:2em 0 .3em}.dim{color:#666}"""
KINDS = "".join(f".{kind}{{color:{colour}}}" for kind, (_, colour) in COLOURS.items())


def headline(diff: Diff) -> str:
    """The counts in a line."""
    if diff.empty:
        return f"{diff.unchanged:,} rows, all of them exactly the same"
    counts = {
        "rows changed": diff.changed,
        "exactly unchanged": diff.unchanged,
        "only in the new": diff.appeared,
        "only in the old": diff.gone,
        "tokens added": diff.tokens_added,
        "removed": diff.tokens_removed,
        **{f"tokens of {name}": count for name, count in diff.flips.items()},
    }
    always = ("rows changed", "exactly unchanged")
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count or name in always)


def print_differences(console: Console, found: Iterable[Difference]) -> None:
    """Each target's diff: counts, then its causes with their smallest example side by side."""
    for one in found:
        partitions = f"{len(one.batches)} of {len(one.batches) + one.same} partitions differ"
        console.print(f"[bold]{one.target}[/]: {one.was} → {one.now}, {partitions}", highlight=False)
        console.print(f"  {headline(one.diff)}", soft_wrap=True, highlight=False)
        for number, cause in enumerate(one.diff.causes, 1):
            console.print(Text(f"\n{number}. {_title(cause)}"))
            if cause.example:
                console.print(_side_by_side(cause.example))
        if one.diff.causes:
            console.print(f"\n  these causes are {one.diff.covered:.0%} of {one.diff.changes:,} changes\n")


def markdown(diff: Diff) -> str:
    """The same for Dagster's metadata, without examples."""
    lines = [f"- {_md(_title(cause))}" for cause in diff.causes]
    return "\n".join([headline(diff), "", *lines])


def write_page(file: TextIO, diff: Diff, *, title: str) -> None:
    """One HTML file. Whatever rows hold is escaped, and what would act rather than show is a glyph."""
    name = html.escape(title)
    file.write(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{POLICY}"><title>{name}</title><style>{STYLE}{KINDS}</style><h1>{name}</h1>'
        f"<p>{html.escape(headline(diff))}</p>"
    )
    for number, cause in enumerate(diff.causes, 1):
        file.write(f"<h2>{number}. {_text(_title(cause))}</h2>{''.join(_example(cause.example))}")
    told = f"These causes are {diff.covered:.0%} of {diff.changes:,} changes. " if diff.causes else ""
    file.write(f'<p class="dim">{told}Underlined: trained. Marked: what changed.</p></html>\n')


def _title(cause: Cause) -> str:
    rows, changes = _many(cause.rows, "row"), _many(cause.changes, "place")
    return f"{cause.name} ({changes} in {rows}, {_many(cause.tokens, 'token')})"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _side_by_side(example: Example) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, title=f"row {example.row}", title_justify="left")
    for heading, ratio in (("was", 1), ("is", 1)):
        table.add_column(heading, ratio=ratio, overflow="fold")
    table.add_row(Text.assemble(*map(_styled, example.was)), Text.assemble(*map(_styled, example.now)))
    return table


def _styled(piece: Piece) -> tuple[str, str]:
    style = [COLOURS[piece.kind][1], *(["bold underline"] if piece.trained else [])]
    return visible(piece.text), " ".join([*style, *(["reverse"] if piece.changed else [])])


def _example(example: Example | None) -> Iterator[str]:
    if example:
        yield f'<p class="dim">the smallest of them: row {_text(example.row)}, {example.size:,} tokens</p>'
        yield "<table><tr><th>was</th><th>is</th></tr><tr>"
        yield from (f"<td><pre>{''.join(map(_html, side))}</pre></td>" for side in (example.was, example.now))
        yield "</tr></table>"


def _html(piece: Piece) -> str:
    marks = [piece.kind, *(["trained"] if piece.trained else []), *(["changed"] if piece.changed else [])]
    return f'<span class="{" ".join(marks)}">{_text(piece.text)}</span>'


def _text(text: str) -> str:
    return html.escape(visible(text))


def _md(text: str) -> str:
    """Words that Markdown must not read as its own."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>()#+!|~-" else char for char in visible(text))
