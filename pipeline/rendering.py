"""Conversations -> rendered rows.

A row ends with a message of the model, the whole row with the last: what came after was never answered. A conversation
that its template refuses, or would tell without its tools, its system message or a tool result, is a reject. What is
lost of an assistant message only makes that message untrainable: the row keeps it in `lost`.
"""

import gc
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from itertools import chain, islice
from typing import TypeVar

import msgspec
import numpy as np

from pipeline.records import Conversation, Reject, RenderedRow, RowProof, Spans
from renderers.errors import RendererError
from renderers.messages import Message, Request
from renderers.pieces import between
from renderers.rendered import Batch, encode, woven_of
from renderers.renderer import Renderer
from renderers.segments import Origin, Proof, Stream, Verdict
from renderers.tokenizer import Tokenizer

AT_ONCE, SAID_AT_ONCE = 128, 1 << 20
"""Rows a call of the tokenizer, and the characters after which it has enough with fewer."""
LARGE = 1 << 24
"""Bytes of a batch that is made before more is told: of whole sessions, two at once would be too much."""
AHEAD = 2
"""Batches that are being encoded while the next is told: with one, it would wait for the interpreter now and then."""
OBJECTS = 1 << 16
"""So many more must be alive before the collector of cycles looks: more than those of a few batches."""
_skim = msgspec.json.Decoder(msgspec.Raw).decode
T = TypeVar("T")


def render(
    conversations: Iterable[Conversation], renderer: Renderer, *, history: str = "last"
) -> Iterator[RenderedRow | Reject]:
    """Each conversation as ids and what they are, or as a reject: `refused`, `lost_fields`, `media`, …

    history: what becomes of turns that the template tells otherwise in history, a row of `HISTORIES`; `split` makes
    several rows of a conversation, the whole first.
    """
    told = ((conversation, _tell(conversation, renderer, history)) for conversation in conversations)
    yield from _undisturbed(chain.from_iterable(_ahead(_batches(told), renderer.tokenizer)))


Told = tuple[Conversation, Sequence[Stream] | Reject]


def _undisturbed(values: Iterator[T]) -> Iterator[T]:
    """The collector of cycles looks seldom while these come: rows have none, and it would look all the time."""
    usual = gc.get_threshold()
    rarely = 0 < usual[0] < OBJECTS  # of streams that overlap, the first
    if rarely:
        gc.set_threshold(OBJECTS, *usual[1:])
    try:
        yield from values
    finally:
        if rarely:
            gc.set_threshold(*usual)


def _batches(told: Iterable[Told]) -> Iterator[list[Told]]:
    """Conversations that are a call's worth of rows together."""
    batch, rows, said = [], 0, 0
    for one in told:
        batch.append(one)
        streams = () if isinstance(one[1], Reject) else one[1]
        rows += len(streams) or 1
        said += sum(map(len, chain.from_iterable([part.texts for stream in streams for part in stream.told])))
        if rows >= AT_ONCE or said >= SAID_AT_ONCE:
            yield batch
            batch, rows, said = [], 0, 0
    yield batch


def _ahead(batches: Iterable[list[Told]], tokenizer: Tokenizer) -> Iterator[list[RenderedRow | Reject]]:
    """The rows of each batch. The engine encodes it while the next is told: it needs no interpreter for that."""
    begun = deque[_Batch]()
    with ThreadPoolExecutor(1) as thread:
        for batch in batches:
            new = _Batch(batch, tokenizer)
            large = new.size > LARGE
            while begun and (large or len(begun) >= AHEAD):
                yield list(begun.popleft().rows())
            begun.append(new.begin(thread))
            del new
            if large:
                yield list(begun.popleft().rows())
        while begun:
            yield list(begun.popleft().rows())


Encoded = tuple[Stream, np.ndarray, Spans]
"""A row of a batch."""


class _Batch:
    """Conversations that are encoded together."""

    def __init__(self, told: list[Told], tokenizer: Tokenizer):
        self.told, self.tokenizer = told, tokenizer
        self.pairs = [(c, stream) for c, streams in told if not isinstance(streams, Reject) for stream in streams]
        self.woven = self.coming = None
        with suppress(RendererError):  # `encoded` says of which row
            self.woven = woven_of([stream for _, stream in self.pairs], tokenizer)

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.woven.layout.sizes.sum()) if self.woven else 0

    def begin(self, thread: Executor) -> "_Batch":
        if self.woven:
            self.coming = thread.submit(self.woven.encode, self.tokenizer)
        return self

    def rows(self) -> Iterator[RenderedRow | Reject]:
        encoded = iter(self.encoded())
        for conversation, streams in self.told:
            if isinstance(streams, Reject):
                yield streams
            else:
                yield from _rows(conversation, list(islice(encoded, len(streams))))

    def encoded(self) -> Iterable[Encoded | Reject]:
        """Of one engine call; where that fails, of a call each, to find the row that cannot be encoded."""
        try:
            if self.coming:
                return _cut(self.coming.result())
        except RendererError:
            pass
        return chain.from_iterable(_encode_alone(*pair, self.tokenizer) for pair in self.pairs)


