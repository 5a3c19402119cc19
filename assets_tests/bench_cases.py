"""What `bench_peers` measures: ours and the peers, a case each. Run by the Python of a case's own environment.

Every case gives back its ids and labels, row by row, for the reference to be held against: the official
`apply_chat_template`, and the offsets of what stands between a role's header and its stop.
"""

import argparse
import gc
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

BATCH = 512
TURN = re.compile(r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)", re.DOTALL)
"""What the model writes of a Qwen3 text, and its stop; no text of the corpus spells a control token."""
Row = dict
Told = tuple[Any, Any, list[int] | None]
"""Ids, labels (None: it has none; a mask will do), and where the rows of a batch begin (None: it is one row)."""
Work = Callable[[], list[Told]]
Setup = Callable[[Path], Callable[[list[Row]], Work]]
"""Loads; then takes rows, prepares what is given to the case; then does it all."""


def ours(folder: Path, how: str = "qwen3"):
    from renderers import create_renderer

    return create_renderer(str(folder), how)


def texts_of(rows: list[Row], folder: Path) -> list[list[str]]:
    """What ours tells, batch by batch."""
    renderer: Any = ours(folder)
    texts = [renderer.stream(renderer.request(row["messages"], row["tools"])).text for row in rows]
    return [texts[at : at + BATCH] for at in range(0, len(texts), BATCH)]


def rendering(*, fast: bool = True, how: str = "qwen3", from_json: bool = False, trusted: bool = True) -> Setup:
    """Ours: ids, runs and labels; a proof of each turn but where they are trusted, as the peers trust them."""

    def setup(folder: Path) -> Callable[[list[Row]], Work]:
        from renderers import POLICIES
        from renderers.masking import batch_labels

        renderer: Any = ours(folder, how)
        if fast:
            assert renderer.tokenizer.engine.load()
        else:
            renderer.tokenizer.engine._loads_at = 10**18

        def batch_of(part: list[Any]) -> Told:
            read = [json.loads(row) for row in part] if from_json else part
            asked = [renderer.request(row["messages"], row["tools"], trusted=trusted) for row in read]
            batch = renderer.render_batch(asked)
            return batch.ids, batch_labels(batch, POLICIES["assistant"]), batch.rows.tolist()

        def given(rows: list[Row]) -> Work:
            told: list[Any] = [json.dumps(row).encode() for row in rows] if from_json else rows
            return lambda: [batch_of(told[at : at + BATCH]) for at in range(0, len(told), BATCH)]

        return given

    return setup


def raw_gigatoken(folder: Path) -> Callable[[list[Row]], Work]:
    import gigatoken

    from renderers.engines import Texts, encode_fast

    fast = gigatoken.Tokenizer.from_json((folder / "tokenizer.json").read_text("utf-8"))

    def given(rows: list[Row]) -> Work:
        parts = [Texts.of(part) for part in texts_of(rows, folder)]
        return lambda: [(ids, None, at.tolist()) for ids, at in (encode_fast(fast, part) for part in parts)]

    return given


def raw_tokenizers(folder: Path) -> Callable[[list[Row]], Work]:
    import tokenizers

    plain = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))

    def given(rows: list[Row]) -> Work:
        parts = texts_of(rows, folder)
        return lambda: [
            (one.ids, None, None) for part in parts for one in plain.encode_batch_fast(part, add_special_tokens=False)
        ]

    return given


def official(folder: Path, template: Path | None = None):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if template:
        tokenizer.chat_template = template.read_text(encoding="utf-8")
    return tokenizer


def by_row(told: Callable[[Row], Told | None]) -> Callable[[list[Row]], Work]:
    """Peers take one conversation at a time."""
    return lambda rows: lambda: [one for one in map(told, rows) if one]


def transformers_ids(folder: Path) -> Callable[[list[Row]], Work]:
    tell = official(folder).apply_chat_template
    return by_row(lambda row: (tell(row["messages"], tools=row["tools"] or None)["input_ids"], None, None))


def transformers_mask(folder: Path) -> Callable[[list[Row]], Work]:
    """With the template in which TRL marks what the assistant says."""
    tell = official(folder, Path(os.environ["BENCH_TRAINING_TEMPLATE"])).apply_chat_template

    def told(row: Row) -> Told:
        both = tell(row["messages"], tools=row["tools"] or None, return_dict=True, return_assistant_tokens_mask=True)
        return both["input_ids"], both["assistant_masks"], None

    return by_row(told)


def reference(folder: Path) -> Callable[[list[Row]], Work]:
    """The official ids; learned is each token that begins in what the model writes, by the engine's own offsets."""
    tokenizer = official(folder)

    def told(row: Row) -> Told:
        asked: Any = {"tools": row["tools"] or None}
        text = tokenizer.apply_chat_template(row["messages"], tokenize=False, **asked)
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        assert read["input_ids"] == tokenizer.apply_chat_template(row["messages"], **asked)["input_ids"]
        written = bytearray(len(text))
        for turn in TURN.finditer(text):
            written[slice(*turn.span(1))] = b"\1" * len(turn[1])
        return read["input_ids"], [written[start] for start, _ in read["offset_mapping"]], None

    return by_row(told)


def prime_intellect(folder: Path) -> Callable[[list[Row]], Work]:
    from renderers.base import build_training_sample  # pyright: ignore[reportMissingImports]
    from renderers.qwen3 import Qwen3Renderer  # pyright: ignore[reportMissingImports]

    renderer = Qwen3Renderer(official(folder))

    def told(row: Row) -> Told:
        sample = build_training_sample(renderer, row["messages"], tools=row["tools"] or None)
        return sample.token_ids, sample.loss_mask, None

    return by_row(told)


