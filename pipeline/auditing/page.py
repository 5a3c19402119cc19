"""The token page: what was trained in a partition, token by token, as one HTML file that asks for nothing else.

No script, no request: the page forbids both to itself. Whatever a trace holds is escaped, and what would act rather
than show becomes a glyph (`preview.visible`). Long stretches and long partitions are shortened, and the page says so.
"""

import html
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from pipeline.auditing.case import Case
from pipeline.auditing.stretches import Gap, Stretch, Token, blocks, tokens
from pipeline.auditing.summary import Summary
from pipeline.records import Finding, RowProof
from renderers.preview import COLOURS, visible
from renderers.segments import Verdict

PAGE = "tokens.html"
"""Its name, beside the audited partition."""
STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
MOST_ROWS, MOST_TOKENS, MOST_FINDINGS = 200, 50_000, 200
MARKS: Mapping[str, tuple[str, str]] = {
    Verdict.PROVED: ("✓", "proved"),
    Verdict.SPLIT: ("↪", "proved"),
    Verdict.TRUSTED: ("!", "unproved"),
}
"""How a verdict is shown: its sign, and its class. Any other is ✗."""
FEW = 8
"""Warnings that need not be folded."""


def write_page(
    file: TextIO,
    cases: Iterable[Case],
    findings: Iterable[Finding],
    summary: Summary,
    *,
    title: str,
    picture: bytes | None = None,
    most_rows: int = MOST_ROWS,
    most_tokens: int = MOST_TOKENS,
) -> None:
    """Stream the page out, row by row. Rows with an error come first in the choice of what is shown."""
    kept = _kept(findings)
    file.write(_head(title, summary, picture) + _findings(kept, summary) + f"<h2>Rows</h2>{ONLY}")
    flawed = list(dict.fromkeys(finding.row for finding in kept if finding.severity == "error"))[:most_rows]
    unseen = dict.fromkeys(finding.row for finding in kept)
    shown = 0
    for case in _chosen(cases, set(flawed), most_rows, most_tokens):
        row = case.rendered.id
        file.write(_row(case, [finding for finding in kept if finding.row == row], unfold=not shown))
        unseen.pop(row, None)
        shown += 1
    file.write(_foot(shown, summary, list(unseen)))


def _kept(findings: Iterable[Finding]) -> list[Finding]:
    """The first findings, errors before warnings: what a reader can take in."""
    kept: dict[str, list[Finding]] = {"error": [], "warning": []}
    for finding in findings:
        if len(kept[finding.severity]) < MOST_FINDINGS:
            kept[finding.severity].append(finding)
    return (kept["error"] + kept["warning"])[:MOST_FINDINGS]


def _chosen(cases: Iterable[Case], flawed: set[str], rows: int, room: int) -> Iterator[Case]:
    """The flawed rows, and the first others, while there is room for their tokens."""
    spare = rows - len(flawed)
    for case in cases:
        if case.rendered.id in flawed:
            flawed.discard(case.rendered.id)
        elif spare > 0 and room > 0:
            spare -= 1
            room -= sum(stretch.shown for _, stretches in blocks(case) for stretch in stretches)
        elif flawed:
            continue
        else:
            return
        yield case


