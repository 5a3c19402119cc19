"""Has a model's chat template or tokenizer moved on since the revision that a target pins, and does it matter?

Nothing follows by itself: a target stays on its revision until somebody changes it.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from pipeline.fingerprint import behaviour, corpus, key_of
from pipeline.loading import load_renderer
from pipeline.targets import Target
from renderers.errors import RendererError
from renderers.messages import Request
from renderers.renderer import Renderer


class Drift(msgspec.Struct, frozen=True):
    """What the latest revision does otherwise than the pinned one."""

    pinned: str
    latest: str
    changed: tuple[str, ...] = ()
    """`template`, `tokenizer`, `renderer`: what is another one."""
    differs: int = 0
    of: int = 0
    """Conversations of the corpus."""
    was: str = ""
    """The smallest conversation that is told otherwise: as it was,"""
    now: str = ""
    """and as it is."""


def latest_revision(model: str) -> str:
    """The newest commit of a Hub repository. Raises OSError."""
    from huggingface_hub import HfApi  # a fifth of a second, which the graph need not wait for

    return str(HfApi().model_info(model).sha)


def drift(target: Target, *, folder: Path, latest: Callable[[str], str] = latest_revision) -> Drift | None:
    """What has changed; None for a target that names a folder, which has no revisions."""
    if target.revision is None:
        return None
    newest = latest(target.model)
    if newest == target.revision:
        return Drift(target.revision, newest)
    return compare(target, target.model_copy(update={"revision": newest}), folder=folder)


def compare(pinned: Target, latest: Target, *, folder: Path) -> Drift:
    """Both revisions over the corpus."""
    renderers = [load_renderer(target, folder=folder) for target in (pinned, latest)]
    was, now = (behaviour(renderer, pinned.history) for renderer in renderers)
    changed = [name for name in ("template", "tokenizer", "renderer") if getattr(was, name) != getattr(now, name)]
    differ = [request for request in corpus() if was.told[key_of(request)] != now.told[key_of(request)]]
    smallest = min(differ, key=lambda request: len(repr(request)), default=None)
    texts = [_text(renderer, smallest, pinned.history) for renderer in renderers] if smallest else ["", ""]
    named = pinned.revision or pinned.model, latest.revision or latest.model
    return Drift(*named, tuple(changed), len(differ), len(was.told), *texts)


def _text(renderer: Renderer, request: Request, history: str) -> str:
    try:
        return "\n".join(stream.text for stream in renderer.streams(request, history))
    except RendererError as error:
        return f"{type(error).__name__}: {error}"
