"""The project's settings: `tracemill.yaml`, and the targets it names.

A project is a folder with `tracemill.yaml`, `prompts/` (one batch a file) and what the pipeline makes of them. It is
found through `TRACEMILL_PROJECT`, else the working folder, else `demo/` below it with the settings of the shipped
example.
"""

import os
import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from pipeline.errors import PromptFileError, SettingsError
from pipeline.faults import faults, read_yaml
from pipeline.mixtures import Mixture, Name
from pipeline.settings import Collection, Fraction, Repo, Settings
from renderers.masking import POLICIES, ROLES, SAID, LossPolicy
from renderers.segments import SAMPLED, Kind

if TYPE_CHECKING:
    from pipeline.columns import Folder

EXAMPLE = Path(__file__).parent / "example"
"""The project that ships with the package: sessions, batch files, a small tokenizer, `tracemill.yaml`."""
SETTINGS = "tracemill.yaml"
BATCH_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
"""What a batch may be called: it names a partition, a folder and a file of the dataset."""
BATCH_FILES = (".jsonl", ".ndjson", ".json", ".csv", ".txt")
"""How the name of a batch file ends: as it is written."""
RENAME = "not a batch's name; rename it: letters, digits, `-`, `_` and single `.`, then .jsonl"
PACKED = (".gz", ".zst", ".xz", ".bz2", ".zip")
TABLES = (".parquet", ".arrow", ".tsv", ".xlsx", ".yaml", ".yml")
"""What holds prompts elsewhere, and is no batch file here: refused, for nobody puts it there to be left out."""


def _kinds(said: Any) -> Any:
    """Kinds, and roles as the kinds that they say."""
    if not isinstance(said, list | tuple) or not all(isinstance(word, str) for word in said):
        return said
    if not said:
        raise ValueError("nothing would be learned; name kinds or roles, or leave it out")
    return tuple(dict.fromkeys(kind for word in said for kind in sorted(ROLES.get(word, (word,)))))


def _said(kinds: tuple[Kind, ...] | None) -> tuple[Kind, ...] | None:
    if unsaid := ", ".join(sorted(set(kinds or ()) - SAID)):
        raise ValueError(
            f"{unsaid}: nobody's words, never trained; train_on takes {', '.join(sorted(SAID))}, and roles"
        )
    return kinds


class Target(Settings):
    """(model, policy, length) that conversations are rendered for."""

    model: str
    """`example`, a local folder, or a Hub id."""
    revision: str | None = None
    """A commit of the Hub repository; a branch name moves, and is refused."""
    renderer: str = "auto"
    """`auto`, `traced`, or the name of a family."""
    today: date | None = None
    """The date that is printed by templates that print one."""
    flags: dict[str, Any] = Field(default={})
    """Template flags: `enable_thinking`, `reasoning_effort`, …"""
    history: Literal["last", "split", "trust", "keep"] = "last"
    """Turns that the template tells otherwise in history than inference saw them, because it drops their reasoning:

    `last` leaves them unlearned. `split` gives them rows of their own, told as inference saw them. `keep` tells history
    with its reasoning, where the family has the flag. `trust` learns them as they are told, and flags them.
    """
    policy: str = "assistant"
    """A row of `renderers.masking.POLICIES`."""
    train_on: Annotated[tuple[Kind, ...] | None, BeforeValidator(_kinds), AfterValidator(_said)] = None
    """Kinds to learn instead of the policy's, or roles: `assistant` is all that the model writes."""
    last_turn_only: bool | None = None
    """Instead of the policy's."""
    max_length: Annotated[int, Field(gt=0)] | None = None
    """Tokens."""
    over_length: Literal["drop", "error", "trim_followups", "truncate_left", "truncate_right", "split_turns"] = "drop"
    """What becomes of a longer row: a reject, a failed run, or what fits of it, a row of `fitting.FITS`."""

    @model_validator(mode="after")
    def _no_word_of_others_twice(self) -> "Target":
        if self.history == "split" and self.train_on and set(self.train_on) - SAMPLED:
            raise ValueError("history: split would train the words of others once a row: train_on only the assistant's")
        return self

    @property
    def loss_policy(self) -> LossPolicy:
        """The policy that this target names, with the target's own wishes."""
        return POLICIES[self.policy].but(kinds=self.train_on, last_turn_only=self.last_turn_only)


