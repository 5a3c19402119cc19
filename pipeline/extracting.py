"""Sessions that agents left on this machine, as a batch: their files, byte for byte, and a prompt for each."""

import filecmp
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from pipeline.converting import FORMATS, Format
from pipeline.errors import SettingsError, TraceError
from pipeline.gathering import session_of
from pipeline.records import Conversation, Trace
from renderers.messages import Message, text

AGENTS = tuple(name for name, one in FORMATS.items() if one.home)
ALSO = {"claude": "claude-code"}
"""What agents are called too."""
INJECTED = ("<", "# AGENTS.md", "Caveat:")
"""How texts in the user's role begin that the user did not write."""


def homes(name: str, home: Path) -> list[Path]:
    """The folders in which an agent leaves its sessions. Raises SettingsError for an agent that leaves none."""
    if name not in AGENTS:
        raise SettingsError(f"{name!r} is none of {', '.join(AGENTS)}")
    place: Format = FORMATS[name]
    own = os.environ.get(place.variable)
    root = Path(own) if own else home / place.home
    return [folder for below in place.below if (folder := root / below).is_dir()]


def sessions(name: str, home: Path) -> list[Path]:
    """Its session files, in the order of their names."""
    found = [file for folder in homes(name, home) for file in folder.glob(FORMATS[name].pattern) if file.is_file()]
    return sorted(found, key=lambda file: file.name)


def extract(
    files: Sequence[tuple[str, Path]], batch: Path, *, seen: Callable[[str], None] = lambda outcome: None
) -> Counter[str]:
    """Copies sessions beside the batch file and writes it. What nobody said anything in is left, and counted.

    files: with their format. The batch file is replaced last, so a broken extraction leaves the old one.
    """
    counted: Counter[str] = Counter()
    fresh = batch.with_name(f".{batch.name}.new")
    batch.parent.mkdir(parents=True, exist_ok=True)
    with fresh.open("wb") as lines:
        for name, file in files:
            asked = _asked(name, file, [one for agent, one in files if agent == name])
            outcome = "empty" if asked is None else "extracted"
            if asked is not None:
                copy = _copied(file, batch.parent / "sessions" / name)
                line = {"prompt": asked, "format": name, "session": copy.relative_to(batch.parent).as_posix()}
                lines.write(msgspec.json.encode(line) + b"\n")
            counted[outcome] += 1
            seen(outcome)
    os.replace(fresh, batch)
    return counted


def _asked(name: str, file: Path, beside: Sequence[Path]) -> str | None:
    """What the user asked first; None where the model says nothing. What cannot be told is a batch's to reject."""
    try:
        told: Iterator[Conversation] = _conversations(session_of(file, beside, name))
        first = next(told, None)
    except TraceError as error:
        return f"{file.name}: {error.reason}"
    if first is None:
        return None
    users = [message for message in first.messages if message.role == "user"]
    own = [message for message in users if not text(message.content).lstrip().startswith(INJECTED)]
    return _told(own or users) or file.name


def _conversations(trace: Trace) -> Iterator[Conversation]:
    return (row for row in FORMATS[trace.format].convert(trace) if isinstance(row, Conversation))


def _told(messages: list[Message]) -> str:
    return text(messages[0].content).strip() if messages else ""


def _copied(file: Path, folder: Path) -> Path:
    """The file below the folder, under its own name, which agents make unique; else under its folder's too."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / file.name
    if copy.exists() and not filecmp.cmp(file, copy, shallow=False) and not _grown(copy, file):
        copy = folder / f"{file.parent.name}-{file.name}"
    shutil.copyfile(file, copy)
    return copy


def _grown(copy: Path, file: Path) -> bool:
    """Whether the session went on since it was copied."""
    size = copy.stat().st_size
    if file.stat().st_size < size:
        return False
    with copy.open("rb") as old, file.open("rb") as new:
        while block := old.read(1 << 20):
            if new.read(len(block)) != block:
                return False
    return True
