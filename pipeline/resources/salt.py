"""The secret that placeholders are made with: a project's own, so that nobody can try out what was replaced."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from pipeline.columns import Folder


def salt_of(data: Folder) -> bytes:
    """TRACEMILL_SALT, else what stands in the file `salt` of the data folder, which is made where it is missing.

    Another salt gives other placeholders, so every row in which something was replaced changes.
    """
    if given := os.environ.get("TRACEMILL_SALT"):
        return given.encode()
    place = data / "salt"
    if not place.exists():
        with suppress(FileExistsError):  # of two runs, one makes it
            fresh = secrets.token_hex(16).encode()
            if isinstance(place, Path):
                _make(place, fresh)
            else:
                place.fs.pipe_file(place.path, fresh, mode="create")
    return place.read_bytes()


def _make(place: Path, salt: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".salt-{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_bytes(salt)
    try:
        os.link(fresh, place)
    finally:
        fresh.unlink()
