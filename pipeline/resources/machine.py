"""What would tell of this machine and of whoever works at it."""

import socket
import subprocess

from pipeline.scrubbing.secrets import NOBODY, NOWHERE

SHORTEST = 5
"""Characters of a name: a shorter one stands in too many words."""


def names_of_this_machine() -> tuple[str, ...]:
    """Its name, and the address that git signs commits with; not those that any machine may have."""
    names = (socket.gethostname(), _git("user.email"))
    told = (name for name in names if not (NOBODY.fullmatch(name) or NOWHERE.fullmatch(name)))
    return tuple(name for name in told if len(name) >= SHORTEST)


def _git(key: str) -> str:
    asked = ["git", "config", "--global", "--get", key]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