def _off_is_a_word(mode: Any) -> Any:
    return "off" if mode is False else mode  # what YAML makes of it


class Scrubbing(Settings):
    """What becomes of secrets and personal data in conversations."""

    mode: Annotated[Literal["replace", "report", "reject", "off"], BeforeValidator(_off_is_a_word)] = "replace"
    """`replace`: by typed placeholders. `report`: counted only. `reject`: the row leaves. What is not clean is never
    published."""
    identity: tuple[Annotated[str, Field(min_length=3)], ...] = ()
    """More to find wherever it stands: names, hosts and addresses of those who recorded."""


class Publication(Settings):
    """Where the dataset goes."""

    to: Literal["folder", "hub"] = "folder"
    folder: str = "dataset"
    """For `folder`: relative to the project."""
    repo: Repo | None = None
    """For `hub`: `owner/name`."""
    token: SecretStr | None = Field(default=None, exclude=True)
    """For `hub`; better left to the environment: HF_TOKEN, else HUGGINGFACE_HUB_TOKEN, else `hf auth login`."""
    private: bool = True
    gated: Literal["auto", "manual"] | None = None
    """For `hub`: readers ask for access, which is granted at once (`auto`) or by hand."""
    create_pr: bool = False
    """For `hub`: batches are gathered in a pull request, for somebody to merge."""
    license: str | None = None
    tags: tuple[str, ...] = ()
    """Of the card, beside ours."""
    traces: bool = True
    """Whether sessions are published, scrubbed as the conversations are; only such that conversations came of."""
    splits: dict[Annotated[str, Field(pattern=r"^[a-z]+$")], Fraction] = Field(default={})
    """Split -> its share of 1, `train` is the rest. Whole repositories and prompts: none is in two splits."""

    @field_validator("splits")
    @classmethod
    def _less_than_all(cls, splits: dict[str, float]) -> dict[str, float]:
        if "train" in splits or sum(splits.values()) >= 1:
            raise ValueError("name the others only, and leave something to `train`: their sum must be less than 1")
        return splits


class ProjectSettings(Settings):
    """The whole of `tracemill.yaml`."""

    targets: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")], Target], Field(min_length=1)]
    collect: Collection = Collection()
    mixtures: dict[Name, Mixture] = Field(default_factory=dict)
    scrub: Scrubbing = Scrubbing()
    publish: Publication = Publication()
    prompts: str = "prompts"
    """Folder of batch files, relative to the project."""
    engine: Literal["local", "ray"] = "local"
    """What renders a partition: its run, or a Ray cluster (extra `scale`)."""
    data: str = "data"
    """Folder of the partitions, relative to the project; or where they are in an object store: `s3://bucket/prefix`."""


class Project:
    """A folder and its settings."""

    def __init__(self, folder: Path, settings: ProjectSettings):
        self.folder, self.settings = folder, settings

    @property
    def targets(self) -> Mapping[str, Target]:
        return self.settings.targets

    @property
    def prompts(self) -> Path:
        return self.folder / self.settings.prompts

    @property
    def data(self) -> "Folder":
        """Where partitions are. Raises SettingsError where nothing here reads such an address."""
        told = self.settings.data
        return object_store(told, self.folder / SETTINGS) if "://" in told else self.folder / told

    @property
    def notes(self) -> Path:
        """A folder of this machine for what can be made again."""
        return self.data if isinstance(self.data, Path) else self.folder / ".data"

    def batch_files(self) -> dict[str, Path]:
        """Batch -> its file. A file whose name cannot name a partition is left out: `misnamed_files` has it."""
        found: dict[str, Path] = {}
        for path in self._prompt_files():
            if BATCH_NAME.fullmatch(path.stem) and found.setdefault(path.stem, path) != path:
                raise PromptFileError(f"{path} and {found[path.stem].name} are one batch; rename one of them")
        return found

    def batch_file(self, batch: str) -> Path:
        """The file of a batch. Raises PromptFileError where there is none."""
        file = self.batch_files().get(batch)
        if file is None:
            raise PromptFileError(f"{self.prompts}: no file of batch {batch!r}; it is one of {', '.join(BATCH_FILES)}")
        return file

    def misnamed_files(self) -> str:
        """Files whose names cannot name a partition, with the cure; nothing where there are none."""
        names = ", ".join(path.name for path in self._prompt_files() if not BATCH_NAME.fullmatch(path.stem))
        return names and f"{names}: {RENAME}"

    def _prompt_files(self) -> list[Path]:
        """Raises PromptFileError for what is meant as a batch file, and is none."""
        found = sorted(path for path in self.prompts.glob("[!.]*") if not path.is_dir())
        for path in found:
            if path.suffix not in BATCH_FILES and (cure := _cure_of(path)):
                raise PromptFileError(f"{path}: no batch file; {cure}, or keep it out of this folder")
        return [path for path in found if path.suffix in BATCH_FILES]


