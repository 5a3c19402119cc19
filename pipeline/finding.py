"""A stored row by its number or name, with what it was made of: that is read, and nothing else of its partitions."""

from pipeline.errors import StoreError
from pipeline.explaining import Case
from pipeline.loading import load_renderer
from pipeline.records import Conversation, MaskedRow, RenderedRow, Trace
from pipeline.resources.store import Store
from pipeline.targets import Project


def find_row(store: Store, row: str, *, target: str, batch: str | None) -> tuple[str, RenderedRow]:
    """A rendered row and its batch: by its number in the batch, or by how its id begins. Raises StoreError."""
    asset = f"rendered/{target}"

    def meant(number: int, name: str) -> bool:
        return name.startswith(row) or (row.isdecimal() and number == int(row))

    for name in [batch] if batch else store.batches(asset):
        for found in store.find(asset, name, RenderedRow, meant):
            return name, found
    held = ", ".join([batch] if batch else store.batches(asset)) or "no batch"
    raise StoreError(f"no row {row!r} of {asset} in {held}; `tracemill materialize` makes rows, token pages name them")


def find_case(store: Store, project: Project, row: str, *, target: str, batch: str | None) -> Case:
    """A rendered row with what it was made of and what was made of it. Raises StoreError."""
    name, found = find_row(store, row, target=target, batch=batch)
    masked, settings = f"masked/{target}", project.targets[target]
    kept = store.manifest(masked, name)
    pieces = store.find(masked, name, MaskedRow, lambda _, one: one.partition("#")[0] == found.id) if kept else ()
    (conversation,) = store.find("conversations", name, Conversation, lambda _, one: one == found.conversation_id)
    return Case(
        row=found,
        masked=tuple(pieces),
        reject=next((r for r in store.rejects(masked, name) if r.id == found.id), None) if kept else None,
        conversation=conversation,
        target=settings,
        renderer=load_renderer(settings, folder=project.folder, lazy=True),
        trace=lambda: next(store.find("traces", name, Trace, lambda _, one: one == conversation.trace_id), None),
    )
