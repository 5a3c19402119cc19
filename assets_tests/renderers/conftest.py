"""What renderer tests share: tokenizers, official ones and two small ones made here."""

import json
import tomllib
from collections.abc import Callable
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from renderers.hub import from_hub
from renderers.messages import Request
from renderers.segments import Stream
from renderers.tokenizer import Tokenizer
from renderers.tracing.witness import TracedTemplate

CORPUS = """The cat that sat on the mat thought of the other cat, and then of nothing else.
user system assistant tool: the answer, the result, the reason. {"name": "shell", "arguments": {"command": "ls"}}
def the(other): return other + 1  # then there, these, those, théâtre, naïve
"""

HERE = Path(__file__).parent
CONVERSATIONS: dict[str, dict] = json.loads((HERE / "conversations.json").read_text(encoding="utf-8"))
EXAMPLE = HERE.parents[1] / "pipeline" / "example" / "tokenizer"
VOCABULARIES = {"deepseek-r1": "deepseek-v3"}
"""Families whose vocabulary is another's, but for the names of two tokens."""


@pytest.fixture
def tally(record_property) -> Callable[[str, str, list[int]], None]:
    """(family, what was counted, counts): a cell of the table that `--examples` ends with."""
    return lambda family, what, counts: record_property("tally", [family, what, counts])


def pytest_terminal_summary(terminalreporter, config) -> None:
    """What the laws were asked of, a row a family, where they were asked of more than always."""
    told = [t for report in terminalreporter.getreports("passed") for n, t in report.user_properties if n == "tally"]
    columns = list(dict.fromkeys(what for _, what, _ in told))
    cells = {(family, what): " / ".join(map(str, counts)) for family, what, counts in told}
    if config.getoption("--examples") <= 25 or not told:
        return
    terminalreporter.write_line("| family | " + " | ".join(columns) + " |")
    terminalreporter.write_line("|---" * (1 + len(columns)) + "|")
    for family in sorted({family for family, *_ in told}):
        row = [cells.get((family, what), "") for what in columns]
        terminalreporter.write_line(f"| {family} | " + " | ".join(row) + " |")


@pytest.fixture(params=CONVERSATIONS)
def conversation(request) -> str:
    """The name of each conversation of our own."""
    return request.param


@pytest.fixture
def reviewed(pytestconfig) -> Callable[[str, str, Stream], None]:
    """(of what, name, stream): it is as its golden has it. `--regenerate` writes that again."""

    def compare(whose: str, name: str, stream: Stream) -> None:
        lines = [
            f"{'-' if s.message is None else s.message:>3} {s.kind:<11} {'words' if s.literal else 'data ':<5} "
            f"{json.dumps(s.text, ensure_ascii=False)}"
            for s in stream.segments
        ]
        lines += [f"{p.message:>3} {p.verdict}{p.note and f': {p.note}'}" for p in stream.proofs]
        lines += [f"lost {'/'.join(map(str, origin))}" for origin in stream.lost]
        preview, place = "\n".join(lines) + "\n", HERE / "goldens" / whose / f"{name.replace(' ', '_')}.txt"
        if pytestconfig.getoption("--regenerate"):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(preview, encoding="utf-8")
        assert preview == place.read_text(encoding="utf-8"), "look at the change, then run with --regenerate"

    return compare


@pytest.fixture
def request_of() -> Callable[..., Request]:
    """(name of one of our conversations, changes) -> what is asked of a witness."""

    def asked(name: str, **changes: Any) -> Request:
        told = CONVERSATIONS[name]
        return Request(from_hub(told["messages"]), tuple(told.get("tools", ()))).but(**changes)

    return asked


@pytest.fixture(scope="session")
def example() -> Tokenizer:
    """The small vocabulary that ships with the example project: Qwen3's control tokens."""
    return Tokenizer.from_json((EXAMPLE / "tokenizer.json").read_text(encoding="utf-8"), name="example")


@pytest.fixture(scope="session")
def vocabulary(official, example) -> Callable[[str], Tokenizer]:
    """family -> the example vocabulary with that family's added tokens too; skips where they cannot be had."""

    @lru_cache(maxsize=1)
    def made(family: str) -> Tokenizer:
        if family == "qwen3":
            return example
        text = (official(VOCABULARIES.get(family, family)) / "tokenizer.json").read_text(encoding="utf-8")
        listed = text.index("[", text.index('"added_tokens"'))
        added = json.JSONDecoder().raw_decode(text, listed)[0]  # the vocabulary after them is megabytes
        engine = tokenizers.Tokenizer.from_file(str(EXAMPLE / "tokenizer.json"))
        engine.add_tokens([AddedToken(t["content"], normalized=False, special=t["special"]) for t in added])
        return Tokenizer.from_json(engine.to_str(), name=family)

    return made


