"""A model of transformers in this process. It brings torch: extra `train`."""

from collections.abc import Sequence
from typing import Any

from pipeline.errors import OverlongPrompt
from pipeline.sampling.generation import Generation, Sampling


class LocalModel:
    """A `Sampler`: a causal language model of transformers, on whatever device it is."""

    def __init__(self, model: Any):
        self.model = model.eval()

    def generate(self, prompt_ids: Sequence[int], sampling: Sampling) -> Generation:
        """What the model writes after these ids; logprobs are those it samples from, at this temperature.

        Raises OverlongPrompt where the prompt leaves no room in its context.
        """
        import torch  # pyright: ignore[reportMissingImports]

        room = self.model.config.max_position_embeddings - len(prompt_ids)
        if room < 1:
            raise OverlongPrompt(f"a prompt of {len(prompt_ids)} tokens leaves no room in the model's context")
        if sampling.seed is not None:
            torch.manual_seed(sampling.seed)
        ids = torch.tensor([list(prompt_ids)], device=self.model.device)
        warm = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        with torch.no_grad():
            made = self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=min(sampling.max_tokens, room),
                eos_token_id=list(sampling.stop_token_ids) or None,
                pad_token_id=0,
                output_scores=True,
                return_dict_in_generate=True,
                **(warm if sampling.temperature > 0 else {"do_sample": False}),
            )
        scores = self.model.compute_transition_scores(made.sequences, made.scores, normalize_logits=True)[0]
        sampled = made.sequences[0, len(prompt_ids) :].tolist()
        stopped = bool(sampled) and sampled[-1] in sampling.stop_token_ids
        return Generation(tuple(sampled), tuple(scores.tolist()), "stop" if stopped else "length")
