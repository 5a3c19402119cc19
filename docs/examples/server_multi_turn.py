"""Sample a conversation with a tool, turn by turn, from a server that takes ids and gives ids.

    python docs/examples/server_multi_turn.py --dialect vllm --url http://localhost:8000 --model Qwen/Qwen3-8B
    python docs/examples/server_multi_turn.py --dialect sglang --url http://localhost:30000 --model Qwen/Qwen3-8B
    python docs/examples/server_multi_turn.py --dialect completions --url http://localhost:8000 --model Qwen/Qwen3-8B

`--tokenizer` names a folder, or a model on the Hub; by default it is the model's own.
"""

import argparse
import json

from pipeline.sampling import DIALECTS
from pipeline.sampling.client import Server
from pipeline.sampling.generation import Sampling
from pipeline.sampling.rollout import converse
from renderers import Parsed, create_renderer

TOOL = {
    "name": "add",
    "description": "Adds two numbers.",
    "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}},
}


def world(parsed: Parsed) -> list[dict[str, str]]:
    """What the tool answers to each call of a turn; nothing ends the conversation."""
    return [{"role": "tool", "content": added(call["function"]["arguments"])} for call in parsed.tool_calls]


def added(arguments: str) -> str:
    try:
        numbers = json.loads(arguments)
        return str(numbers["a"] + numbers["b"])
    except (ValueError, KeyError, TypeError) as error:
        return f"no numbers: {error!r}"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--dialect", choices=DIALECTS, default="vllm")
    asked.add_argument("--url", default="http://localhost:8000")
    asked.add_argument("--model", required=True)
    asked.add_argument("--tokenizer")
    asked.add_argument("--renderer", default="auto")
    asked.add_argument("--max-tokens", type=int, default=1024)
    given = asked.parse_args()
    renderer = create_renderer(given.tokenizer or given.model, given.renderer)
    server = Server(given.url, given.model, dialect=given.dialect)
    question = [{"role": "user", "content": "What is 17.5 + 24.5? Use the tool."}]
    tools = [{"type": "function", "function": TOOL}]
    sampling = Sampling(max_tokens=given.max_tokens)
    for step in converse(renderer, server, question, world, tools=tools, sampling=sampling):
        how = "bridged" if step.bridged else "rendered"
        finish = step.ended or step.generation.finish
        print(f"{how}: {len(step.prompt_ids)} ids, sampled {len(step.generation.token_ids)}: {finish}")
        print(renderer.tokenizer.decode(step.generation.token_ids))


if __name__ == "__main__":
    main()
