"""The renderer that a target names, and its tokenizer: the example's, a folder's, or a commit's of the Hub."""

import re
from contextlib import suppress
from pathlib import Path

from pipeline.errors import SettingsError, TokenizerUnavailable
from pipeline.targets import EXAMPLE, SETTINGS, Target
from renderers.errors import TemplateError
from renderers.loading import FILES, files_in, read_tokenizer
from renderers.messages import Message, Request
from renderers.registry import create_renderer
from renderers.renderer import Renderer
from renderers.tokenizer import Tokenizer

COMMIT = re.compile(r"[0-9a-f]{40}")


def load_renderer(target: Target, *, folder: Path = Path(), offline: bool = False, lazy: bool = False) -> Renderer:
    """The renderer that a target names, with its tokenizer and flags. Raises UnknownFlag where it has no such flag."""
    tokenizer = load_tokenizer(target, folder=folder, offline=offline, lazy=lazy)
    renderer = create_renderer(tokenizer, target.renderer, today=target.today, **target.flags)
    with suppress(TemplateError):  # it may not tell this: asked is whether there is such a history
        renderer.streams(Request((Message("user", "x"),)), target.history)
    return renderer


def load_tokenizer(target: Target, *, folder: Path = Path(), offline: bool = False, lazy: bool = False) -> Tokenizer:
    """The tokenizer that a target names: `example`, a folder (relative to `folder`), or a commit of a Hub repository.

    lazy: for who wants the text of ids, and may never encode.

    Raises SettingsError for a Hub id without a commit, TokenizerUnavailable where it cannot be had, with the cure.
    """
    files = tokenizer_files(target, folder=folder, offline=offline)
    name = target.model if target.revision is None else f"{target.model}@{target.revision}"
    return read_tokenizer(files, name=name, lazy=lazy)


def tokenizer_files(target: Target, *, folder: Path = Path(), offline: bool = False) -> dict[str, Path]:
    """The files that make the target's tokenizer, on this disk. `offline`: the Hub is not asked."""
    place = EXAMPLE / "tokenizer" if target.model == "example" else folder / target.model
    if not place.is_dir():
        return _hub_files(target, place=place, offline=offline)
    files = files_in(place)
    if FILES[0] not in files:
        raise TokenizerUnavailable(f"{place} holds no tokenizer.json; save the tokenizer there with `save_pretrained`")
    return files


def _hub_files(target: Target, *, place: Path, offline: bool) -> dict[str, Path]:
    from huggingface_hub import constants  # for who names a model of the Hub

    if not COMMIT.fullmatch(target.revision or ""):
        cure = "name a folder that is there, or set `revision` to the commit of the Hub that you mean, 40 hex digits"
        why = f"there is no folder {place}, and revision {target.revision} is no commit: a branch moves"
        raise SettingsError(f"{SETTINGS}: model {target.model}: {why}; {cure}")
    found = {name: _hub_file(target, name, offline=offline or constants.HF_HUB_OFFLINE) for name in FILES}
    return {name: path for name, path in found.items() if path}


def _hub_file(target: Target, name: str, *, offline: bool) -> Path | None:
    """A file of the repository; None where the repository does not have it."""
    from huggingface_hub import constants

    optional, commit = name != FILES[0], str(target.revision)
    kept = Path(constants.HF_HUB_CACHE, f"models--{target.model.replace('/', '--')}")
    if (found := kept / "snapshots" / commit / name).exists():
        return found
    # Offline, what the cache lacks is taken for absent; online, a failed download must not lose a template.
    if optional and (offline or (kept / ".no_exist" / commit / name).exists()):
        return None
    from huggingface_hub import hf_hub_download  # a fifth of a second, for what is not here
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(target.model, name, revision=target.revision, local_files_only=offline))
    except LocalEntryNotFoundError as error:
        raise _unavailable(target, error) from error
    except EntryNotFoundError as error:
        if optional:
            return None
        raise _unavailable(target, error) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise _unavailable(target, error) from error


def _unavailable(target: Target, error: Exception) -> TokenizerUnavailable:
    """With what to do about it."""
    why = str(error).strip().splitlines()[0]
    cure = (
        f"go online, or `hf download {target.model} --revision {target.revision}`; a gated model needs HF_TOKEN; "
        "or set `model` to a folder that holds tokenizer.json"
    )
    return TokenizerUnavailable(f"{target.model}@{target.revision}: {type(error).__name__}: {why}; {cure}")
