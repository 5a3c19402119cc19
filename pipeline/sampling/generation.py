"""Ids in, ids out: what is asked of whatever samples, and what it answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import SamplingError

UNKNOWN = -9999.0
"""What vLLM writes for a logprob that it does not know."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample."""

    max_tokens: int = 1024
    temperature: float = 1.0
    top_p: float = 1.0
    stop_token_ids: tuple[int, ...] = ()
    """The ids that end a turn: `Renderer.get_stop_token_ids()`."""
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """What was sampled: as many logprobs (natural, of the sampled id) as ids."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: str
    """stop, length, abort, …: in the words of who sampled."""

    def __post_init__(self):
        if len(self.token_ids) != len(self.logprobs):
            raise SamplingError(f"{len(self.token_ids)} ids and {len(self.logprobs)} logprobs: each id has one")
        if any(not isinstance(token, int) or token < 0 for token in self.token_ids):
            raise SamplingError("an id is a whole number, and none is below 0")
        for k, logprob in enumerate(self.logprobs):
            if not math.isfinite(logprob) or logprob > 1e-6 or logprob <= UNKNOWN:
                raise SamplingError(f"token {k}: a logprob is finite and not above 0, not {logprob}")


class Sampler(Protocol):
    """Goes on from ids."""

    def generate(self, prompt_ids: Sequence[int], sampling: Sampling) -> Generation:
        """What the model writes after these ids. Raises SamplingError, OverlongPrompt."""
        ...
