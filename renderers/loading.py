"""A tokenizer, from wherever it is: ours, one of transformers, a folder on this disk, a repository of the Hub.

The one room of this package that reads a disk, and that knows the Hub: it is imported when a name is asked for that no
folder has, and not before.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, cast

from renderers.errors import TokenizerError
from renderers.tokenizer import HubTokenizer, Tokenizer

FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json")
"""What makes a tokenizer and its template; only the first must be there."""
AnyTokenizer = Tokenizer | HubTokenizer | str | PathLike[str]
"""A tokenizer, or where one is: a folder, or a name on the Hub."""


def load_tokenizer(source: AnyTokenizer, *, revision: str | None = None) -> Tokenizer:
    """The tokenizer of a source. `revision`: of a Hub repository, by default its main branch as it is now.

    Raises TokenizerError where there is none, with the cure.
    """
    if not isinstance(source, (str, PathLike)):
        return adapt(source)
    files = files_in(Path(source)) or _hub_files(str(source), revision)
    if FILES[0] not in files:
        raise TokenizerError(f"{source} holds no {FILES[0]}: save the tokenizer there with `save_pretrained`")
    return read_tokenizer(files, name=str(source))


def files_in(folder: Path) -> dict[str, Path]:
    """The files of a tokenizer in a folder."""
    return {name: folder / name for name in FILES if (folder / name).is_file()}


def read_tokenizer(files: Mapping[str, Path], *, name: str, lazy: bool = False) -> Tokenizer:
    """The tokenizer that these files make; `lazy` as `from_json` has it. Raises TokenizerError where they make none."""
    config = json.loads(files[FILES[1]].read_text("utf-8")) if FILES[1] in files else {}
    return Tokenizer.from_json(
        files[FILES[0]].read_text("utf-8"), config=config, chat_template=_template(files), name=name, lazy=lazy
    )


def adapt(tokenizer: Tokenizer | HubTokenizer) -> Tokenizer:
    """A tokenizer of ours as it is; of transformers', what it is now (it is read once)."""
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    if not hasattr(tokenizer, "backend_tokenizer"):
        cure = "give a folder, a model's name on the Hub, a fast tokenizer of transformers, or a renderers.Tokenizer"
        raise TokenizerError(f"{type(tokenizer).__module__}.{type(tokenizer).__name__} cannot be used here: {cure}")
    return _adapted(tokenizer, str(getattr(tokenizer, "chat_template", None)), len(cast(Any, tokenizer)))


@lru_cache(maxsize=4)
def _adapted(tokenizer: HubTokenizer, template: str, size: int) -> Tokenizer:
    return Tokenizer.from_hf(tokenizer)


def _template(files: Mapping[str, Path]) -> str | None:
    if "chat_template.jinja" in files:
        return files["chat_template.jinja"].read_text("utf-8")
    if "chat_template.json" in files:
        return json.loads(files["chat_template.json"].read_text("utf-8"))["chat_template"]
    return None


def _hub_files(model: str, revision: str | None) -> dict[str, Path]:
    from huggingface_hub import snapshot_download

    try:
        return files_in(Path(snapshot_download(model, revision=revision, allow_patterns=list(FILES))))
    except (OSError, ValueError) as error:  # what the Hub raises is one of these: no such name, no answer, nothing kept
        raise TokenizerError(
            f"{model} is no folder with a tokenizer here, and the Hub does not give it ({error}): "
            f"name a folder, or an owner/name of the Hub"
        ) from error