def _head(title: str, summary: Summary, picture: bytes | None) -> str:
    kinds = "".join(f".{kind}{{--kind:color-mix(in oklab,{c},#fff var(--lift))}}" for kind, (_, c) in COLOURS.items())
    image = ""
    if picture:
        told = "Each line is a row, each colour a kind; trained tokens are bright."
        image = f'<img alt="{told}" title="{told}" src="data:image/png;base64,{b64encode(picture).decode()}">'
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_say(title)}</title><style>{kinds}
{STYLE}</style></head><body>
<h1>{_say(title)}</h1>
<p class="verdict{"" if summary.passed else " failed"}">{_say(summary.verdict)}</p>
{_counts(summary)}{image}
{_kinds(summary)}
"""


def _counts(summary: Summary) -> str:
    tokens, trained = sum(summary.tokens.values()), sum(summary.trained.values())
    told = {
        "rows": f"{summary.rows:,}" + (f" <small>{summary.unmasked:,} not trained</small>" if summary.unmasked else ""),
        "tokens": f"{tokens:,}",
        "trained": f"{trained:,} <small>{_percent(trained, tokens)}</small>",
        "trained turns": f"{summary.trained_turns:,} <small>of {summary.turns:,}</small>",
        "errors": f"{sum(summary.errors.values()):,}",
        "warnings": f"{sum(summary.warnings.values()):,}",
    }
    return '<dl class="counts">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in told.items()) + "</dl>"


def _kinds(summary: Summary) -> str:
    """The legend, and how much there is of each kind."""
    most = max(summary.tokens.values(), default=1)
    rows = []
    for kind in (kind for kind in COLOURS if kind in summary.tokens):
        count, trained = summary.tokens[kind], summary.trained.get(kind, 0)
        inner = f'<b style="width:{100 * trained / count:.2f}%"></b>'
        rows.append(
            f'<tr class="{kind}"><td><span class="chip {kind}{" trained" * bool(trained)}">{kind}</span></td>'
            f'<td class="number">{count:,}</td><td class="number">{trained:,}</td>'
            f'<td class="wide"><span class="bar" style="width:{100 * count / most:.2f}%">{inner}</span></td></tr>'
        )
    head = '<tr><th>kind</th><th class="number">tokens</th><th class="number">trained</th><th></th></tr>'
    return f"<h2>Kinds</h2><table>{head}{''.join(rows)}</table>"


def _findings(kept: Sequence[Finding], summary: Summary) -> str:
    """Errors first and in full; many warnings are folded away."""
    errors = [finding for finding in kept if finding.severity == "error"]
    warnings = [finding for finding in kept if finding.severity == "warning"]
    folded = _table(warnings, with_row=True)
    if len(warnings) > FEW:
        folded = f'<details><summary class="warning">{len(warnings)} warnings</summary>{folded}</details>'
    more = sum(summary.errors.values()) + sum(summary.warnings.values()) - len(kept)
    left = f'<p class="note">{more:,} more are in the partition of findings.</p>' if more > 0 else ""
    told = _table(errors, with_row=True) + folded if kept else '<p class="note">None.</p>'
    return f'<h2 id="findings">Findings</h2>{told}{left}'


def _table(findings: Sequence[Finding], *, with_row: bool) -> str:
    lines = "".join(_line(finding, with_row=with_row) for finding in findings)
    return f"<table>{lines}</table>" if lines else ""


def _line(finding: Finding, *, with_row: bool) -> str:
    where = f'<td><a href="#row-{_name(finding.row)}">{_say(finding.row)}</a></td>' if with_row else ""
    message = f"message {finding.message}" if finding.message >= 0 else ""
    return (
        f'<tr><td class="{finding.severity}">{finding.severity}</td><td>{_say(finding.audit)}</td>{where}'
        f'<td class="number">{message}</td><td class="detail">{_say(finding.detail)}</td></tr>'
    )


ONLY = '<label class="only"><input type="checkbox" id="only"> only what is trained</label>'


def _row(case: Case, findings: Sequence[Finding], *, unfold: bool) -> str:
    count, trained = len(case.rendered.input_ids), int(case.trained.sum())
    proofs = {proof.message: proof for proof in case.rendered.proofs}
    errors = sum(finding.severity == "error" for finding in findings)
    told = [
        f"{count:,} tokens",
        f"{trained:,} trained ({_percent(trained, count)})" if case.masked else "not trained: masking rejected it",
        f"{len(case.trained_messages)} of {len(proofs)} turns trained",
        f"{case.masked.cut:,} cut" if case.masked and case.masked.cut else "",
    ]
    facts = "".join(f"<span>{fact}</span>" for fact in told if fact)
    for severity, n in (("error", errors), ("warning", len(findings) - errors)):
        facts += f'<span class="{severity}">{n} {severity}{"s" * (n > 1)}</span>' if n else ""
    body = "".join(_blocks(case, proofs, MOST_TOKENS))
    return (
        f'<details class="row{" flawed" * bool(errors)}"{" open" * unfold}>'
        f"<summary><code>{_say(case.rendered.id)}</code>{facts}</summary>"
        f'<div id="row-{_name(case.rendered.id)}">{_table(findings, with_row=False)}</div>{body}</details>\n'
    )


def _blocks(case: Case, proofs: Mapping[int, RowProof], room: int) -> Iterator[str]:
    """Message by message, while there is room."""
    for message, stretches in blocks(case):
        if room <= 0:
            left = len(case.ids) - stretches[0].start
            yield f'<div class="block"><div class="side">the rest</div><pre>{_gap(left)}</pre></div>'
            return
        room -= sum(stretch.shown for stretch in stretches)
        yield _block(case, message, stretches, proofs.get(message))


def _block(case: Case, index: int, stretches: Sequence[Stretch], proof: RowProof | None) -> str:
    """One message: who speaks and the verdict on it, beside its tokens."""
    message = case.message(index)
    who = f"{index} {message.role}" if message else "the whole conversation"
    side = f"<b>{who}</b>{sum(stretch.end - stretch.start for stretch in stretches):,} tokens"
    if proof is not None:
        mark, name = MARKS.get(proof.verdict, ("✗", "unproved"))
        side += f'<br><span class="{name}">{mark} {_say(proof.verdict)}</span>'
        side += f"<br>{_say(proof.note)}" if proof.note else ""
    body = "".join(_stretch(case, stretch) for stretch in stretches)
    return f'<div class="block"><div class="side">{side}</div><pre>{body}</pre></div>'


def _stretch(case: Case, stretch: Stretch) -> str:
    fate = "trained" if stretch.trained else "told" if not stretch.kind.sampled else "untrained told"
    inner = "".join(_piece(piece, stretch) for piece in tokens(case, stretch))
    return f'<span class="run {stretch.kind} {fate}" data-kind="{stretch.kind}">{inner}</span>'


def _piece(piece: Token | Gap, stretch: Stretch) -> str:
    if isinstance(piece, Gap):
        return _gap(piece.tokens)
    ids = "+".join(map(str, piece.ids))
    trained = ", trained" if stretch.trained else ""
    return f'<bdi title="{ids} {stretch.kind}{trained}">{_say(piece.text)}</bdi>'


def _gap(tokens: int) -> str:
    return f'<span class="gap">… {tokens:,} tokens left out …</span>'


def _foot(shown: int, summary: Summary, unseen: Sequence[str]) -> str:
    """What is not on this page; findings that point to a row which is not shown land here."""
    told = f"All {shown:,} rows are shown."
    if shown < summary.rows:
        told = f"{shown:,} of {summary.rows:,} rows are shown: those with errors, and the first others."
    names = "".join(f' <span id="row-{_name(row)}">{_say(row)}</span>' for row in unseen)
    absent = f" Findings also speak of rows that are not shown:{names}." if names else ""
    return f"<footer>{told} Long stretches are shortened where the page says so.{absent}</footer></body></html>\n"


def _say(text: str) -> str:
    """Text that shows and does nothing else."""
    return html.escape(visible(text))


def _name(row: str) -> str:
    """A row's id where an address stands."""
    return html.escape(quote(row, safe=""))


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0 %"
