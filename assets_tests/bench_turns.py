"""How cost grows with turns: the exponent p of CPU seconds ~ tokens ** p, from 4 to 256 turns.

python -m assets_tests.bench_turns                        Qwen3's declared renderer
python -m assets_tests.bench_turns --only glm-4.5 gpt-oss --rounds 9

An agent's conversation (every turn calls a tool and reads its result) and a chat with reasoning; from messages to ids
and labels, every turn proved or trusted. Needs the reference folder: the tokenizers.
"""

import argparse
import gc
import math
import statistics
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from assets_tests.bench_peers import corpus_and_tokenizers
from assets_tests.bench_traced import DAY
from assets_tests.timing import interleaved
from renderers.masking import POLICIES, batch_labels
from renderers.messages import Message, ToolCall
from renderers.registry import create_renderer
from renderers.renderer import Renderer

TURNS = (4, 8, 16, 32, 64, 128, 256)
AT_ONCE = 512
"""Turns that are timed together, so that short conversations are not all overhead."""
QUESTION = "Why is {} so, and what follows from it? " * 6
THOUGHT, ANSWER, RESULT = "Thought {} of it. " * 20, "Because of {}. " * 20, "line {} of the file\n" * 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=["qwen3"], help="families")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    _, folder = corpus_and_tokenizers()
    table = Table(
        "family", "conversation", "turns", "tokens of the longest", "exponent", title=f"{asked.rounds} rounds"
    )
    for family in asked.only:
        renderer: Any = create_renderer(str(folder / family), family)
        for name, told in (("agent", agent), ("chat", chat)):
            for how in ("trusted", "proved"):
                longest, found = exponent(renderer, [told(turns) for turns in TURNS], how, asked.rounds)
                table.add_row(family, name, how, f"{longest:,}", f"{found:.2f}")
    Console().print(table)


def agent(turns: int) -> list[Message]:
    told = [Message("user", QUESTION)]
    for turn in range(turns):
        call = ToolCall("read", f'{{"path": "{turn}.py"}}', f"call{turn:05}")
        told.append(Message("assistant", reasoning=numbered(THOUGHT, turn), tool_calls=(call,)))
        told.append(Message("tool", numbered(RESULT, turn), tool_call_id=call.id))
    return told


def chat(turns: int) -> list[Message]:
    told = list[Message]()
    for turn in range(turns):
        told.append(Message("user", numbered(QUESTION, turn)))
        told.append(Message("assistant", numbered(ANSWER, turn), numbered(THOUGHT, turn)))
    return told


def numbered(text: str, turn: int) -> str:
    return text.replace("{}", str(turn))


def exponent(renderer: Renderer, conversations: list[list[Message]], how: str, rounds: int) -> tuple[int, float]:
    """Tokens of the longest conversation, and the slope of a line through the points, both axes in logarithms."""

    def work(messages: list[Message], copies: int) -> None:
        asked = renderer.request(messages, trusted=how == "trusted").but(today=DAY)
        batch_labels(renderer.render_batch([asked.but() for _ in range(copies)]), POLICIES["assistant"])

    copies = [max(1, AT_ONCE // turns) for turns in TURNS]
    cases = {str(n): partial(work, one, n) for n, one in zip(copies, conversations, strict=True)}
    gc.disable()
    times = interleaved(cases, rounds)
    gc.enable()
    tokens = [len(renderer.render_batch([renderer.request(one).but(today=DAY)]).ids) for one in conversations]
    seconds = [min(times[name]) / int(name) for name in cases]
    return tokens[-1], statistics.linear_regression([*map(math.log, tokens)], [*map(math.log, seconds)]).slope


if __name__ == "__main__":
    main()
