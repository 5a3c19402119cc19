"""How servers are asked to go on from ids, and how they answer with ids and logprobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import SamplingError
from pipeline.sampling.generation import Generation, Sampling

Json = Mapping[str, Any]
SPELLED = "token_id:"
"""How servers spell an id where the dialect wants the text of a token."""


@dataclass(frozen=True)
class Dialect:
    """One kind of server."""

    path: str
    ask: Callable[[str, Sequence[int], Sampling], Json]
    """(model, prompt ids, sampling) -> the body of the request."""
    read: Callable[[Json], Generation]
    """Raises KeyError, IndexError, TypeError, ValueError where the answer is none; SamplingError for a bad one."""


def ask_vllm(model: str, ids: Sequence[int], sampling: Sampling) -> Json:
    return {
        "model": model,
        "token_ids": list(ids),
        "sampling_params": {**_common(sampling), "max_tokens": sampling.max_tokens, "logprobs": 1, **_seed(sampling)},
    }


def read_vllm(answer: Json) -> Generation:
    choice = _only(answer["choices"])
    told = choice["logprobs"]["content"]
    ids = choice["token_ids"]
    _check_spelled([entry["token"] for entry in told], ids)
    return _made(ids, [entry["logprob"] for entry in told], choice["finish_reason"])


def ask_sglang(model: str, ids: Sequence[int], sampling: Sampling) -> Json:
    """The server has one model, and no word for its name."""
    asked = {"max_new_tokens": sampling.max_tokens, "no_stop_trim": True}
    seeded = {} if sampling.seed is None else {"sampling_seed": sampling.seed}
    return {"input_ids": list(ids), "sampling_params": {**_common(sampling), **asked, **seeded}, "return_logprob": True}


def read_sglang(answer: Json) -> Generation:
    meta = answer["meta_info"]
    told = meta["output_token_logprobs"]  # (logprob, id, text)
    ids = answer["output_ids"]
    if [entry[1] for entry in told] != list(ids):
        raise SamplingError("the logprobs are of other ids than those that were sampled")
    return _made(ids, [entry[0] for entry in told], meta["finish_reason"]["type"])


def ask_completions(model: str, ids: Sequence[int], sampling: Sampling) -> Json:
    wanted = {"return_token_ids": True, "return_tokens_as_token_ids": True, "logprobs": 1}
    asked = {"model": model, "prompt": list(ids), "max_tokens": sampling.max_tokens}
    return {**asked, **_common(sampling), **wanted, **_seed(sampling)}


def read_completions(answer: Json) -> Generation:
    """Text is no answer: encoding it again may give other ids than those that were sampled."""
    choice = _only(answer["choices"])
    told, ids = choice["logprobs"], choice.get("token_ids")
    if ids is None:
        if not all(token.startswith(SPELLED) for token in told["tokens"]):
            raise SamplingError("the server answers with text alone: it must know return_token_ids")
        ids = [int(token.removeprefix(SPELLED)) for token in told["tokens"]]
    _check_spelled(told["tokens"], ids)
    return _made(ids, told["token_logprobs"], choice["finish_reason"])


def _common(sampling: Sampling) -> dict[str, Any]:
    """What all dialects have one word for. Stops stay in the text: they are sampled, and trained."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop_token_ids": list(sampling.stop_token_ids),
        "skip_special_tokens": False,
    }


def _seed(sampling: Sampling) -> dict[str, int]:
    return {} if sampling.seed is None else {"seed": sampling.seed}


def _only(choices: Sequence[Json]) -> Json:
    if len(choices) != 1:
        raise SamplingError(f"one completion was asked for, and {len(choices)} came")
    return choices[0]


def _check_spelled(tokens: Sequence[str], ids: Sequence[int]) -> None:
    """Where tokens are spelled as ids, they are the ids that were sampled."""
    spelled = [token.removeprefix(SPELLED) for token in tokens if token.startswith(SPELLED)]
    if spelled and spelled != list(map(str, ids)):
        raise SamplingError("the logprobs are of other ids than those that were sampled")


def _made(ids: Sequence[int], logprobs: Sequence[float], finish: Any) -> Generation:
    if not isinstance(finish, str):
        raise TypeError(f"finish_reason is {finish!r}: it has not finished")
    return Generation(tuple(ids), tuple(map(float, logprobs)), str(finish))