@pytest.fixture(scope="session")
def load(official) -> Callable[[str], Tokenizer]:
    """family -> its Tokenizer, as the reference folder or the Hub has it; skips where neither does."""

    @lru_cache(maxsize=4)
    def loaded(family: str) -> Tokenizer:
        folder = official(VOCABULARIES.get(family, family))
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        template = folder / "chat_template.jinja"
        return Tokenizer.from_json(
            (folder / "tokenizer.json").read_text(encoding="utf-8"),
            config=config,
            chat_template=template.read_text(encoding="utf-8") if template.is_file() else None,
            name=family,
        )

    return loaded


@pytest.fixture(scope="session")
def traced(official) -> Callable[[str], TracedTemplate]:
    """family -> its official template, traced on the day of the goldens; its vocabulary is not read."""

    @cache
    def made(family: str) -> TracedTemplate:
        folder = official(family)
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        named = {name: config[name] for name in ("bos_token", "eos_token") if config.get(name)}
        special = {name: token if isinstance(token, str) else token["content"] for name, token in named.items()}
        source = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        return TracedTemplate(source, special_tokens=special, today=date(2025, 7, 1))

    return made


def added_tokens(tokenizer_json: str) -> list[dict[str, Any]]:
    """The added tokens alone: the vocabulary after them is megabytes."""
    return json.JSONDecoder().raw_decode(
        tokenizer_json, tokenizer_json.index("[", tokenizer_json.index('"added_tokens"'))
    )[0]


@pytest.fixture(scope="session")
def official_template(official) -> Callable[..., TracedTemplate]:
    """family -> its official template, traced on the day of the goldens, with the tokens of its vocabulary."""

    @cache
    def made(family: str, *, bare: bool = False) -> TracedTemplate:
        folder = official(family)
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        tokens = added_tokens((folder / "tokenizer.json").read_text(encoding="utf-8"))
        added = {token["content"]: token["special"] for token in tokens}
        for token in config.get("added_tokens_decoder", {}).values():
            added.setdefault(token["content"], token.get("special", False))
        named = {name: value for name, value in config.items() if name.endswith("_token")}
        special = {
            name: v["content"] if isinstance(v, dict) else v for name, v in named.items() if isinstance(v, (dict, str))
        }
        source = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        day = date(2025, 7, 1)
        return TracedTemplate(source, special_tokens=special, added=added, today=day, name=family, bare=bare)

    return made


@pytest.fixture
def known(family) -> dict[str, Any]:
    """What is known of a family, where it differs from its official template."""
    return tomllib.loads((HERE / "families" / f"{family.name}.toml").read_text(encoding="utf-8"))


@pytest.fixture
def source(family, known, official) -> str:
    """The official template."""
    folder, *path = Path(known.get("template", f"{family.name}/chat_template.jinja")).parts
    source = official(folder).joinpath(*path).read_text(encoding="utf-8")
    for words, others in known.get("corrected", ()):
        assert words in source
        source = source.replace(words, others)
    return source


@pytest.fixture(scope="session")
def tiny_json() -> str:
    """A byte-level vocabulary of 400 tokens, with Qwen3's manners: NFC, control tokens both special and not."""
    engine = tokenizers.Tokenizer(models.BPE())
    engine.normalizer = normalizers.NFC()
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    engine.train_from_iterator([CORPUS] * 4, trainer)
    engine.add_special_tokens([AddedToken(text, normalized=False) for text in ("<|im_start|>", "<|im_end|>")])
    engine.add_tokens([AddedToken(text, normalized=False) for text in ("<think>", "</think>", "<tool_call>")])
    engine.add_tokens(
        [AddedToken("<left>", lstrip=True), AddedToken("<right>", rstrip=True), AddedToken("<caf\u00e9>")]
    )
    return engine.to_str()


@pytest.fixture(scope="session")
def tiny(tiny_json: str) -> Tokenizer:
    return Tokenizer.from_json(tiny_json, config={"eos_token": "<|im_end|>"}, name="tiny")


@pytest.fixture(scope="session")
def wide_json() -> str:
    """A vocabulary with Gemma's manners: spaces as U+2581, bytes for what it does not know, newlines as added words."""
    words = [
        "<unk>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "\u2581",
        *"abcdefghijklmnopqrstuvwxyz<|>_\n",
        "th",
        "the",
        "\n\n",
    ]
    merges = [("t", "h"), ("th", "e"), ("\n", "\n")]
    vocab = {word: number for number, word in enumerate(words)}
    engine = tokenizers.Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    engine.normalizer = normalizers.Replace(" ", "\u2581")
    engine.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    engine.add_special_tokens([AddedToken(text, normalized=False) for text in ("<|im_start|>", "<|im_end|>")])
    engine.add_tokens(
        [AddedToken(text, normalized=False) for text in ("<think>", "</think>", "<tool_call>", "\n\n", "\n")]
    )
    return engine.to_str()


@pytest.fixture(scope="session")
def wide(wide_json: str) -> Tokenizer:
    return Tokenizer.from_json(wide_json, name="wide")
