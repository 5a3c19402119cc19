"""Why a token of a stored row is learned or not: what it is, where it comes from, which rule decides, and its flip."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from pipeline.comparing.changes import learned
from pipeline.converting.declaring import declared
from pipeline.errors import StoreError
from pipeline.records import Conversation, MaskedRow, Place, Reject, RenderedRow, RowProof, Trace
from pipeline.rendering import request_of
from pipeline.targets import Target
from renderers.masking import LossPolicy
from renderers.rendered import encode
from renderers.renderer import Renderer
from renderers.segments import Kind, Segment, Stream, Verdict
from renderers.tokenizer import Tokenizer

AROUND = 8
"""Tokens shown on either side."""
FLIPS: Mapping[str, str] = {
    Verdict.HISTORY_REWRITTEN: "`history: split` gives the turn a row in which it is what inference saw; `keep` tells "
    "history so, where the family has the flag; `trust` learns it as it stands",
    Verdict.PROMPT_ABSENT: "a template flag that serving sets too (`flags:`), or `history: trust`",
    Verdict.PROMPT_REFUSED: "nothing: the template cannot tell what came before this turn",
    Verdict.TURN_REWRITTEN: "`history: split`, or `history: trust`",
    Verdict.SCATTERED: "`history: trust`",
    Verdict.INVISIBLE: "nothing: the template tells nothing of this message",
    Verdict.UNFAITHFUL: "nothing: the trace does not hold what the model wrote",
    Verdict.SPLIT: "nothing: another row of this conversation learns it, and each turn is learned once",
}
"""What would make a turn with this verdict learnable."""


class Why(msgspec.Struct, frozen=True):
    """A token of a row, explained."""

    row: str
    token: int
    """Its place in the row, from 0."""
    id: int
    text: str
    before: str
    after: str
    kind: Kind
    message: int | None
    field: str | None
    """Where its first byte comes from, as `messages/3/content`; None for words of the template."""
    place: Place | None
    """Of its message, or of the tool's spec, in the raw trace."""
    trained: bool
    rule: str
    flip: str
    """What would make it the other way."""


class Case(msgspec.Struct, frozen=True):
    """A stored row, what was made of it, and what it takes to make it again."""

    row: RenderedRow
    masked: tuple[MaskedRow, ...]
    """What masking made of it: nothing, itself, or parts."""
    reject: Reject | None
    """Why masking kept nothing, or not all, of it."""
    conversation: Conversation
    target: Target
    renderer: Renderer
    trace: Callable[[], Trace | None] = lambda: None
    """What the conversation was told by, read where it is asked for."""


def place_of(text: str, row: RenderedRow, tokenizer: Tokenizer) -> int:
    """The token in which a text begins for the first time. Raises StoreError where the row does not hold it."""
    pieces = _pieces(row, tokenizer)
    at = b"".join(pieces).find(text.encode())
    if at < 0:
        raise StoreError(f"row {row.id} does not hold {text!r}; `tracemill preview {row.id}` shows what it holds")
    return int(np.searchsorted(np.cumsum(list(map(len, pieces))), at, side="right"))


def _pieces(row: RenderedRow, tokenizer: Tokenizer) -> list[bytes]:
    """What each token of a row stands for."""
    said = {token: tokenizer.token_bytes(token) for token in set(row.input_ids.tolist())}
    return [said[token] for token in row.input_ids.tolist()]


def why(case: Case, token: int) -> Why:
    """The token explained. Raises StoreError where the row has no such token."""
    row, tokenizer = case.row, case.renderer.tokenizer
    if not 0 <= token < len(row.input_ids):
        raise StoreError(f"row {row.id} has tokens 0 to {len(row.input_ids) - 1}, not {token}")
    span = next(span for span in reversed(row.spans) if span.start <= token)
    segment = _segment(case, token)
    message = None if span.message < 0 else span.message
    rule, flip = _rule(case, token, span.kind, message)
    return Why(
        row=row.id,
        token=token,
        id=int(row.input_ids[token]),
        text=tokenizer.token_text(int(row.input_ids[token])),
        before=tokenizer.decode(row.input_ids[max(0, token - AROUND) : token]),
        after=tokenizer.decode(row.input_ids[token + 1 : token + 1 + AROUND]),
        kind=span.kind,
        message=message,
        field="/".join(map(str, segment.origin)) if segment and segment.origin else None,
        place=_declared(case, segment) if span.kind is Kind.TOOLS else _said_at(case, message),
        trained=bool(learned(row, case.masked)[token]),
        rule=rule,
        flip=flip,
    )


def _said_at(case: Case, message: int | None) -> Place | None:
    places = case.conversation.places
    return places[message] if message is not None and message < len(places) else None


def _declared(case: Case, segment: Segment | None) -> Place | None:
    """Where the trace offers the tool that a token tells of."""
    origin = segment.origin if segment else None
    if origin is None or len(origin) < 2 or (trace := case.trace()) is None:
        return None
    return declared(trace, case.conversation.tools[int(origin[1])])


