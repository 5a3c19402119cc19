"""What a project holds, as tables for the terminal."""

from collections.abc import Collection, Sequence

import msgspec
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from pipeline.auditing.page import PAGE
from pipeline.auditing.summary import SUMMARY, Summary
from pipeline.errors import StoreError
from pipeline.masking import runs_of
from pipeline.records import Manifest, RenderedRow
from pipeline.rendering import load_tokenizer
from pipeline.resources.store import Store
from pipeline.staleness import Stale
from pipeline.targets import Project
from renderers.preview import legend, stored_runs, to_ansi
from renderers.segments import Kind


def print_report(console: Console, project: Project, *, changed: Collection[Stale]) -> None:
    """Per batch and stage: rows in, kept, rejected, tokens, trained tokens, verdict; and where everything is."""
    store = Store(project.data)
    for batch in store.batches("prompts"):
        console.print(batch_table(store, project, batch, fresh={s.asset for s in changed if s.batch == batch}))
    if changed:
        console.print(f"[green]✓[/] materialized {len(changed)} partitions")
    else:
        console.print("[green]✓[/] everything is up to date: nothing was run")
    console.print(places(project), soft_wrap=True)


def batch_table(store: Store, project: Project, batch: str, *, fresh: Collection[str]) -> Table:
    """One batch, a line a stage; stages that just ran are marked."""
    table = Table(title=f"batch {batch}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("asset", no_wrap=True)
    for number in ("in", "kept", "tokens", "trained"):
        table.add_column(number, justify="right", no_wrap=True)
    table.add_column()
    for asset in stages(project):
        if manifest := store.manifest(asset, batch):
            table.add_row(*cells(manifest, verdict_of(store, manifest), ran=asset in fresh))
    return table


def stages(project: Project) -> list[str]:
    """The assets that hold rows, in the order of the stream."""
    by_target = [f"{stage}/{target}" for target in project.targets for stage in ("rendered", "masked", "audits")]
    return ["prompts", "traces", "conversations", *by_target, "publication"]


def verdict_of(store: Store, manifest: Manifest) -> str:
    """What the audit of this partition came to; empty for what is no audit."""
    path = store.place(manifest.asset, manifest.batch) / SUMMARY
    return msgspec.json.decode(path.read_bytes(), type=Summary).verdict if path.is_file() else ""


def cells(manifest: Manifest, verdict: str, *, ran: bool) -> list[str]:
    measures = manifest.measures
    rejects = ", ".join(f"{n} {reason}" for reason, n in manifest.rejects.items())
    kinds = ", ".join(f"{kind} {measures[key]:,}" for kind in Kind if (key := f"trained {kind}") in measures)
    notes = (rejects and f"rejected: {rejects}", kinds and f"trained: {kinds}", verdict)
    return [
        f"{'[green]●[/]' if ran else '[dim]○[/]'} {manifest.asset}",
        "" if manifest.rows_in is None else f"{manifest.rows_in:,}",
        f"{manifest.rows:,}",
        f"{measures['tokens']:,}" if "tokens" in measures else "",
        f"{measures['trained']:,}" if "trained" in measures else "",
        "\n".join(note for note in notes if note),
    ]


def places(project: Project) -> Group:
    """Where the dataset, the token pages and the UI are."""
    first = next(iter(project.targets))
    publish = project.settings.publish
    lines = [f"dataset      datasets.load_dataset({str(project.folder / publish.folder)!r}, {first!r})"]
    lines += [f"token page   {page}" for page in sorted(project.data.glob(f"audits/*/*/{PAGE}"))]
    lines += [f"UI           tracemill ui --project {project.folder}"]
    return Group(*lines)


def print_stale(console: Console, behind: Sequence[Stale]) -> None:
    """Stale partitions with their reasons."""
    if not behind:
        console.print("[green]✓[/] everything is up to date")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("batch", "asset", "reason"):
        table.add_column(heading)
    for one in behind:
        table.add_row(one.batch, one.asset, one.reason)
    console.print(table)


def find_row(store: Store, row: str, *, target: str, batch: str | None) -> tuple[str, RenderedRow]:
    """A rendered row and its batch: by its number in the batch, or by how its id begins. Raises StoreError."""
    asset = f"rendered/{target}"
    for name in [batch] if batch else store.batches(asset):
        for number, found in enumerate(store.read(asset, name, RenderedRow)):
            if found.id.startswith(row) or (row.isdecimal() and number == int(row)):
                return name, found
    held = ", ".join([batch] if batch else store.batches(asset)) or "no batch"
    raise StoreError(f"no row {row!r} of {asset} in {held}; `tracemill materialize` makes rows, token pages name them")


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
