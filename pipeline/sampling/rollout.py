"""A conversation that is sampled turn by turn, in ids all along: what was sampled is never rendered again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.sampling.generation import Generation, Sampler, Sampling
from renderers.errors import TemplateError
from renderers.messages import Message
from renderers.parsing import Parsed
from renderers.renderer import Renderer

Messages = Sequence[Message] | Sequence[Mapping[str, Any]]
Answer = Callable[[Parsed], Messages | None]
"""What the world says to a turn of the model: tool results, the user's next words, or nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    """One sampled turn."""

    prompt_ids: list[int]
    generation: Generation
    parsed: Parsed
    bridged: bool
    """The prompt goes on from the ids of the step before; else it was rendered, and history may read otherwise."""
    ended: str = ""
    """Why it is the last one, where the model said nothing and the template has no words for such a turn."""


def converse(
    renderer: Renderer,
    sampler: Sampler,
    messages: Messages,
    answer: Answer,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    sampling: Sampling | None = None,
    turns: int = 16,
) -> Iterator[Step]:
    """Sampled turns, until the world has nothing to say, so many are sampled, or nothing can follow (`Step.ended`).

    Where a bridge is refused, the prompt is rendered from all that was said: such a step begins a new row to train on.
    Raises TemplateError, before anything is sampled, for a renderer that reads no completions.
    """
    sampling = sampling or Sampling()
    stops = sampling.stop_token_ids or tuple(renderer.get_stop_token_ids())
    told = list(renderer.request(messages).messages)
    ids, bridged = renderer.render_ids(told, tools, add_generation_prompt=True), False
    renderer.parse_response((), prompt_ids=ids, tools=tools)
    for _ in range(turns):
        generation = sampler.generate(ids, replace(sampling, stop_token_ids=stops))
        parsed = renderer.parse_response(generation.token_ids, prompt_ids=ids, tools=tools)
        ended = _ended(renderer, [*told, parsed.message], tools)
        yield Step(ids, generation, parsed, bridged, ended)
        if ended:
            return
        new = list(renderer.request(answer(parsed) or ()).messages)
        if not new:
            return
        told.append(parsed.message)
        extended = renderer.bridge_to_next_turn(ids, generation.token_ids, new, tools=tools or (), messages=told)
        told += new
        bridged = extended is not None
        ids = extended if extended is not None else renderer.render_ids(told, tools, add_generation_prompt=True)


def _ended(renderer: Renderer, told: list[Message], tools: Sequence[Mapping[str, Any]] | None) -> str:
    """Why nothing can follow what was said last; nothing where it can."""
    last = told[-1]
    if not (last.content or last.reasoning or last.tool_calls):
        try:
            renderer.render_ids(told, tools)
        except TemplateError as error:
            return f"an empty completion: {error}"
    return ""
