"""`stale`, `diff`: which partitions are not what they would be if they were made now, and what would change."""

from typing import Annotated

import typer

from pipeline.commands.options import JsonOption, ProjectOption, console
from pipeline.errors import SettingsError
from pipeline.projects import existing_project

Partitions = Annotated[list[str] | None, typer.Option("--partition", "-b", help="Batch; all of them when not named.")]
Targets = Annotated[list[str] | None, typer.Option("--target", "-t", help="Target; all of them when not named.")]


def stale(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Say which partitions of which assets are stale, and why. Exit code 1 if any is."""
    import msgspec

    from pipeline.report import print_stale
    from pipeline.resources.store import Store
    from pipeline.staleness import stale as find_stale

    found = existing_project(project)
    behind = find_stale(found, Store(found.data))
    if as_json:
        print(msgspec.json.encode(behind).decode())
    else:
        print_stale(console, behind)
    raise typer.Exit(code=1 if behind else 0)


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
    if unknown := set(targets or ()) - set(found.targets):
        raise SettingsError(f"{found.folder} has no target {', '.join(unknown)}; it has {', '.join(found.targets)}")
    told = []
    for name in targets or list(found.targets):
        batches = partitions or store.batches(f"masked/{name}")
        told += differences(found, store, batches, targets=[name], against=against)
    if as_json:
        print(msgspec.json.encode(told).decode())
    else:
        print_differences(console, told)
    raise typer.Exit(code=0 if all(one.diff.empty for one in told) else 1)