def _tell(conversation: Conversation, renderer: Renderer, history: str) -> Sequence[Stream] | Reject:
    answered = conversation.answered
    if not answered:
        return _reject(conversation, "no_completion", "there is no assistant message to learn from")
    if broken := _broken_arguments(conversation.messages):
        return _reject(conversation, "broken_arguments", broken)
    odd = [index for index, m in enumerate(answered) if m.weight is not None or not isinstance(m.content, str)]
    if odd and (shown := _medium(answered)):
        return _reject(conversation, "media", f"{shown}: a row holds ids, and nothing of what the model would see")
    if parts := {n: answered[n].weight for n in odd if answered[n].weight not in (None, 0, 1)}:
        return _reject(conversation, "fractional_weight", f"messages weigh {parts}: labels know only 0 and 1")
    try:
        streams = renderer.streams(request_of(conversation), history)
    except RendererError as error:
        return _reject(conversation, "refused", f"{renderer.name}: {error}")
    fields = dict.fromkeys([origin for stream in streams for origin in stream.lost])
    lost = [_spell(origin) for origin in fields if not _assistants(conversation, origin)]
    if lost:
        why = f"{renderer.name} does not tell {', '.join(lost)}: the model would be trained as if it were not there"
        return _reject(conversation, "lost_fields", why)
    return streams


def request_of(conversation: Conversation) -> Request:
    """What is told of a conversation. What the model did not write weighs nothing."""
    messages = conversation.answered
    if flawed := {flaw.message for flaw in conversation.flaws} if conversation.flaws else ():
        messages = tuple([m.but(weight=0.0) if index in flawed else m for index, m in enumerate(messages)])
    return Request(messages, conversation.tools, today=conversation.date)


def _broken_arguments(messages: Sequence[Message]) -> str:
    """Where a tool call's arguments are no JSON, and why."""
    try:
        for message in messages:
            for call in message.tool_calls:
                _skim(call.arguments)
        return ""
    except (ValueError, RecursionError):  # those that are may still be what Python reads
        pass
    for index, message in enumerate(messages):
        for number, call in enumerate(message.tool_calls):
            if error := _no_json(call.arguments):
                return f"messages/{index}/tool_calls/{number}/arguments of {call.name!r}: {error}"
    return ""


def _no_json(text: str) -> Exception | None:
    """Why Python does not read it; most is settled by a reader that is faster, and more strict."""
    why = None
    for read in (_skim, json.loads):
        try:
            read(text)
            return None
        except (ValueError, RecursionError) as error:
            why = error
    return why


def _medium(messages: Sequence[Message]) -> str:
    """Where there is something that is no text, and what."""
    for index, message in enumerate(messages):
        if isinstance(message.content, str):
            continue
        for at, part in enumerate(message.content):
            if part.kind != "text":
                return f"messages/{index}/content/{at} is {part.kind}"
    return ""


def _assistants(conversation: Conversation, origin: Origin) -> bool:
    """Whether a field is of an assistant message."""
    where, index = origin[0], origin[1]
    return where == "messages" and conversation.messages[int(index)].role == "assistant"


def _encode_alone(conversation: Conversation, stream: Stream, tokenizer: Tokenizer) -> Iterable[Encoded | Reject]:
    try:
        return _cut(encode([stream], tokenizer))
    except RendererError as error:
        return [_reject(conversation, "not_encodable", str(error))]


def _cut(batch: Batch) -> Iterator[Encoded]:
    """The rows of a batch, out of its columns."""
    runs = batch.runs
    begins = np.searchsorted(runs.rows, np.arange(len(batch) + 1))
    columns = runs.starts - batch.rows[runs.rows], runs.kinds, runs.messages
    spans = map(Spans, *[between(column, begins) for column in columns])
    return zip(batch.streams, between(batch.ids, batch.rows), spans, strict=True)


def _rows(conversation: Conversation, rows: Sequence[Encoded | Reject]) -> Sequence[RenderedRow | Reject]:
    """The whole, named as the conversation is, and rows that are named by the message that they end with; or a reject,
    if one of them is."""
    flaws = {flaw.message: flaw.reason for flaw in conversation.flaws} if conversation.flaws else {}
    made: list[RenderedRow] = []
    for row in rows:
        if isinstance(row, Reject):
            return [row]
        name = f"{conversation.id}/{row[0].proofs[-1].message}" if made else conversation.id
        made.append(_row(conversation, row, name, flaws))
    return made


def _row(conversation: Conversation, row: Encoded, name: str, flaws: Mapping[int, str]) -> RenderedRow:
    stream, ids, spans = row
    return RenderedRow(
        id=name,
        conversation_id=conversation.id,
        input_ids=ids,
        spans=spans,
        proofs=_proofs(stream.proofs, flaws),
        lost=tuple(map(_spell, stream.lost)) if stream.lost else (),
        trainable=tuple(sorted(stream.trainable - flaws.keys() if flaws else stream.trainable)),
        asked=stream.asked,
        today=stream.today,
        weights={m: weight for m, weight in stream.weights.items() if m not in flaws} if stream.weights else {},
    )


def _proofs(proofs: Sequence[Proof], flaws: Mapping[int, str]) -> tuple[RowProof, ...]:
    """A flaw is its message's verdict, whatever was proved."""
    told = [RowProof(proof.message, str(proof.verdict), proof.note) for proof in proofs]
    if flaws:
        unfaithful = str(Verdict.UNFAITHFUL)
        told = [RowProof(p.message, unfaithful, flaws[p.message]) if p.message in flaws else p for p in told]
    return tuple(told)


@lru_cache(maxsize=1 << 12)
def _spell(origin: Origin) -> str:
    return "/".join(map(str, origin))


def _reject(conversation: Conversation, reason: str, detail: str) -> Reject:
    return Reject(id=conversation.id, stage="rendered", reason=reason, detail=detail)
