"""Pi sessions as trees: branches from the root to each leaf, cut into context windows."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from pipeline.converting.lines import Kept, Seekable, at, decode, refused, unknown, whole_lines
from pipeline.converting.pi_entries import BRANCH, COMPACTED, NOT_TOLD, TOLD, Entry, Said, shell
from pipeline.records import Place, TraceFile


class Node(NamedTuple):
    """What is kept of an entry in memory: the rest is read again when it is told."""

    kept: Kept
    type: str
    id: str | None
    parent_id: str | None
    role: str | None
    stop: str | None


class Told(NamedTuple):
    """A message that Pi would send, and where it stands."""

    place: Place
    said: Said


class Window(NamedTuple):
    """What one context window holds."""

    system: list[Told]
    rest: list[Told]


class Session(NamedTuple):
    """A file: its first line, its entries, and what was counted."""

    lines: Seekable
    head: Entry
    nodes: list[Node]
    uncounted: dict[str, int]

    def entry(self, node: Node) -> Entry:
        return self.lines.read(node.kept, Entry)


def read_session(file: TraceFile, lines: Seekable) -> Session:
    """The file as a tree. Raises TraceError for one that is none."""
    head, nodes, uncounted = None, [], Counter[str]()
    for place, start, line in whole_lines(file, uncounted):
        entry = decode(line, Entry, place)
        if head is None:
            if entry.type != "session":
                raise refused("wrong_format", place, "no Pi session: a `session` line comes first; set `format`")
            head = entry
            continue
        said = entry.message
        kept = Kept(at(place, "", entry.timestamp), start, len(line))
        role, stop = (said.role, said.stop_reason) if said else (None, None)
        nodes.append(Node(kept, entry.type, entry.id, entry.parent_id, role, stop))
        uncounted.update({entry.type: 1} if entry.type not in NOT_TOLD | TOLD else {})
    assert head is not None, "an empty file is refused before"
    return Session(lines, head, nodes, dict(uncounted))


def branches(nodes: list[Node]) -> Iterator[list[Node]]:
    """From the root to each leaf, in the order of the leaves. The oldest files have no ids: they are one branch."""
    if all(node.id is None for node in nodes):
        yield nodes
        return
    by_id = _by_id(nodes)
    parents = {node.parent_id for node in nodes}
    for leaf in nodes:
        if leaf.id not in parents:
            path = [leaf]
            while (above := path[-1].parent_id) is not None:
                path.append(by_id[above])
            yield path[::-1]


def _by_id(nodes: list[Node]) -> dict[str, Node]:
    """Entries come after their parents, so following them upwards ends at a root."""
    by_id: dict[str, Node] = {}
    for node in nodes:
        place = node.kept.place
        if node.id is None or node.id in by_id:
            raise refused("broken_tree", place, f"id {node.id!r} is none, or another entry's; restore the file")
        if node.parent_id is not None and node.parent_id not in by_id:
            raise refused("broken_tree", place, f"its parent {node.parent_id!r} is not above it; restore the file")
        by_id[node.id] = node
    return by_id


def compactions(branch: list[Node]) -> list[int]:
    return [index for index, node in enumerate(branch) if node.type == "compaction"]


def window_at(session: Session, path: list[Node]) -> Window:
    """What Pi sends at the end of this path: its last compaction's summary, what that kept, and what came after."""
    edits = {entry.target_id: entry for entry in (session.entry(n) for n in path if n.type == "context_edit")}
    last = max(compactions(path), default=None)
    if last is None:
        return _split(_all_told(session, path, edits))
    compaction, place = session.entry(path[last]), path[last].kept.place
    before = _split(_all_told(session, path[_kept(path, last, compaction) : last], edits))
    after = _split(_all_told(session, path[last + 1 :], edits))
    checkpoint = [Told(at(place, "/systemMessage"), compaction.system_message)] if compaction.system_message else []
    summary = Told(at(place, "/summary"), Said("user", COMPACTED.format(compaction.summary)))
    return Window([*checkpoint, *after.system], [summary, *before.rest, *after.rest])


def _kept(path: list[Node], last: int, compaction: Entry) -> int:
    """Where what the compaction kept begins."""
    if (line := compaction.first_kept_entry_index) is not None and compaction.first_kept_entry_id is None:
        return next((index for index, node in enumerate(path[:last]) if node.kept.place.line > line), last)
    wanted = compaction.first_kept_entry_id
    return next((index for index, node in enumerate(path[:last]) if node.id == wanted), last)


def _split(told: list[Told]) -> Window:
    """System messages are replayed apart from the rest."""
    return Window([t for t in told if t.said.role == "system"], [t for t in told if t.said.role != "system"])


def _all_told(session: Session, nodes: list[Node], edits: dict[str | None, Entry]) -> list[Told]:
    return [told for node in nodes if node.type in TOLD and (told := _told(session, node, edits))]


def _told(session: Session, node: Node, edits: dict[str | None, Entry]) -> Told | None:
    """What an entry says to the model, after its last edit."""
    entry, place = session.entry(node), node.kept.place
    said = _said(entry, place)
    edit = edits.get(node.id) if node.id else None
    if said is None or (edit and edit.replacement is None):
        return None
    if edit and edit.replacement:
        said = msgspec.structs.replace(said, content=edit.replacement.content)
    return Told(at(place, {"message": "/message", "custom_message": "/content"}.get(entry.type, "/summary")), said)


def _said(entry: Entry, place: Place) -> Said | None:
    """An entry as one of the four roles that are sent, or nothing."""
    said = entry.message
    if entry.type == "custom_message":
        return Said("user", entry.content)
    if entry.type == "branch_summary" and entry.summary:
        return Said("user", BRANCH.format(entry.summary))
    if entry.type != "message":
        return None
    if said is None:
        raise refused("invalid_field", place, "`message` is missing; restore the file")
    if said.role == "assistant":
        return None if said.stop_reason in ("error", "aborted") else said
    return _as_user(said, place) if said.role not in ("system", "user", "toolResult") else said


def _as_user(said: Said, place: Place) -> Said | None:
    """What others than the model say through the user's role."""
    if said.role == "bashExecution":
        return None if said.exclude_from_context else Said("user", shell(said))
    if said.role in ("custom", "hookMessage"):
        return Said("user", said.content)
    if said.role in ("branchSummary", "compactionSummary"):
        return Said("user", (BRANCH if said.role == "branchSummary" else COMPACTED).format(said.summary))
    raise unknown(f"message of role {said.role!r}", place)