def chat_bricks(folder: Path) -> Callable[[list[Row]], Work]:
    from chat_bricks import Chat  # pyright: ignore[reportMissingImports]
    from chat_bricks.registry import get_template  # pyright: ignore[reportMissingImports]

    tokenizer, template = official(folder), get_template("qwen3")

    def told(row: Row) -> Told | None:
        try:
            chat = Chat(template, row["messages"], tools=row["tools"] or None, tokenizer=tokenizer).tokenize(tokenizer)
        except Exception:  # some it cannot tell: they cost it what they cost
            return None
        return chat["input_ids"][0].numpy(), chat["labels"][0].numpy(), None

    return by_row(told)


def teich(folder: Path) -> Callable[[list[Row]], Work]:
    import datasets
    import teich as peer  # pyright: ignore[reportMissingImports]
    from teich.loader import _dataset_from_rows  # pyright: ignore[reportMissingImports]

    datasets.disable_progress_bars()
    datasets.disable_caching()
    tokenizer = official(folder)
    settings = SimpleNamespace(dataset_text_field="text", max_length=None, packing=False, truncation_mode=None)

    def given(rows: list[Row]) -> Work:
        told = [[{"content": "", **message} for message in row["messages"]] for row in rows]
        table = _dataset_from_rows(
            [{"messages": m, "tools": row["tools"], "prompt": "", "metadata": {}} for m, row in zip(told, rows)]  # noqa: B905
        )

        def work() -> list[Told]:
            prepared, _ = peer.prepare_data(
                table, tokenizer, tokenize=True, return_report=True, verbose=False, strict=False
            )
            trainer = SimpleNamespace(train_dataset=prepared, eval_dataset=None, processing_class=tokenizer)
            trainer = SimpleNamespace(**vars(trainer), tokenizer=tokenizer, args=settings, data_collator=None)
            out = peer.mask_data(trainer, tokenizer=tokenizer, audit=False, verbose=False).train_dataset
            return [(ids, labels, None) for ids, labels in zip(out["input_ids"][:], out["labels"][:], strict=True)]

        return work

    return given


class Case(NamedTuple):
    setup: Setup
    peer: str = ""
    """Its environment; ours where there is none."""
    ids: str = ""
    """Why its ids are not the reference's, where it is known that they are not."""
    labels: str = ""
    """Why its labels are not."""


CASES = {
    "ours": Case(rendering()),
    "ours, every turn proved": Case(rendering(trusted=False), labels="unproved"),
    "ours, from JSON": Case(rendering(from_json=True)),
    "ours, tokenizers alone": Case(rendering(fast=False)),
    "ours, traced, every turn proved": Case(rendering(how="traced", trusted=False), labels="unproved"),
    "gigatoken, raw text": Case(raw_gigatoken),
    "tokenizers, raw text": Case(raw_tokenizers),
    "transformers, apply_chat_template": Case(transformers_ids, "prime-intellect"),
    "transformers, assistant mask": Case(transformers_mask, "prime-intellect", ids="history", labels="history"),
    "Prime Intellect, build_training_sample": Case(prime_intellect, "prime-intellect"),
    "chat-bricks, Chat.tokenize": Case(chat_bricks, "chat-bricks", ids="reasoning", labels="reasoning"),
    "teich, prepare_data + mask_data": Case(teich, "teich", ids="strips", labels="strips"),
}
"""The first is what all others are compared with."""
WHY = {
    "unproved": "turns that are not what inference would see are not learned",
    "history": "another template, which keeps all reasoning; it learns the line break after a stop, too",
    "reasoning": "it drops what was thought",
    "strips": "it strips blanks around every content, and drops rows",
}


class Figures(NamedTuple):
    """What one process found."""

    seconds: float
    tokens: int
    learned: int | None
    ids: list[str]
    """Hashes of each row's ids."""
    labels: list[str] | None
    """Of its ids and labels."""


def measure(case: str, corpus: Path, folder: Path) -> Figures:
    """In a process of its own, after other rows of the corpus: neither set-up nor what is told once is counted."""
    setup = reference if case == "reference" else CASES[case].setup
    rows, others = (json.loads(part) for part in corpus.read_bytes().splitlines())
    given = setup(folder)
    if case != "reference":
        given(others)()
    work = given(rows)
    gc.collect()
    gc.disable()
    begin = time.process_time()
    told = work()
    seconds = time.process_time() - begin
    hashes = [*hashed(told)]
    learned = [count for _, _, _, count in hashes if count is not None]
    return Figures(
        seconds,
        sum(tokens for tokens, *_ in hashes),
        sum(learned) if learned else None,
        [ids for _, ids, _, _ in hashes],
        [both for _, _, both, _ in hashes if both] or None,
    )


def hashed(told: Iterable[Told]) -> Iterator[tuple[int, str, str, int | None]]:
    """Row by row: tokens, the hash of its ids, that of ids and what is learned, and how many are."""
    import numpy as np

    for ids, labels, at in told:
        flat = np.asarray(ids, np.int64)
        mask = None if labels is None else np.asarray(labels)
        if mask is not None:
            mask = mask != -100 if mask.dtype != bool and (mask < 0).any() else mask > 0
        for start, end in zip(at or [0], (at or [0, len(flat)])[1:]):  # noqa: B905
            own, learned = flat[start:end], None if mask is None else mask[start:end]
            both = "" if learned is None else blake2b(own.tobytes() + learned.tobytes(), digest_size=8).hexdigest()
            one = blake2b(own.tobytes(), digest_size=8).hexdigest()
            yield end - start, one, both, None if learned is None else int(learned.sum())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    print(json.dumps(measure(asked.case, asked.corpus, asked.folder)))
