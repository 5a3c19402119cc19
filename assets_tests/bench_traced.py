"""What tracing a chat template costs, beside the template alone: ratios of CPU time, each of one interleaved run.

python -m assets_tests.bench_traced                        the official templates of ten families, one of each shape
python -m assets_tests.bench_traced --all --rounds 5       every official template
python -m assets_tests.bench_traced --only qwen3 glm-4.5 --rounds 20

Two conversations of 40 turns: an agent's, with 8 tools, put together of two of the corpus that call one tool at a time
and say nothing beside calls, as some templates demand; and a chat with reasoning. `jinja` is the template as
transformers runs it, `ours` as it is compiled here, without a sandbox around what is harmless. `proved`: text, segments
and a proof for every turn, as times one render. Needs the reference folder: the corpus and the templates.
"""

import argparse
import gc
import json
import statistics
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from transformers.utils.chat_template_utils import _compile_jinja_template

from assets_tests.bench_peers import corpus_and_tokenizers
from assets_tests.timing import Work, interleaved
from renderers.errors import TemplateError
from renderers.registry import create_renderer
from renderers.tracing.witness import TracedTemplate

FAMILIES = (
    *("qwen3", "qwen3.6", "kimi-k2-thinking", "glm-4.5", "minimax-m2"),
    *("llama-3.1", "gpt-oss", "deepseek-v3.1", "deepseek-v3.2", "ministral-3"),
)
TURNS = 40
DAY = date(2025, 1, 1)
CHAT = [
    {"role": "user", "content": "Question {}: " + "why is this so, and what follows? " * 6},
    {"role": "assistant", "reasoning_content": "Thought {}. " * 20, "content": "Because of that. " * 20},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=FAMILIES, help="families")
    parser.add_argument("--all", action="store_true", help="all families")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    corpus, folder = corpus_and_tokenizers()
    table = Table(title=f"{asked.rounds} rounds, medians of ratios (min … max), CPU of one process")
    ratios = ("traced/jinja", "traced/ours", "proved/traced", "proved/jinja")
    for heading in ("family", "conversation", "proved turns", "jinja ms", *ratios):
        table.add_column(heading, justify="left" if heading in ("family", "conversation") else "right")
    for family in sorted(path.name for path in folder.iterdir()) if asked.all else asked.only:
        for name, (messages, tools) in conversations(corpus).items():
            try:
                cells = measured(folder / family, messages, tools, asked.rounds)
            except TemplateError:
                cells = ["refused"]
            table.add_row(family, name, *cells)
    Console(width=170).print(table)


def conversations(corpus: Path) -> dict[str, tuple[list[Any], list[Any]]]:
    """Name -> messages and tools."""
    rows = map(json.loads, corpus.read_bytes().splitlines())
    single = (row for row in rows if all(len(message.get("tool_calls", ())) < 2 for message in row["messages"]))
    first, second = sorted(single, key=turns, reverse=True)[:2]
    agent = [*first["messages"], *(message for message in second["messages"] if message["role"] != "system")]
    agent = [{**message, "content": ""} if message.get("tool_calls") else message for message in agent]
    last = [at for at, message in enumerate(agent) if message["role"] == "assistant"][TURNS - 1]
    chat = [{k: v.replace("{}", str(turn)) for k, v in one.items()} for turn in range(TURNS) for one in CHAT]
    return {"agent": (agent[: last + 1], first["tools"]), "chat": (chat, [])}


def turns(row: dict[str, Any]) -> int:
    return sum(message["role"] == "assistant" for message in row["messages"])


def measured(folder: Path, messages: list[Any], tools: list[Any], rounds: int) -> list[str]:
    """The cells of a row."""
    renderer: Any = create_renderer(str(folder), "traced")
    request = renderer.request(messages, tools)
    witness: TracedTemplate = renderer.witness.on(DAY)
    hub, offered = witness._hub(request.messages), [dict(tool) for tool in request.tools] or None
    official = _compile_jinja_template(witness.source)
    given = {**witness.special_tokens, "tools": offered, "strftime_now": DAY.strftime, "add_generation_prompt": False}
    cases: dict[str, Work] = {
        "ours": lambda: witness.text_hub(hub, offered),
        "traced": lambda: witness.trace_hub(hub, offered),
        "jinja": lambda: official.render(messages=witness._edited(hub), documents=None, **given),
        "proved": lambda: witness.tell_hub(hub, offered),
    }
    proofs = witness.tell_hub(hub, offered).proofs
    assert cases["ours"]() == cases["traced"]() == cases["jinja"]()
    gc.disable()
    times = interleaved(cases, rounds)
    gc.enable()
    gc.collect()
    pairs = (("traced", "jinja"), ("traced", "ours"), ("proved", "traced"), ("proved", "jinja"))
    proved = f"{sum(proof.verdict == 'proved' for proof in proofs)} of {len(proofs)}"
    plain = f"{statistics.median(times['jinja']) * 1e3:.2f}"
    return [proved, plain, *(ratio(times[one], times[other]) for one, other in pairs)]


def ratio(ours: list[float], theirs: list[float]) -> str:
    ratios = sorted(mine / other for mine, other in zip(ours, theirs, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} … {ratios[-1]:.2f})"


if __name__ == "__main__":
    main()
