"""A small honest row to spoil: a ChatML vocabulary of bytes, a conversation with a tool call, and its case."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from tokenizers.pre_tokenizers import ByteLevel

from pipeline.auditing.case import Case
from pipeline.records import Conversation, MaskedRow, RenderedRow, RowProof, RowSpan, Scrub
from pipeline.targets import Target
from renderers.masking import POLICIES, RunColumns, masked, run_mask, trained_runs
from renderers.messages import Message, ToolCall
from renderers.rendered import encode
from renderers.segments import KIND_OF, Kind, Segment, Stream
from renderers.tokenizer import Tokenizer

CONTROL = ("<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>")
SPEC = {
    "type": "function",
    "function": {
        "name": "run_tests",
        "description": "Run the tests below a folder.",
        "parameters": {"type": "object", "properties": {"folder": {"type": "string"}}},
    },
}


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """One token a byte, and control tokens."""
    alphabet = sorted(ByteLevel.alphabet())
    size = len(alphabet)
    added = [{"id": size + k, "content": word, "special": word.startswith("<|")} for k, word in enumerate(CONTROL)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    data = {
        "version": "1.0",
        "added_tokens": [{**flags, **token} for token in added],
        "pre_tokenizer": step,
        "decoder": step,
        "model": {"type": "BPE", "vocab": {char: k for k, char in enumerate(alphabet)}, "merges": []},
    }
    return Tokenizer.from_json(json.dumps(data), chat_template="{{ '<|im_start|>assistant\n' }}", name="bytes")


@pytest.fixture
def conversation() -> Conversation:
    """Asked, thought, called, told, answered."""
    call = ToolCall("run_tests", '{"folder": "tests/unit"}', id="c1")
    return Conversation(
        id="row-1",
        trace_id="trace-1",
        prompt_id="prompt-1",
        window=0,
        format="pi",
        scrub=Scrub(done="replaced"),
        tools=(SPEC,),
        tools_recorded=True,
        messages=(
            Message("system", "You mend code in small steps."),
            Message("user", "Please make the failing test pass."),
            Message("assistant", "Let me look.", reasoning="Which test fails? Run them.", tool_calls=(call,)),
            Message("tool", "1 failed: test_parse expected 3 but got 4", tool_call_id="c1"),
            Message("assistant", "It passes now: the loop ran once too often.", reasoning="Off by one."),
        ),
    )


def tell(conversation: Conversation) -> list[Segment]:
    """ChatML, more or less."""
    said: list[Segment] = []
    if conversation.tools:
        said += [Segment("<|im_start|>system\n"), Segment(json.dumps(conversation.tools), Kind.TOOLS, literal=False)]
        said += [Segment("<|im_end|>\n")]
    for index, message in enumerate(conversation.messages):
        said.append(Segment(f"<|im_start|>{message.role}\n", message=index))
        if message.role != "assistant":
            said.append(Segment(str(message.content), KIND_OF[message.role], index, literal=False))
            said.append(Segment("<|im_end|>\n", message=index))
            continue
        said += _written(index, message)
        said.append(Segment("\n", message=index))
    return said


def _written(index: int, message: Message) -> list[Segment]:
    reasoning = [("<think>", True), (message.reasoning, False), ("</think>\n", True)] if message.reasoning else []
    runs = [(Kind.REASONING, *run) for run in reasoning] + [(Kind.ANSWER, message.content, False)]
    for call in message.tool_calls:
        told = f'{{"name": "{call.name}", "arguments": {call.arguments}}}'
        runs += [(Kind.TOOL_CALL, *run) for run in (("<tool_call>", True), (told, False), ("</tool_call>", True))]
    runs.append((Kind.STOP, "<|im_end|>", True))
    return [Segment(str(text), kind, index, literal=literal) for kind, text, literal in runs if text]


@pytest.fixture
def segments() -> Callable[[Conversation], list[Segment]]:
    return tell


@pytest.fixture
def case(tokenizer: Tokenizer, conversation: Conversation) -> Callable[..., Case]:
    """An honest case; each argument spoils one thing."""

    def make(
        said: Conversation = conversation,
        *,
        segments: Sequence[Segment] | None = None,
        verdicts: dict[int, str] | None = None,
        trainable: Sequence[int] | None = None,
        rendered: dict[str, Any] | None = None,
        masked_row: dict[str, Any] | None = None,
        trained: bool = True,
        target: Target | None = None,
    ) -> Case:
        target = target or Target(model="example")
        row = _rendered(said, segments or tell(said), tokenizer, verdicts or {}, trainable)
        mask = msgspec.structs.replace(_masked(row, target), **masked_row or {}) if trained else None
        return Case(said, msgspec.structs.replace(row, **rendered or {}), mask, tokenizer, target)

    return make


def _rendered(
    said: Conversation,
    segments: Sequence[Segment],
    tokenizer: Tokenizer,
    verdicts: dict[int, str],
    trainable: Sequence[int] | None,
) -> RenderedRow:
    (told,) = encode([Stream(tuple(segments))], tokenizer)
    turns = [index for index, message in enumerate(said.messages) if message.role == "assistant"]
    return RenderedRow(
        id=said.id,
        conversation_id=said.id,
        input_ids=told.ids,
        spans=tuple(RowSpan(s.start, s.kind, -1 if s.message is None else s.message) for s in told.spans()),
        proofs=tuple(RowProof(index, verdicts.get(index, "proved")) for index in turns),
        trainable=tuple(trainable if trainable is not None else (t for t in turns if t not in verdicts)),
    )


def _masked(row: RenderedRow, target: Target) -> MaskedRow:
    policy = POLICIES[target.policy].but(kinds=target.train_on, last_turn_only=target.last_turn_only)
    spans = row.spans
    runs = RunColumns(
        [s.start for s in spans], [s.kind for s in spans], [s.message for s in spans], row.trainable, len(row.input_ids)
    )
    ends = [*runs.starts[1:], runs.length]
    trained: dict[str, int] = {}
    for start, end, kind, yes in zip(runs.starts, ends, runs.kinds, trained_runs(runs, policy), strict=True):
        if yes:
            trained[kind] = trained.get(kind, 0) + end - start
    return MaskedRow(
        id=row.id,
        conversation_id=row.id,
        input_ids=row.input_ids,
        labels=masked(row.input_ids, run_mask(runs, policy)),
        attention_mask=np.ones(runs.length, np.int8),
        trained=trained,
    )
