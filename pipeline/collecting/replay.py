"""`replay`: sessions that are already there, imported byte for byte.

A session is a file, or a folder of `*.jsonl` files, compressed or not, below the batch file's folder and nowhere else.
A session that goes on from another one (a Codex fork) brings that one along, if it lies in the same folder.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.collecting.agent import Format, Site, World
from pipeline.collecting.runs import trace_id
from pipeline.errors import TraceError
from pipeline.records import SESSIONS, LocalFile, Prompt, Reject, Trace, TraceFile

LARGEST = 1 << 30
"""Bytes of a session with its parents: a row holds all of them, and Arrow no more than twice as many."""


class Replay:
    """An `Agent`."""

    paid = False

    def run(self, prompt: Prompt, world: World, site: Site | None) -> Iterator[Trace | Reject]:
        """A trace for each session file, or the reason why there is none."""
        read = _format(prompt, world.formats)
        sessions, beside = _sessions(prompt, world.folder)
        for session in sessions:
            try:
                files = _with_parents(session, beside, read)
                if (size := sum(file.stat().st_size for file in files)) > LARGEST:
                    why = f"{size:,} bytes; read it from its file with `tracemill convert`, which holds none of it"
                    yield _reject(prompt, session, "too_large", why)
                    continue
                yield _trace(prompt, world.folder.resolve(), files)
            except OSError as error:
                yield _reject(prompt, session, "unreadable", f"{error.strerror}; make it readable")


def _reject(prompt: Prompt, session: Path, reason: str, why: str) -> Reject:
    detail = f"line {prompt.line}:session: {session.name}: {why}"
    return Reject(id=prompt.id, stage="traces", reason=reason, detail=detail)


def _format(prompt: Prompt, formats: Mapping[str, Format]) -> Format:
    known = ", ".join(formats)
    if prompt.format is None:
        raise TraceError("no_format", f"format: nothing says how the session is written; set one of {known}")
    if prompt.format not in formats:
        raise TraceError("unknown_format", f"format: {prompt.format!r} is none of {known}; set one of them")
    return formats[prompt.format]


def _sessions(prompt: Prompt, folder: Path) -> tuple[list[Path], list[Path]]:
    """The session files, and the files that their parents are looked for in."""
    if not prompt.session:
        raise TraceError("no_session", "session: nothing to replay; set a session file, or a folder of them")
    path = _inside(folder.resolve(), prompt.session)
    if path.is_file():
        return [path], [file for file in _named(path.parent.glob) if not file.is_symlink()]
    files = [_inside(folder.resolve(), file) for file in _named(path.rglob) if file.is_file()]
    if not files:
        raise TraceError(
            "missing_session",
            f"session: {prompt.session} holds no {', no '.join(SESSIONS)}; put the session there",
        )
    return files, files


def _named(find: Callable[[str], Iterable[Path]]) -> list[Path]:
    return sorted(file for pattern in SESSIONS for file in find(pattern))


def _inside(folder: Path, session: str | Path) -> Path:
    """The file that is meant, links followed: a batch file may name what is below it, nothing else of this machine."""
    try:
        path = (folder / session).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        why = f"session: {str(session)[:200]!r} cannot be found; put it below the batch file's folder"
        raise TraceError("missing_session", why) from error
    if not path.is_relative_to(folder):
        raise TraceError("outside", f"session: {session} is outside the batch file's folder; copy it there")
    return path


def _with_parents(session: Path, beside: list[Path], read: Format) -> list[Path]:
    """The session, and those that it goes on from, nearest first; what is missing is the converter's to tell."""
    files, others = [_local(session)], [_local(file) for file in beside]
    with suppress(TraceError):
        while (before := read.parent_of(files[-1], others)) and before not in files:
            files.append(before)
    return [file.path for file in files]


def _local(path: Path) -> LocalFile:
    return LocalFile(name=path.name, path=path)


def _trace(prompt: Prompt, folder: Path, paths: list[Path]) -> Trace:
    files = tuple(TraceFile(path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths)
    return Trace(
        id=trace_id(prompt, files),
        prompt_id=prompt.id,
        prompt=prompt.prompt,
        agent=prompt.agent,
        format=prompt.format or "",
        files=files,
        metadata=prompt.metadata,
    )