def _cure_of(path: Path) -> str:
    """What makes a file of this name one that is read; nothing where nobody would think that it was."""
    ends = path.suffix.lower()
    if ends in BATCH_FILES:
        return f"end its name in {ends}"
    return "unpack it" if ends in PACKED else "write it as .jsonl" if ends in TABLES else ""


@cache
def object_store(address: str, settings: Path) -> "Folder":
    """A place behind fsspec. Listings are asked for each time: others write there too."""
    from upath import UPath

    try:
        place = UPath(address, use_listings_cache=False)
        place.fs  # noqa: B018 - it is here that a missing package is noticed
    except (ImportError, ValueError) as error:
        cure = "install what fsspec needs for it (`s3fs` for s3://, `gcsfs` for gs://), or name a folder"
        raise SettingsError(f"{settings}: data: {address}: {error}; {cure}") from error
    return place


def load_project(folder: Path) -> Project:
    """The project in this folder. Raises SettingsError naming file, key and cure."""
    path = folder / SETTINGS
    if not path.is_file():
        raise SettingsError(f"{path} does not exist; `tracemill init {folder}` writes one")
    return Project(folder, parse_settings(path))


def parse_settings(path: Path) -> ProjectSettings:
    raw, node = read_yaml(path)
    try:
        settings = ProjectSettings.model_validate({} if raw is None else raw)
    except ValidationError as error:
        raise SettingsError(f"{path}: {faults(error, ProjectSettings, node)}") from error
    for name in {"conversations", "traces"}.intersection(settings.targets):
        raise SettingsError(
            f"{path}: targets.{name}: a config of the dataset is called that already; name it otherwise"
        )
    for name, target in settings.targets.items():
        if target.policy not in POLICIES:
            raise SettingsError(f"{path}: targets.{name}.policy: {target.policy!r} is none of {', '.join(POLICIES)}")
    for name, mixture in settings.mixtures.items():
        if mixture.target not in settings.targets:
            raise SettingsError(f"{path}: mixtures.{name}.target: {mixture.target!r} is none of the targets")
    _a_folder_of_its_own(path, settings)
    return settings


def _a_folder_of_its_own(path: Path, settings: ProjectSettings) -> None:
    """A dataset has a README.md and a JSON file, which would be the project's, or a batch."""
    project = path.resolve().parent
    dataset = (project / settings.publish.folder).resolve()
    for held in (project, project / settings.prompts, project / settings.data):
        if settings.publish.to == "folder" and held.resolve().is_relative_to(dataset):
            cure = "name a folder of its own, such as `dataset`"
            raise SettingsError(f"{path}: publish.folder: {dataset} is, or holds, {held}; {cure}")


def find_project(folder: Path | None = None) -> Project:
    """The project that is meant: `folder`, else TRACEMILL_PROJECT, else the working folder, else the demo."""
    named = folder or os.environ.get("TRACEMILL_PROJECT")
    if named:
        return load_project(Path(named).resolve())
    here = Path.cwd()
    if (here / SETTINGS).is_file():
        return load_project(here)
    demo = here / "demo"
    return load_project(demo) if (demo / SETTINGS).is_file() else Project(demo, example_settings())


@cache
def example_settings() -> ProjectSettings:
    return parse_settings(EXAMPLE / SETTINGS)
