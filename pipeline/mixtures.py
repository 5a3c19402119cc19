"""What a mixture may say in `tracemill.yaml`: sources and shares, what leaves, how the rest is laid out."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.settings import Count, OfHundred, Percent, Positive, Settings

COMMIT = re.compile(r"[0-9a-f]{40}")
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Word = Annotated[str, Field(min_length=1)]
KINDS_OF_SOURCE = ("batches", "tag", "path", "repo")


class Source(Settings):
    """Rows of the project's batches, or of others."""

    batches: Word | None = None
    """Batches of this project, as a glob: `codex_*`."""
    tag: Word | None = None
    """Rows of this project whose prompt has this word in `metadata.tags`."""
    path: Word | None = None
    """A JSONL file or a folder of them, relative to the project."""
    format: str | None = None
    """Of `path`: raw sessions of this trace format."""
    repo: Word | None = None
    """A data set of the Hub, with a column `messages`,"""
    revision: str | None = None
    """at this commit,"""
    config: str | None = None
    """of several configs this one,"""
    split: str = "train"
    """this split."""
    weight: Positive | None = None
    percentage: OfHundred | None = None
    """Of 100: 1 is one percent."""
    proportion: Annotated[float, Field(gt=0, le=1)] | None = None
    """Of 1."""
    max_examples: Count | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "Source":
        if sum(getattr(self, kind) is not None for kind in KINDS_OF_SOURCE) != 1:
            raise ValueError(f"name one of {', '.join(KINDS_OF_SOURCE)}")
        if self.repo is not None and not COMMIT.fullmatch(self.revision or ""):
            raise ValueError(f"revision {self.revision}: a branch moves; set the commit that you mean, 40 hex digits")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The share, by its scale."""
        asked = {"weight": self.weight, "percentage": self.percentage, "proportion": self.proportion}
        return {scale: share for scale, share in asked.items() if share is not None}


class Quality(Settings):
    """Rules by which conversations leave; each can be switched off."""

    truncated: bool = True
    """The run was cut off, aborted or killed."""
    refused: bool = True
    """The last answer refuses the task."""
    repeated_calls: Count | None = 4
    """The same call with the same result, so often in a row."""
    silent_tools: bool = True
    """Tools were called, and no result says anything."""


class Judge(Settings):
    """A model that grades conversations, behind any server that speaks Chat Completions."""

    base_url: str = "https://api.openai.com/v1"
    provider: str | None = None
    """Whose prices hold, as `collect.endpoint.provider`."""
    model: str
    key: str = "OPENAI_API_KEY"
    """The environment variable that holds the key."""
    question: str = "Did the assistant solve the task, honestly and without needless steps?"
    minimum: Annotated[float, Field(ge=0, le=10)] = 5
    """The lowest grade that stays, of 0 to 10."""
    max_calls: Count
    """Answers that may be paid for; remembered ones are free. A conversation that was not graded stays."""
    max_usd: Positive | None = None
    """What they may cost together; a call that might pass it is not made. Needs a model whose price is known."""
    max_answer: Count = 2000
    """Tokens of an answer, its reasoning included; what reaches it is no grade."""
    at_once: Count = 4


class Curation(Settings):
    """Which conversations leave before shares are counted."""

    duplicates: Literal["keep", "exact", "near"] = "near"
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.85
    """Jaccard similarity of word 5-grams from which conversations are near duplicates."""
    benchmarks: tuple[Word, ...] = ()
    """Files of benchmarks, globs relative to the project or from /: text, or Parquet, JSON, JSONL, of which every text
    counts."""
    ngram: Annotated[int, Field(ge=5)] = 13
    """Words in a row that a conversation and a benchmark may not share."""
    quality: Quality = Quality()
    judge: Judge | None = None


class Mixture(Settings):
    """Rows of several sources in given shares, for one target."""

    target: str
    sources: Annotated[dict[str, Source], Field(min_length=1)]
    by: Literal["rows", "tokens"] = "rows"
    """What shares and `limit` count."""
    limit: Count | None = None
    """Of all sources together."""
    seed: int = 3407
    curate: Curation = Curation()
    splits: dict[Name, Percent] = Field(default_factory=dict)
    """Percentages of rows held out, by name; the rest is `train`. What belongs together is never in two of them."""
    pack: Count | None = None
    """Tokens of a sequence that holds several rows; None: a row is a row."""

    @model_validator(mode="after")
    def _train_is_left(self) -> "Mixture":
        if "train" in self.splits or sum(self.splits.values()) >= 100:
            raise ValueError(
                "splits: name what is held out, in percent; `train` is what is left, and must be something"
            )
        return self
