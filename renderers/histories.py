"""What becomes of turns that a template tells otherwise in history than inference saw them.

Qwen3 drops the reasoning of an answer as soon as the user goes on, and gpt-oss ends it with another token: in one row
only the end of such a conversation is what inference would see. A row for each context has them all.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice, takewhile

from renderers.errors import TemplateError, UnknownFlag
from renderers.messages import Message, Request
from renderers.segments import Kind, Proof, Stream, Verdict

Tell = Callable[[Request], Stream]
History = Callable[[Tell, Request], list[Stream]]
"""The rows of a conversation, each with its last stop; the first of them is the whole."""
KEEPING = {
    "preserve_thinking": True,
    "clear_thinking": False,
    "truncate_history_thinking": False,
    "preserve_all_thinking": True,
}
"""What templates call it to keep reasoning in history; last what only ours can do, and no server."""


def stopped(tell: Tell, request: Request) -> Stream:
    """A conversation whose last turn ends with its stop, even if that is the marker of the turn which follows (GLM).

    The template says which: it is asked to tell one message more, a result after a call, a question after an answer.
    """
    told, end = tell(request), len(request.messages) - 1
    message = request.messages[-1]
    if message.role != "assistant" or end in told.stopped or request.generating:
        return told
    more = [Message("tool", "x", tool_call_id=call.id) for call in message.tool_calls] or [Message("user", "x")]
    try:
        longer = tell(request.but(messages=(*request.messages, *more)))
    except TemplateError:
        return told
    stops = (segment for segment in longer.segments if segment.kind is Kind.STOP and segment.message == end)
    return told.but(told=(*told.told, *islice(stops, 1)))


def last(tell: Tell, request: Request) -> list[Stream]:
    """One row, of which the turns are learned that are proved in it."""
    return [stopped(tell, request)]


def keep(tell: Tell, request: Request) -> list[Stream]:
    """One row, history told with its reasoning; the proofs note the flag that inference must set, too.

    Raises UnknownFlag where the template has no such flag.
    """
    for flag, value in KEEPING.items():
        try:
            whole = stopped(tell, request.but(flags={**request.flags, flag: value}))
        except UnknownFlag:
            continue
        notes = (", ".join(filter(None, (f"{flag}={value}", proof.note))) for proof in whole.proofs)
        noted = (Proof(proof.message, proof.verdict, note) for proof, note in zip(whole.proofs, notes, strict=True))
        return [whole.but(proofs=tuple(noted))]
    raise UnknownFlag(f"no flag keeps reasoning in history, none of {', '.join(KEEPING)}; `split` teaches every turn")


def trust(tell: Tell, request: Request) -> list[Stream]:
    """One row, of which every turn is learned that has a stop; those that are not proved are flagged."""
    whole = stopped(tell, request)
    return [whole.but(proofs=tuple(_trusted(proof, whole) for proof in whole.proofs))]


def _trusted(proof: Proof, whole: Stream) -> Proof:
    if proof.message in whole.trainable or proof.message not in whole.stopped:
        return proof
    lost = ("/".join(map(str, origin)) for origin in whole.lost if origin[:2] == ("messages", proof.message))
    wrong = f"not told: {', '.join(lost)}" if proof.verdict is Verdict.PROVED else str(proof.verdict)
    return Proof(proof.message, Verdict.TRUSTED, f"{wrong}: {proof.note}" if proof.note else wrong)


def split(tell: Tell, request: Request) -> list[Stream]:
    """As few rows as hold every turn that can be proved, none of them learned twice.

    The whole conversation; then, from the end, a row that ends with each turn that no row before it proves. A row
    proves all turns whose context holds in it: a long tool loop is one row, a chat with thoughts is a row a turn.
    """
    rows, refused = [whole := stopped(tell, request)], {}
    turns = [proof.message for proof in whole.proofs if request.messages[proof.message].weight != 0]
    row_of = dict.fromkeys(whole.trainable.intersection(turns), 0)
    for turn in reversed(turns):
        if turn in row_of:
            continue
        row = _ending(tell, request, turn)
        if row and turn in row.trainable:
            row_of = {**dict.fromkeys(row.trainable.intersection(turns), len(rows)), **row_of}
            rows.append(row.but(asked=whole.asked))
        elif row and row.proofs[-1].verdict is not Verdict.PROVED:
            refused[turn] = row.proofs[-1]
    elsewhere = {turn: (number, rows[number].proofs[-1].message) for turn, number in row_of.items()}
    return [row.but(proofs=tuple(_marked(row, n, elsewhere, refused))) for n, row in enumerate(rows)]


def _ending(tell: Tell, request: Request, turn: int) -> Stream | None:
    """The conversation as far as this turn, as inference saw it; None where it cannot be told."""
    part = request.but(messages=request.messages[: turn + 1], generating=False)
    asked = part.but(messages=part.messages[:-1], generating=True)
    try:
        row = stopped(tell, part)
        return _behind(tell(asked), row) if row.proofs[-1].verdict is Verdict.HISTORY_REWRITTEN else row
    except TemplateError:
        return None


def _behind(prompt: Stream, row: Stream) -> Stream:
    """A last turn behind the prompt that it answers, where the template tells the history anew as soon as it stands."""
    turn = row.proofs[-1].message
    own = [segment for segment in row.segments if segment.message == turn]
    opened = takewhile(lambda segment: not segment.kind.sampled, own)
    prompted = takewhile(lambda segment: segment.message is None, reversed(prompt.segments))
    shown, asked = (tuple(segment.text for segment in segments) for segments in (opened, prompted))
    if "".join(shown) != "".join(reversed(asked)):
        return row
    return prompt.but(
        told=(*prompt.segments, *own[len(shown) :]),
        proofs=(*prompt.proofs, Proof(turn, Verdict.PROVED)),
        lost=(*prompt.lost, *(origin for origin in row.lost if origin[:2] == ("messages", turn))),
        weights=row.weights,
    )


def _marked(
    row: Stream, number: int, elsewhere: Mapping[int, tuple[int, int]], refused: Mapping[int, Proof]
) -> Iterator[Proof]:
    """The proofs of a row: what another row teaches is split, what none can is refused as it is even as the last."""
    for proof in row.proofs:
        other, end = elsewhere.get(proof.message, (number, None))
        if other != number:
            yield Proof(proof.message, Verdict.SPLIT, f"trained in the row that ends with message {end}")
        else:
            yield refused.get(proof.message, proof)


HISTORIES: Mapping[str, History] = {"last": last, "split": split, "keep": keep, "trust": trust}
