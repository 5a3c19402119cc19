"""A server that goes on from ids, over HTTP.

`openai` carries the requests, whatever the dialect: it tries again after 408, 409, 429, 5xx, a lost connection and a
timeout, and waits as the server says (`Retry-After`), or longer each time.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import openai

from pipeline.errors import OverlongPrompt, SamplingError
from pipeline.sampling import DIALECTS
from pipeline.sampling.generation import Generation, Sampling

MISSHAPEN = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What reading an answer of another shape raises, or one that is no JSON."""


class Server:
    """A `Sampler`. Threads may share it.

    url: the root of the server, as http://localhost:8000, with or without `/v1`. dialect: a row of `DIALECTS`. context:
    tokens of prompt and completion together; by default the server is asked, once. timeout: seconds for one attempt;
    retries: attempts more. Raises SamplingError for an address or a dialect that is none.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        dialect: str = "vllm",
        api_key: str = "none",
        context: int | None = None,
        timeout: float = 600,
        retries: int = 3,
    ):
        if dialect not in DIALECTS:
            raise SamplingError(f"no dialect {dialect!r}; there are: {', '.join(DIALECTS)}")
        if not url.startswith(("http://", "https://")):
            raise SamplingError(f"{url!r} is no address of a server; write http://host:port")
        self.model, self.dialect, self._context = model, DIALECTS[dialect], context
        self.root = url.rstrip("/").removesuffix("/v1")
        self.http = openai.OpenAI(base_url=self.root, api_key=api_key, timeout=timeout, max_retries=retries)

    def generate(self, prompt_ids: Sequence[int], sampling: Sampling) -> Generation:
        """What the model writes after these ids, as far as the context reaches.

        Raises OverlongPrompt before anything is sent, SamplingError where the server fails or its answer is none.
        """
        asked = sampling
        if self.context is not None:
            room = self.context - len(prompt_ids)
            if room < 1:
                raise OverlongPrompt(f"a prompt of {len(prompt_ids)} tokens leaves no room in {self.context}")
            asked = replace(sampling, max_tokens=min(sampling.max_tokens, room))
        path = self.dialect.path
        try:
            answer: Any = self.http.post(path, body=self.dialect.ask(self.model, prompt_ids, asked), cast_to=object)
            return self.dialect.read(answer)
        except openai.OpenAIError as error:
            raise SamplingError(f"{self.root}{path}: {error}") from error
        except MISSHAPEN as error:
            cure = f"is this the server for it? there are dialects: {', '.join(DIALECTS)}"
            raise SamplingError(f"{self.root}{path}: no answer of this dialect ({error!r}); {cure}") from error

    @cached_property
    def context(self) -> int | None:
        """Tokens of prompt and completion together; None where the server does not say."""
        if self._context is not None:
            return self._context
        try:
            models: Any = self.http.get("/v1/models", cast_to=object)
            told = [row.get("max_model_len") for row in models["data"] if row.get("id") == self.model]
            return None if told in ([], [None]) else int(told[0])
        except openai.NotFoundError:
            return None
        except (openai.OpenAIError, *MISSHAPEN) as error:
            raise SamplingError(f"{self.root}/v1/models: {error!r}; `context=` spares this question") from error
