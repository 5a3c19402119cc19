"""What a project holds, as tables for the terminal."""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice

import msgspec
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from pipeline.auditing.page import PAGE
from pipeline.auditing.summary import SUMMARY, Summary
from pipeline.loading import load_tokenizer
from pipeline.masking import runs_of
from pipeline.records import Manifest, RenderedRow
from pipeline.resources.store import Store
from pipeline.staleness import Stale, upstream
from pipeline.targets import Project
from renderers.preview import legend, stored_runs, to_ansi
from renderers.segments import Kind

NUMBERS = ("in", "kept", "rejected", "tokens", "trained")
FROM = {
    "traces": "prompts",
    "conversations": "traces",
    "rendered": "conversations",
    "masked": "rendered/{}",
    "audits": "rendered/{}",
}
"""Where the rows of a stage come in."""
MOST_REJECTS = 10
"""Of each partition; all of them are in its file."""


def print_report(console: Console, project: Project, *, changed: Collection[Stale]) -> None:
    """Per batch and stage: rows in, kept, rejected and why, tokens, trained, verdict; and where everything is."""
    store = Store(project.data)
    for batch in store.batches("prompts"):
        made = {asset: manifest for asset in upstream(project) if (manifest := store.manifest(asset, batch))}
        console.print(batch_table(store, batch, made, fresh={s.asset for s in changed if s.batch == batch}))
        for asset, manifest in made.items():
            for reject in islice(store.rejects(asset, batch), MOST_REJECTS) if manifest.rejects else ():
                told = f"{asset}: {reject.reason}: {reject.detail}"
                console.print(Text(told, style="dim"), soft_wrap=True)
        console.print()
    if changed:
        console.print(f"[green]✓[/] materialized {len(changed)} partitions")
    else:
        console.print("[green]✓[/] everything is up to date: nothing was run")
    console.print(places(project), soft_wrap=True)


def batch_table(store: Store, batch: str, made: Mapping[str, Manifest], *, fresh: Collection[str]) -> Table:
    """One batch, a line a stage; stages that just ran are marked."""
    table = Table(title=f"batch {batch}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("asset", no_wrap=True)
    for number in NUMBERS:
        table.add_column(number, justify="right", no_wrap=True)
    table.add_column()
    for asset, manifest in made.items():
        numbers = [f"{n:,}" if n is not None else "" for n in counts(manifest, made)]
        mark = "[green]●[/]" if asset in fresh else "[dim]○[/]"
        table.add_row(f"{mark} {asset}", *numbers, note(store, manifest))
    return table


def counts(manifest: Manifest, made: Mapping[str, Manifest]) -> Iterator[int | None]:
    """What stands under `NUMBERS`: None where a stage has no such number."""
    stage, _, target = manifest.asset.partition("/")
    above, rejected = made.get(FROM.get(stage, "").format(target)), sum(manifest.rejects.values())
    yield above.rows if above else manifest.rows + rejected if stage == "prompts" else None
    yield manifest.rows if stage not in ("audits", "publication") else None
    yield rejected or None
    yield manifest.measures.get("tokens")
    yield manifest.measures.get("trained")


def note(store: Store, manifest: Manifest) -> str:
    """How many rows were made of each; trained tokens by kind; what an audit came to; what was published."""
    measures, summary = manifest.measures, store.place(manifest.asset, manifest.batch) / SUMMARY
    if summary.is_file():
        return msgspec.json.decode(summary.read_bytes(), type=Summary).verdict
    if manifest.asset == "publication":
        return f"{manifest.rows} configs of the dataset"
    told = (manifest.rows_in or 0) - sum(manifest.rejects.values())
    if manifest.rows > told > 0:
        return f"{manifest.rows:,} rows of {told:,} conversations"
    return ", ".join(f"{kind} {measures[key]:,}" for kind in Kind if (key := f"trained {kind}") in measures)


def places(project: Project) -> Group:
    """Where the dataset, the token pages and the UI are."""
    first = next(iter(project.targets))
    publish = project.settings.publish
    where = publish.repo if publish.to == "hub" else str(project.folder / publish.folder)
    merged = ", once its pull request is merged" if publish.to == "hub" and publish.create_pr else ""
    lines = [f"dataset      datasets.load_dataset({where!r}, {first!r}){merged}"]
    lines += [f"token page   {page}" for page in sorted(project.data.glob(f"audits/*/*/{PAGE}"))]
    lines += [f"UI           tracemill ui --project {project.folder}"]
    return Group(*lines)


def print_row(console: Console, project: Project, target: str, batch: str, row: RenderedRow) -> None:
    """A stored row as the model sees it: coloured by kind, trained tokens bold and underlined, a verdict a turn."""
    settings = project.targets[target]
    tokenizer = load_tokenizer(settings, folder=project.folder)
    runs = stored_runs(row.input_ids, runs_of(row), settings.loss_policy, tokenizer)
    console.print(f"[bold]{row.id}[/] of {batch}, target {target}: {len(row.input_ids):,} tokens")
    console.print(Text.from_ansi(to_ansi(legend())), "\n")
    console.print(Text.from_ansi(to_ansi(runs)))
    for proof in row.proofs:
        learned = "trained" if proof.message in row.trainable else "not trained"
        console.print(
            f"message {proof.message}: {proof.verdict}, {learned} {proof.note}", highlight=False, markup=False
        )