def _segment(case: Case, token: int) -> Segment | None:
    """What of the conversation tells the token; None where the code of now tells the row otherwise.

    Where tokens stand for the bytes that are told, they count; else what is told is encoded once more.
    """
    told = _told_again(case)
    if told is None:
        return None
    pieces = _pieces(case.row, case.renderer.tokenizer)
    texts = [segment.text.encode("utf-8", "surrogatepass") for segment in told.segments]
    if b"".join(pieces) == b"".join(texts):
        ends = np.cumsum(list(map(len, texts)))
        return told.segments[int(np.searchsorted(ends, sum(map(len, pieces[:token])), side="right"))]
    made = encode([told], case.renderer.tokenizer)[0]
    return made.segments[made.owners[token]] if np.array_equal(made.ids, case.row.input_ids) else None


def _told_again(case: Case) -> Stream | None:
    """The row, told once more: a stored row does not hold where its text came from."""
    whole, *parts = case.renderer.streams(request_of(case.conversation), case.target.history)
    end = case.row.id.rpartition("/")[2]
    wanted = (part for part in parts if part.proofs and str(part.proofs[-1].message) == end)
    return whole if case.row.whole else next(wanted, None)


Rule = tuple[str, str]


def _rule(case: Case, token: int, kind: Kind, message: int | None) -> Rule:
    """The rule that decides, and what would flip it: the first that says no, else the one that says yes."""
    policy = case.target.loss_policy
    no = _said(kind) or _wanted(kind, message, case, policy) or _provable(kind, message, case.row) or _kept(case, token)
    if no:
        return no
    proof = _proof(case.row.proofs, message) if kind.sampled else None
    why = f"the turn is {proof.verdict}{f' ({proof.note})' if proof.note else ''}" if proof else "somebody said it"
    return f"policy {policy.name} learns {kind}, and {why}", f"`train_on` without {kind}, or a weight of 0"


def _said(kind: Kind) -> Rule | None:
    if kind is Kind.SCAFFOLD:
        return "scaffold is the template's own words, which nobody learns", "nothing"
    if kind is Kind.TOOLS:
        return "tools are what the model was offered, and how: told to it, and no policy learns that", "nothing"
    return None


def _wanted(kind: Kind, message: int | None, case: Case, policy: LossPolicy) -> Rule | None:
    if kind not in policy.kinds:
        told = "" if kind.sampled else ", which the model was told"
        more = ", ".join(sorted({*policy.kinds, kind}))
        return f"policy {policy.name} does not learn {kind}{told}", f"`train_on: [{more}]`"
    if policy.last_turn_only and (message is None or message <= case.row.asked):
        return f"policy {policy.name} learns only what follows the last user message", "`last_turn_only: false`"
    if message is not None and case.row.weights.get(message) == 0:
        return f"message {message} weighs 0", "its `weight` in the conversation"
    return None


def _provable(kind: Kind, message: int | None, row: RenderedRow) -> Rule | None:
    """Whether the turn may be learned at all."""
    if not kind.sampled or message in row.trainable:
        return None
    lost = [field for field in row.lost if field.startswith(f"messages/{message}/")]
    proof = _proof(row.proofs, message)
    if lost:
        return f"{', '.join(lost)} is nowhere in the text: what is told is not all that the model wrote", (
            "a renderer that tells it, or a flag that does"
        )
    if proof is None:
        return "the row ends before this turn, and does not prove it", FLIPS[Verdict.SPLIT]
    told = f"message {message}: {proof.verdict}{f': {proof.note}' if proof.note else ''}"
    return told, FLIPS.get(proof.verdict, "a stop at its end: a turn without one is not learned")


def _kept(case: Case, token: int) -> Rule | None:
    """What masking did to the row as a whole."""
    if case.reject and not case.masked:
        return f"masking rejected the row: {case.reject.reason}: {case.reject.detail}", "what the reason says"
    if not case.masked:
        return "the row is not masked yet", "`tracemill materialize`"
    if not learned(case.row, case.masked)[token]:
        fit = f"`max_length: {case.target.max_length}`, `over_length: {case.target.over_length}`"
        return f"{fit} left it out, or what it needs before it", "a greater `max_length`"
    return None


def _proof(proofs: Sequence[RowProof], message: int | None) -> RowProof | None:
    return next((proof for proof in proofs if proof.message == message), None)


def told(found: Why) -> Iterator[tuple[str, str]]:
    """The same for people: a name and what it is."""
    yield "token", f"{found.token} of row {found.row}: {found.text!r}, id {found.id}"
    yield "around", f"{found.before!r} · {found.text!r} · {found.after!r}"
    yield "kind", str(found.kind)
    if found.message is not None:
        yield "message", str(found.message)
    yield "field", found.field or "none: words of the template, or the code of now tells the row otherwise"
    if found.place:
        yield "raw trace", f"{found.place.file}:{found.place.line} {found.place.pointer}".rstrip()
    yield ("trained" if found.trained else "not trained"), found.rule
    yield "would flip it", found.flip
