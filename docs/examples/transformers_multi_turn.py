"""Sample a conversation, turn by turn, from a model of transformers in this process; no server is needed.

    pip install 'tracemill[train]'
    python docs/examples/transformers_multi_turn.py --model Qwen/Qwen3-0.6B

`--model` is a name on the Hub, or a folder that holds a model and its tokenizer.
"""

import argparse

from transformers import AutoModelForCausalLM

from pipeline.sampling.generation import Sampling
from pipeline.sampling.local import LocalModel
from pipeline.sampling.rollout import converse
from renderers import create_renderer


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--model", required=True)
    asked.add_argument("--renderer", default="auto")
    asked.add_argument("--max-tokens", type=int, default=256)
    given = asked.parse_args()
    model = LocalModel(AutoModelForCausalLM.from_pretrained(given.model))
    renderer = create_renderer(given.model, given.renderer)
    questions = iter(["And in other words?", "Thank you."])

    def world(parsed: object) -> list[dict[str, str]]:
        return [{"role": "user", "content": text} for text in [next(questions, "")] if text]

    start = [{"role": "user", "content": "What is a chat template?"}]
    for step in converse(renderer, model, start, world, sampling=Sampling(max_tokens=given.max_tokens, seed=1)):
        how = "bridged" if step.bridged else "rendered"
        finish = step.ended or step.generation.finish
        print(f"{how}: {len(step.prompt_ids)} ids, sampled {len(step.generation.token_ids)}: {finish}")
        print(renderer.tokenizer.decode(step.generation.token_ids))


if __name__ == "__main__":
    main()
