"""Where an asset is in the code: a link to the commit where its repository is known, else file and line."""

import re
import subprocess
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import dagster as dg

ROOT = Path(__file__).parents[2]
REMOTE = re.compile(
    r"(?:https?://(?:[^@/]*@)?|(?:ssh://)?git@)(?P<host>git(hub|lab)\.com)[:/](?P<name>[^:]+?)(\.git)?/?"
)
"""What is before the host may hold a secret."""


@dataclass(frozen=True)
class Repository:
    """Our sources, where others can see them."""

    url: str
    commit: str
    folder: Path
    """Of this machine."""


def with_places(assets: Sequence[dg.AssetsDefinition], repository: Repository | None) -> list[dg.AssetsDefinition]:
    """The assets, each with its place. Dagster calls this a beta; our tests hold the version in the lock to it."""
    with warnings.catch_warnings(action="ignore", category=dg.BetaWarning):
        told = dg.with_source_code_references(assets)
        if repository:
            anchor = Path(__file__)
            inside = anchor.relative_to(repository.folder).as_posix()
            mapping = dg.AnchorBasedFilePathMapping(anchor, inside)
            told = dg.link_code_references_to_git(told, repository.url, repository.commit, mapping)
    return [asset for asset in told if isinstance(asset, dg.AssetsDefinition)]


@cache
def repository() -> Repository | None:
    """The repository at GitHub or GitLab that these sources are a checkout of, if it has their commit."""
    try:
        folder, commit = git("rev-parse", "--show-toplevel"), git("rev-parse", "HEAD")
        git("ls-files", "--error-unmatch", "--", __file__)  # an installed package may lie below another repository
        pushed = git("branch", "--remotes", "--contains", commit)
        remote = REMOTE.fullmatch(git("remote", "get-url", "origin"))
    except (OSError, subprocess.SubprocessError):
        return None
    return Repository(f"https://{remote['host']}/{remote['name']}", commit, Path(folder)) if remote and pushed else None


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
