"""The official templates of 39 families, traced: the text of the goldens, the right places, a verdict on each turn.

DeepSeek-V3.2 has no official Jinja template: its goldens come from a Python encoder, and the template that people use
instead is compared with transformers' own render of it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
from transformers.utils import chat_template_utils

from renderers.errors import TemplateError
from renderers.segments import Verdict
from renderers.tracing.places import is_data
from renderers.tracing.runs import Runs
from renderers.tracing.shared import Prefixes

PROVED = {
    "deepseek-v3": (36, 37),
    "deepseek-v3.1": (38, 39),
    "deepseek-v3.2": (0, 40),
    "gemma-3": (32, 32),
    "gemma-4": (39, 41),
    "glm-4.5": (40, 42),
    "glm-4.7-flash": (40, 42),
    "glm-5": (40, 42),
    "glm-5.1": (40, 42),
    "glm-5.2": (40, 42),
    "gpt-oss": (30, 40),
    "kimi-k2": (41, 42),
    "kimi-k2-thinking": (41, 42),
    "kimi-k2.5": (41, 42),
    "kimi-k2.6": (41, 42),
    "llama-3": (41, 42),
    "llama-3.1": (40, 41),
    "llama-3.2": (40, 41),
    "llama-3.3": (40, 41),
    "minimax-m2": (6, 42),
    "minimax-m2.7": (6, 42),
    "ministral-3": (38, 38),
    "mistral-nemo": (31, 38),
    "mistral-small-3.2": (35, 38),
    "nemotron-3-nano": (38, 42),
    "nemotron-3-super": (38, 42),
    "nemotron-3-ultra": (38, 42),
    "qwen2.5": (39, 40),
    "qwen3": (24, 42),
    "qwen3-2507-instruct": (41, 42),
    "qwen3-2507-thinking": (23, 42),
    "qwen3-coder": (39, 40),
    "qwen3-orig": (21, 38),
    "qwen3-vl": (41, 42),
    "qwen3.5": (28, 41),
    "qwen3.5-small": (28, 41),
    "qwen3.6": (28, 41),
    "qwen3.8": (40, 41),
    "smollm3": (41, 42),
}
"""Turns of the golden conversations that the template does not refuse: how many are proved, how many are told."""
FAMILIES = tuple(PROVED)
UNSTOPPED = {"glm-4.5", "glm-4.7-flash", "glm-5", "glm-5.1", "glm-5.2"}
"""Families that close a turn with the role of the next one: the last turn has no stop."""
ENCODED = "deepseek-v3.2"
NOW = datetime(2025, 7, 1)
TAG = "CONTINUE_FINAL_MESSAGE_TAG "


class Frozen(datetime):
    """The clock of the goldens."""

    @classmethod
    def now(cls, tz=None):
        return NOW


@pytest.fixture(scope="session")
def conversations(shared) -> dict[str, Any]:
    return json.loads((shared / "goldens/conversations.json").read_text(encoding="utf-8"))


@pytest.fixture
def rows(shared, conversations) -> Callable[[str], Iterator[tuple]]:
    """family -> (golden, messages, tools, flags, generating, continuing)."""

    def read(family: str) -> Iterator[tuple]:
        for line in (shared / f"goldens/{family}.jsonl").read_bytes().split(b"\n"):
            if not line:
                continue
            golden = json.loads(line)
            flags = dict(golden["kwargs"])
            messages = json.loads(json.dumps(conversations[golden["id"]]["messages"]))
            if flags.pop("_args", None) == "json":
                spell_arguments(messages)
            asked = flags.pop("add_generation_prompt", False), flags.pop("continue_final_message", False)
            yield (golden, messages, conversations[golden["id"]]["tools"], flags, *asked)

    return read


def spell_arguments(messages: list[dict]) -> None:
    for message in messages:
        for call in message.get("tool_calls") or ():
            if not isinstance(call["function"]["arguments"], str):
                call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)


def run(render: Callable, messages, tools, flags, generating, continuing=False) -> str | None:
    """The text, or None where it is refused; a continued message ends where its content ends, as in transformers."""
    try:
        if not continuing:
            return render(messages, tools, flags=flags, generating=generating)
        final = {**messages[-1], "content": messages[-1]["content"] + TAG}
        made = render([*messages[:-1], final], tools, flags=flags)
    except TemplateError:
        return None
    if TAG.strip() not in made or messages[-1]["content"].strip() not in made:
        return None
    at = made.rindex(TAG.strip())
    return made[:at] if made[at : at + len(TAG)] == TAG else made[:at].rstrip()


@pytest.mark.parametrize("bare", [False, True], ids=["edited", "bare"])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != ENCODED])
def test_the_text_is_that_of_the_goldens(family, bare, official_template, rows, record_property):
    witness, equal, total = official_template(family, bare=bare), 0, 0
    for golden, messages, *asked in rows(family):
        if not messages:  # transformers refuses it before the template is asked
            with pytest.raises(TemplateError):
                witness.tell_hub(messages)
            continue
        total += 1
        raw = bare and ("raw_text" in golden or "raw_error" in golden)
        wanted = golden.get("raw_text" if raw else "text")
        equal += run(witness.trace_hub, messages, *asked) == run(witness.text_hub, messages, *asked) == wanted
    record_property("equal", f"{equal}/{total}")
    assert equal == total > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_text_and_refusals_are_those_of_transformers(family, official_template, conversations, monkeypatch):
    monkeypatch.setattr(chat_template_utils, "datetime", Frozen)
    witness = official_template(family)
    for conversation in conversations.values():
        messages, tools = conversation["messages"], conversation["tools"]
        edited = [{key: value for key, value in message.items() if value is not None} for message in messages]
        try:
            wanted = chat_template_utils.render_jinja_template(
                [edited],
                tools,
                chat_template=witness.source,
                add_generation_prompt=True,
                **witness.special_tokens,
            )[0][0]
        except Exception as error:
            wanted = f"{family}: {error}"
        for render in (witness.text_hub, witness.trace_hub):
            try:
                made = render(messages, tools, generating=True)
            except TemplateError as error:
                made = str(error)
            assert made == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prefix_reads_the_same_whether_it_shares_or_not(family, official_template, conversations):
    witness, told = official_template(family), 0
    for conversation in sorted(conversations.values(), key=lambda c: len(c["messages"]))[-12:]:
        messages, tools = witness._edited(conversation["messages"]), conversation["tools"]

        def given(prompt, switch, tools=tools):
            return witness._given((), tools, prompt, {"strftime_now": witness._strftime, **switch})

        try:
            whole = witness.text_hub(conversation["messages"], tools)
        except TemplateError:
            whole = ""
        prefixes = Prefixes(witness.compiled, messages, whole, given)
        assert prefixes.staged or not whole
        prefixes.staged = True
        for length in range(1, len(messages) + 1):
            for prompt in (True, False):
                try:
                    wanted = witness.text_hub(conversation["messages"][:length], tools, generating=prompt)
                except TemplateError:
                    wanted = None
                made = prefixes.tell(length, prompt)
                assert (made and made.text) == wanted
                told += wanted is not None
        assert prefixes.staged
    assert told > 20


def named(value: Any, path: tuple) -> Any:
    for step in path:
        value = value[step]
    return value


def spellings(value: Any) -> Iterator[str]:
    """How a template may write a value, blanks and case aside."""
    for ascii_only in (False, True):
        yield json.dumps(value, ensure_ascii=ascii_only)
    yield repr(value)
    yield str(value)


def squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


@pytest.mark.parametrize("family", FAMILIES)
def test_all_data_is_a_piece_of_the_value_that_its_place_names(
    family, official_template, conversations, record_property
):
    witness, checked, characters, odd = official_template(family), 0, 0, []
    for name, conversation in conversations.items():
        for generating in (False, True):
            try:
                made = witness.trace_hub(conversation["messages"], conversation["tools"], generating=generating)
            except TemplateError:
                continue
            runs = Runs(made)
            for start, end, place in zip(runs.starts, runs.ends, runs.places, strict=True):
                if not is_data(place) or place == ("flags", "today"):  # a date may be written in any way
                    continue
                text, value = str.__str__(made)[start:end], named(conversation, place)
                checked, characters = checked + 1, characters + len(text)
                if text not in str(value) and not any(squeezed(text) in squeezed(form) for form in spellings(value)):
                    odd.append((name, place, text))
    record_property("runs", checked)
    record_property("characters", characters)
    assert odd == []
    assert checked > 0


def marked(value: Any, key: str = "") -> Any:
    """The same with a mark in every string that somebody said, in keys too; format words stay as they are."""
    if isinstance(value, str):
        return value if key in ("role", "type", "id", "tool_call_id") else value + "Ж"
    if isinstance(value, Mapping):
        said = key in ("arguments", "properties")
        return {name + "Ж" * said: marked(item, name) for name, item in value.items()}
    return [marked(item, key) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_that_was_said_is_told_as_the_templates_own_words(family, official_template, conversations):
    witness, told = official_template(family), 0
    for conversation in conversations.values():
        try:
            stream = witness.tell_hub(marked(conversation["messages"]), marked(conversation["tools"]))
        except TemplateError:
            continue
        told += stream.text.count("Ж")
        assert not [segment for segment in stream.segments if segment.literal and "Ж" in segment.text]
    assert told > 50


@pytest.mark.parametrize("family", FAMILIES)
def test_each_turn_has_a_verdict_and_a_stop(family, official_template, conversations):
    witness, proofs, stopped = official_template(family), [], 0
    for conversation in conversations.values():
        try:
            stream = witness.tell_hub(conversation["messages"], conversation["tools"])
        except TemplateError:
            continue
        proofs += stream.proofs
        stopped += len({segment.message for segment in stream.segments if segment.kind == "stop"})
    proved = sum(proof.verdict is Verdict.PROVED for proof in proofs)
    assert (proved, len(proofs)) == PROVED[family]
    assert stopped == len(proofs) or family in UNSTOPPED
