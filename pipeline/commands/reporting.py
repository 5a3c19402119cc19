"""`stale`: which partitions are not what they would be if they were made now."""

import typer

from pipeline.commands.options import JsonOption, ProjectOption, console
from pipeline.projects import existing_project


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
