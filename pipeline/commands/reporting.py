"""`stale`, `diff`, `why`: which partitions are behind, what would change in them, and why a token is learned or not."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import JsonOption, ProjectOption, console, existing_project
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.staleness import Stale
    from pipeline.targets import Project

Partitions = Annotated[list[str] | None, typer.Option("--partition", "-b", help="Batch; all of them when not named.")]
Targets = Annotated[list[str] | None, typer.Option("--target", "-t", help="Target; all of them when not named.")]


def stale(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Say which partitions of which assets are stale, and why. Exit code 1 if any is."""
    import msgspec

    from pipeline.blending import stale_mixtures
    from pipeline.resources.store import Store
    from pipeline.staleness import stale as find_stale

    found = existing_project(project)
    store = Store(found.data)
    behind = find_stale(found, store)
    behind += stale_mixtures(found, store, behind)
    if as_json:
        print(msgspec.json.encode(behind).decode())
    else:
        _print_stale(behind)
    raise typer.Exit(code=1 if behind else 0)


def _print_stale(behind: "Sequence[Stale]") -> None:
    """A line a partition, as plain text: there may be a hundred thousand."""
    if not behind:
        console.print("[green]✓[/] everything is up to date")
        return
    told = [("batch", "asset", "reason"), *((one.batch, one.asset, one.reason) for one in behind)]
    batch, asset = (max(len(line[column]) for line in told) for column in (0, 1))
    print("\n".join(f"{line[0]:{batch}}  {line[1]:{asset}}  {line[2]}" for line in told))


def diff(
    partitions: Partitions = None,
    targets: Targets = None,
    against: Annotated[
        str | None, typer.Option(help="`previous` rows, a code version, or a git revision; else the stored rows.")
    ] = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what the code of now would change in stored rows, and write nothing. Exit code 1 if anything would."""
    import msgspec

    from pipeline.comparing.differing import differences
    from pipeline.comparing.telling import print_differences
    from pipeline.resources.store import Store

    found = existing_project(project)
    store = Store(found.data)
    told = []
    for name in [known_target(found, name) for name in targets or found.targets]:
        batches = partitions or store.batches(f"masked/{name}")
        told += differences(found, store, batches, targets=[name], against=against)
    if as_json:
        print(msgspec.json.encode(told).decode())
    else:
        print_differences(console, told)
    raise typer.Exit(code=0 if all(one.diff.empty for one in told) else 1)


def why(
    row: Annotated[str, typer.Argument(help="A row's id (or how it begins), or its number in the batch from 0.")],
    token: Annotated[int | None, typer.Option(help="The token's place in the row, from 0.")] = None,
    text: Annotated[str | None, typer.Option(help="Or a text: the token in which it first begins.")] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="Target; the first one when not named.")] = None,
    batch: Annotated[str | None, typer.Option("--partition", "-b", help="Batch; all of them when not named.")] = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a token is, where it comes from, which rule trains or masks it, and what would flip that."""
    import msgspec

    from pipeline.explaining import place_of, told
    from pipeline.explaining import why as explain
    from pipeline.finding import find_case
    from pipeline.resources.store import Store

    if (token is None) == (text is None):
        raise SettingsError("name a token of the row: --token N, or --text WORDS")
    found = existing_project(project)
    name = known_target(found, target or next(iter(found.targets)))
    case = find_case(Store(found.data), found, row, target=name, batch=batch)
    at = token if token is not None else place_of(text or "", case.row, case.renderer.tokenizer)
    answer = explain(case, at)
    if as_json:
        print(msgspec.json.encode(answer).decode())
        return
    for label, words in told(answer):
        console.print(f"[bold]{label:>14}[/]  ", end="")
        console.print(words, markup=False, highlight=False, soft_wrap=True)


def known_target(project: "Project", name: str) -> str:
    """A target of the project. Raises SettingsError."""
    if name not in project.targets:
        raise SettingsError(f"{project.folder} has no target {name!r}; it has {', '.join(project.targets)}")
    return name
