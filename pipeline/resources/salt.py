"""The secret that placeholders are made with: a project's own, so that nobody can try out what was replaced."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def salt_of(data: Path) -> bytes:
    """TRACEMILL_SALT, else what stands in the file `salt` of the data folder, which is made where it is missing.

    Another salt gives other placeholders, so every row in which something was replaced changes.
    """
    if given := os.environ.get("TRACEMILL_SALT"):
        return given.encode()
    place = data / "salt"
    if not place.exists():
        data.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f".salt-{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(16), encoding="ascii")
        with suppress(FileExistsError):  # of two runs, one makes it
            os.link(fresh, place)
        fresh.unlink()
    return place.read_bytes()
