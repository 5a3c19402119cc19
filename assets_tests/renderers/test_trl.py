"""Masks against TRL's: its training templates mark by hand what the model writes (`{% generation %}`).

Every assistant message is compared as the last of its conversation, character by character. Of what TRL trains we leave
out two classes and nothing else, and we train nothing that it leaves out:

- `newline`: what the template puts behind the stop; no model samples it
- `prompted`: what the generation prompt holds already: a header, an opened thought, an empty one
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from renderers import FAMILIES, Family, Kind, Message, Request, Segment, Stream, TemplateError, from_hub, to_hub
from renderers.histories import stopped
from renderers.tracing.witness import REFUSALS

ROOT = Path(__file__).resolve().parents[2]
TRL = "1.16.0"
NOW = date(2025, 7, 1)
PROVED = {
    "deepseek-r1": (1, set()),
    "gemma-3": (23, {"newline"}),
    "glm-4.5": (41, set()),
    "gpt-oss": (39, {"prompted"}),
    "llama-3": (23, set()),
    "nemotron-3-nano": (39, {"newline", "prompted"}),
    "nemotron-3-super": (39, {"newline", "prompted"}),
    "nemotron-3-ultra": (39, {"newline", "prompted"}),
    "qwen2.5": (33, {"newline", "prompted"}),
    "qwen3": (40, {"newline"}),
    "qwen3-2507-instruct": (33, {"newline"}),
    "qwen3-vl": (34, {"newline"}),
    "qwen3.5": (41, {"newline", "prompted"}),
    "qwen3.5-small": (41, {"newline", "prompted"}),
    "qwen3.6": (41, {"newline", "prompted"}),
    "qwen3.8": (41, {"newline", "prompted"}),
}
"""Families that both have: turns that are proved and compared, and what TRL trains beyond what the model samples.

R1 always prompts a thought and shows none: only the turn that holds one inline is proved.
"""
OTHERWISE = {
    "assistant-first": "TRL's Qwen3 shows a thought in every turn, the official one after a query only",
    "content-parts": "TRL tells nothing of parts, or their Python",
    "prefill-think": "TRL's Nemotron 3 tells no empty thought before an inline one that is not closed",
}
"""Conversations whose turn some family of TRL writes otherwise than the official template, or ours, does."""


@pytest.fixture(scope="session")
def trl() -> Path:
    """TRL's templates, out of its wheel; nothing of it is installed beside ours."""
    place = ROOT / ".cache" / f"trl-{TRL}"
    if not place.is_dir():
        place.parent.mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=place.parent))
        uv = shutil.which("uv") or str(ROOT / ".venv" / "bin" / "uv")
        ask = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--python",
            sys.executable,
            "--target",
            fresh,
            f"trl=={TRL}",
        ]
        try:
            subprocess.run(ask, check=True, capture_output=True, text=True, timeout=120)
            (fresh / "trl" / "chat_templates").rename(place)
        except (OSError, subprocess.SubprocessError) as error:
            told = getattr(error, "stderr", "") or str(error)
            if not place.is_dir():  # another worker may have been quicker
                pytest.skip(f"TRL {TRL} cannot be had: {told.strip().splitlines()[-1]}")
        finally:
            shutil.rmtree(fresh)
    return place


@pytest.fixture(params=PROVED)
def family(request) -> Family:
    return FAMILIES[request.param]


@pytest.fixture
def marked(family, trl, official) -> Callable[..., tuple[str, list[tuple[int, int]]]]:
    """(messages, tools) -> the text that TRL trains on, and the characters of it that it trains, as spans."""
    known = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in trl.glob("*.jinja")}
    original = next(known[name] for name in family.fingerprints if name in known)
    source = original.with_name(f"{original.stem}_training.jinja").read_text(encoding="utf-8")
    dated = source.replace('strftime_now("%Y-%m-%d")', f"'{NOW}'")
    folder = official({"deepseek-r1": "deepseek-v3"}.get(family.name, family.name))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokens = {name: config[name] for name in ("bos_token", "eos_token") if config.get(name)}
    special = {name: token if isinstance(token, str) else token["content"] for name, token in tokens.items()}

    def render(messages: Sequence[Message], tools: Any) -> tuple[str, list[tuple[int, int]]]:
        given = {**special, "chat_template": dated, "tools": tools or None}
        told = render_jinja_template([with_objects(messages)], return_assistant_tokens_mask=True, **given)
        return told[0][0], told[1][0]

    return render


def with_objects(messages: Sequence[Message]) -> list[dict]:
    """Messages in the Hub's shape, arguments as objects."""
    told = json.loads(json.dumps(to_hub(messages)))
    for call in (call for message in told for call in message.get("tool_calls", ())):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return told


@pytest.fixture(scope="module")
def turns(shared) -> list[tuple[str, tuple[Message, ...], list]]:
    """Every assistant message of the goldens' conversations, with what is before it."""
    told = json.loads((shared / "goldens" / "conversations.json").read_text(encoding="utf-8"))
    whole = ((name, from_hub(asked["messages"]), asked["tools"]) for name, asked in told.items())
    return [
        (name, messages[: index + 1], tools)
        for name, messages, tools in whole
        for index, message in enumerate(messages)
        if message.role == "assistant"
    ]


def compared(stream: Stream, index: int, text: str, spans: list[tuple[int, int]]) -> Iterator[str] | None:
    """Of each character of a last turn: what TRL and we make of it. None where TRL writes another turn."""
    own = [segment for segment in stream.segments if segment.message == index]
    at = len(text) - sum(len(segment.text) for segment in own)
    if "".join(segment.text for segment in own) != text[at:]:
        return None
    return _compared(own, at, spans)


def _compared(own: list[Segment], at: int, spans: list[tuple[int, int]]) -> Iterator[str]:
    stopped = False
    for segment in own:
        stopped |= segment.kind is Kind.STOP
        for place in range(at, at + len(segment.text)):
            theirs = any(start <= place < end for start, end in spans)
            missed = "newline" if stopped else "prompted"
            yield ("equal" if theirs else "extra") if segment.kind.sampled else missed if theirs else "told"
        at += len(segment.text)
    yield from ["stopped"] if stopped else []


def test_what_trl_trains_we_train_but_for_named_classes(family, marked, turns):
    found, apart, flags = Counter(), set(), {"today": NOW} if "today" in family.flags else {}
    for name, messages, tools in turns:
        try:
            stream = stopped(family.tell, Request(messages, tuple(tools or ()), flags))
            text, spans = marked(messages, tools)
        except (TemplateError, *REFUSALS):
            continue
        index = len(messages) - 1
        made = compared(stream, index, text, spans)
        if made is None:
            apart.add(name)
        elif index in stream.trainable:
            found += Counter(made)
            found["turns"] += 1
    assert apart <= set(OTHERWISE)
    missed = {name for name in ("newline", "prompted") if found[name]}
    assert (found["turns"], missed) == PROVED[family.name]
    assert (found["stopped"], found["extra"]) == (found["turns"], 0)
    assert found["equal"] > 10 * found["turns"]


def test_trl_has_no_training_template_of_a_family_that_is_not_compared(trl):
    known = {print_: name for name, row in FAMILIES.items() for print_ in row.fingerprints}
    originals = (p.with_name(p.name.replace("_training", "")) for p in trl.glob("*_training.jinja"))
    both = {known.get(hashlib.sha256(path.read_bytes()).hexdigest()) for path in originals} - {None}
    assert both == PROVED.keys()
