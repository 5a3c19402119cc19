"""For trainers: rows of others, or raw traces, as data sets that SFT trainers read, masked by what is proved.

`load_traces` reads, `prepare_data` renders, the trainer does with the ids what it does, `mask_data` makes the labels,
`preview_sft_example` shows them. Rows that cannot be used leave with a reason; how many, and why, is warned of.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from itertools import groupby
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
from datasets import Dataset, DatasetDict, DatasetInfo, Features, Json, List, Value

from pipeline.configs import Config
from pipeline.errors import PipelineError, SettingsError
from pipeline.fitting import FITS, pieces
from pipeline.gathering import Entries, Source, Sources, chosen, entries_of, kept, mixed, read, require_counts
from pipeline.masking import runs_of, turns_too_long
from pipeline.mixing.choosing import unheard
from pipeline.records import Conversation, Reject, RenderedRow
from pipeline.rendering import render
from renderers.chat import AnyTokenizer, adapt
from renderers.histories import HISTORIES
from renderers.hub import to_hub
from renderers.masking import IGNORED, POLICIES, LossPolicy, RunColumns, masked, run_mask
from renderers.messages import text
from renderers.preview import Run, to_ansi
from renderers.registry import create_renderer
from renderers.segments import Kind

__all__ = ["Config", "TrainingExample", "load_traces", "mask_data", "prepare_data", "preview_sft_example"]
TrainingExample = Conversation
T = TypeVar("T", bound="Trainer | Dataset | DatasetDict")
SPANS = "tracemill_spans"
"""What each token is and which turns are proved, as one text: no trainer cuts it."""
IDS = "tracemill_ids"
"""The ids that the spans speak of, where the trainer is to make `input_ids` itself."""
ROW = Features(
    {
        "id": Value("string"),
        "prompt": Value("string"),
        "messages": List(Json()),
        "tools": List(Json()),
        "metadata": Json(),
    }
)


class Trainer(Protocol):
    """What is read and set of a trainer."""

    train_dataset: Any
    eval_dataset: Any
    args: Any


def load_traces(
    source: Source,
    *,
    split: str = "train",
    config: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    format: str | None = None,  # noqa: A002 (what a trace's format is called everywhere)
    max_examples: int | None = None,
    seed: int = 3407,
    parse_arguments: bool = True,
) -> Dataset:
    """Conversations as a data set with `id`, `prompt` (what the user said first), `messages`, `tools` and `metadata`.

    source: a JSONL file, a folder of them, a data set of the Hub or in memory, with a column `messages`. With `format`,
    a row of `converting.FORMATS`, every file is a raw session. `config`: of a data set of the Hub that has several.
    `max_examples`: so many, chosen by `seed`.
    parse_arguments: tool arguments as objects, as most chat templates want them, where they are some; without it as the
    text that the model wrote, byte for byte.

    Raises PipelineError where no row is left, SettingsError for a source that cannot be read.
    """
    require_counts(max_examples=max_examples)
    found = read(source, split=split, config=config, revision=revision, token=token, format=format)
    rows = [
        {
            "id": c.id,
            "prompt": _asked(c),
            "messages": _told(c, parse_arguments),
            "tools": list(c.tools),
            "metadata": c.metadata,
        }
        for c in chosen(kept(found, strict=False), max_examples, seed)
    ]
    if not rows:
        raise PipelineError("no conversation is left; the warning says why each one left")
    return Dataset.from_list(rows, features=ROW)


def _asked(conversation: Conversation) -> str:
    """What the user said first."""
    return next((text(m.content) for m in conversation.messages if m.role == "user"), "")


def _told(conversation: Conversation, parse_arguments: bool) -> list[dict[str, Any]]:
    messages = to_hub(conversation.messages)
    functions = [call["function"] for message in messages for call in message.get("tool_calls", ())]
    for function in functions if parse_arguments else ():
        with suppress(ValueError):
            function["arguments"] = json.loads(function["arguments"])
    return messages


def prepare_data(
    source: Sources,
    tokenizer: AnyTokenizer,
    *,
    split: str = "train",
    config: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    format: str | None = None,  # noqa: A002
    max_examples: int | None = None,
    seed: int = 3407,
    by: str = "rows",
    renderer: str = "auto",
    today: date | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    history: str = "last",
    max_length: int | None = None,
    over_length: str = "drop",
    drop_oversized_examples: bool = True,
    tokenize: bool = False,
    strict: bool = False,
    teich_masking: bool = True,
) -> Dataset:
    """Rendered rows as a data set with `id`, `text` and what `mask_data` needs; with `tokenize`, `input_ids` too.

    source: as in `load_traces`, or several: a list, or a mapping of names to sources or to `{"source": …, "percentage":
    …}` (or `proportion`, `weight`, `max_examples`), and `max_examples` of them all. Shares are kept true, `by` rows or
    tokens; the data set's `info.description` says what they came to.
    renderer, today, chat_template_kwargs: of `create_renderer`. history: a row of `histories.HISTORIES`.
    max_length: of a longer row stays what `over_length` says, as of a target; nothing is no row (`drop`), or raises
    (`error`, or without `drop_oversized_examples`); so does every reject with `strict`.
    teich_masking: without it there are no spans, for plain training on every token.

    Raises PipelineError where no row is left, SettingsError for a mixture or source that cannot be read.
    """
    if over_length not in (ways := ("drop", "error", *FITS)):
        raise SettingsError(f"over_length={over_length!r}: takes {', '.join(ways)}")
    if history not in HISTORIES:
        raise SettingsError(f"history={history!r}: takes {', '.join(HISTORIES)}")
    require_counts(max_length=max_length)
    entries, limit = entries_of(source, max_examples, by=by)
    told = create_renderer(adapt(tokenizer), renderer, today=today, **(chat_template_kwargs or {}))
    found = []
    for entry in entries.values():
        where: Any = {"split": split, "config": config, "revision": revision, "token": token}
        conversations = read(entry["source"], format=format, **where)
        rendered = render(kept(conversations, strict=strict), told, history=history)
        fitting = (one for row in rendered for one in _fitting(row, max_length, over_length))
        found.append(list(kept(fitting, strict=strict or over_length == "error" or not drop_oversized_examples)))
    rows, came = mixed(entries, found, limit, seed, by=by)
    for warning in _unheard(entries, found, rows, by):
        warnings.warn(warning, stacklevel=2)
    data = Dataset.from_list([_row(row, told.tokenizer.decode) for row in rows], info=DatasetInfo(description=came))
    if not tokenize:
        data = data.remove_columns("attention_mask").rename_column("input_ids", IDS)
    return data if teich_masking else data.remove_columns([name for name in (SPANS, IDS) if name in data.column_names])


def _unheard(entries: Entries, found: Sequence[list[RenderedRow]], rows: list[RenderedRow], by: str) -> Iterator[str]:
    """Sources of which no row is among these, though they have a share."""
    there = set(map(id, rows))
    taken = [sum(id(row) in there for row in own) for own in found]
    yield from unheard([[len(row.input_ids) for row in own] for own in found], entries, taken, by=by)


def _fitting(row: RenderedRow | Reject, most: int | None, over_length: str) -> Iterator[RenderedRow | Reject]:
    if isinstance(row, Reject) or most is None or len(row.input_ids) <= most:
        yield row
        return
    parts = pieces(row, most, over_length)
    yield from (part.row for part in parts)
    if not parts:
        detail = f"{len(row.input_ids)} tokens, max_length is {most}"
        yield Reject(id=row.id, stage="rendered", reason="too_long", detail=detail)
    elif over_length == "split_turns":
        yield from turns_too_long(row, parts, POLICIES["assistant"])


def _row(row: RenderedRow, decode: Callable[[np.ndarray], str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "conversation_id": row.conversation_id,
        "text": decode(row.input_ids),
        "input_ids": row.input_ids,
        "attention_mask": np.ones(len(row.input_ids), np.int8),
        SPANS: msgspec.json.encode(runs_of(row)).decode(),
    }


def mask_data(
    trainer: T,
    *,
    tokenizer: AnyTokenizer | None = None,
    train_on_reasoning: bool = True,
    train_on_final_answers: bool = True,
    train_on_tools: bool = True,
    train_on_user: bool = False,
    train_on_system: bool = False,
    train_on_developer: bool = False,
    train_on_tool_responses: bool = False,
    max_supervised_tokens: int | None = None,
) -> T:
    """Give a trainer's data sets labels: `input_ids` and `labels`, -100 where nothing is learned, and nothing else.

    trainer: one with `train_dataset`, `eval_dataset` and `args`, which is changed and returned; or a data set of
    `prepare_data`, or splits of one. Learned is what is asked for of turns that are proved; the stop with answers and
    calls. Rows of which nothing is learned leave, and those with more than `max_supervised_tokens` (else the trainer's
    `max_length`). `tokenizer`, else the trainer's, is for people: with one, the data sets have `preview(index)`.

    Raises SettingsError for packed rows, for rows without spans, and where the trainer made other ids than
    `prepare_data`; PipelineError where no row is left.
    """
    asked = {
        Kind.REASONING: train_on_reasoning,
        Kind.ANSWER: train_on_final_answers,
        Kind.TOOL_CALL: train_on_tools,
        Kind.STOP: train_on_final_answers or train_on_tools,
        Kind.USER: train_on_user,
        Kind.SYSTEM: train_on_system,
        Kind.DEVELOPER: train_on_developer,
        Kind.TOOL_RESULT: train_on_tool_responses,
    }
    policy = LossPolicy("mask_data", frozenset(kind for kind, learned in asked.items() if learned))
    require_counts(max_supervised_tokens=max_supervised_tokens)
    if isinstance(trainer, Dataset):
        return _shown(_labelled(trainer, policy, max_supervised_tokens), tokenizer)
    if isinstance(trainer, DatasetDict):
        every = {name: _labelled(data, policy, max_supervised_tokens) for name, data in trainer.items()}
        return type(trainer)({name: _shown(data, tokenizer) for name, data in every.items()})
    if not hasattr(trainer, "args"):
        raise SettingsError(f"{type(trainer).__name__} is no trainer, and no Dataset of prepare_data(…, tokenize=True)")
    args, tokenizer = trainer.args, tokenizer or getattr(trainer, "processing_class", None)
    if getattr(args, "packing", False):
        raise SettingsError("packing: packed rows have lost where they begin; set packing=False")
    most = max_supervised_tokens or getattr(args, "max_length", None)
    trainer.train_dataset = _shown(_labelled(trainer.train_dataset, policy, most), tokenizer)
    held = trainer.eval_dataset
    if isinstance(held, Mapping):
        trainer.eval_dataset = {name: _shown(_labelled(data, policy, most), tokenizer) for name, data in held.items()}
    elif held is not None:
        trainer.eval_dataset = _shown(_labelled(held, policy, most), tokenizer)
    return trainer


def _shown(data: Dataset, tokenizer: AnyTokenizer | None) -> Dataset:
    """The same data set, with a way to look at its rows."""
    if tokenizer is not None:
        vars(data)["preview"] = lambda index=0: preview_sft_example(data, tokenizer, index)
    return data


def _labelled(data: Any, policy: LossPolicy, most: int | None) -> Dataset:
    """A data set with labels."""
    if not isinstance(data, Dataset) or not {SPANS, "input_ids"} <= set(data.column_names):
        raise SettingsError(f"mask_data needs a Dataset with {SPANS} and input_ids: prepare_data(…, tokenize=True)")
    split = (row.startswith(f"{whole}/") for row, whole in zip(data["id"], data["conversation_id"], strict=True))
    if policy.told and any(split):
        raise SettingsError("history='split' would train the words of others once a row: train only the assistant's")
    rows = list(kept((_labels(dict(row), policy, most) for row in data), strict=False))
    if not rows:
        raise PipelineError("no row is left with anything to learn; the warning says why each one left")
    return Dataset.from_list(rows)


def _labels(row: dict[str, Any], policy: LossPolicy, most: int | None) -> dict[str, Any] | Reject:
    """A row with its labels."""
    ids = np.asarray(row["input_ids"], np.int32)
    runs = msgspec.json.decode(row[SPANS], type=RunColumns)
    meant = row.get(IDS, row["input_ids"])
    if row["input_ids"] != meant[: len(ids)] or len(ids) > runs.length:
        return _reject(row, "other_ids", "the trainer made other ids of the text: prepare_data(…, tokenize=True)")
    labels = masked(ids, run_mask(runs, policy)[: len(ids)])
    learned = int((labels != IGNORED).sum())
    if not learned:
        return _reject(
            row, "no_target", f"nothing of {len(ids)} tokens is learned; {len(runs.trainable)} turns are proved"
        )
    if most is not None and learned > most:
        return _reject(row, "too_long", f"{learned} tokens are learned, {most} may be")
    return {"input_ids": ids, "labels": labels}


def _reject(row: dict[str, Any], reason: str, detail: str) -> Reject:
    return Reject(id=row["id"], stage="masked", reason=reason, detail=detail)


def preview_sft_example(dataset: Dataset, tokenizer: AnyTokenizer, index: int = 0) -> str:
    """A row of `mask_data` for a terminal: what is learned is bold and underlined, nothing is invisible."""
    if "labels" not in dataset.column_names:
        raise SettingsError("preview_sft_example shows labels, and there are none yet: call mask_data first")
    row, adapted = dataset[index], adapt(tokenizer)
    told = zip(row["input_ids"], row["labels"], strict=True)
    runs = groupby(told, lambda pair: pair[1] != IGNORED)
    texts = [(learned, adapted.decode([token for token, _ in run])) for learned, run in runs]
    return to_ansi(Run(text, Kind.ANSWER if learned else Kind.SCAFFOLD, trained=learned) for learned, text in texts)
