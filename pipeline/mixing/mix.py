"""Candidates of all sources -> the rows of a mixture: curated, chosen, split, laid out. What leaves is a reject."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec

from pipeline.errors import PipelineError
from pipeline.mixing import shares
from pipeline.mixing.choosing import choose, unheard
from pipeline.mixing.contamination import Hit, contaminated, hits
from pipeline.mixing.duplicates import clusters, duplicates
from pipeline.mixing.judging import Grader, misjudged
from pipeline.mixing.packing import Packed, Plan, pack, plan
from pipeline.mixing.quality import unworthy
from pipeline.mixing.splitting import TRAIN, crossings, grouped, split, ties_of
from pipeline.mixtures import Mixture
from pipeline.records import Conversation, MaskedRow, MixedRow, Reject


@dataclass(frozen=True, slots=True)
class Candidate:
    """A masked row of a source, and what it was made of."""

    source: str
    row: MaskedRow
    conversation: Conversation

    @property
    def tokens(self) -> int:
        return len(self.row.input_ids)


class Share(msgspec.Struct, kw_only=True):
    """One source: what there was, what was asked for, what came of it."""

    source: str
    found: int
    """Rows before curation."""
    fit: int
    """Rows after it."""
    asked: float | None
    """Of 1; None: no share."""
    rows: int
    tokens: int
    realized: float
    """Of 1, in what the mixture counts by."""


class MixReport(msgspec.Struct, kw_only=True):
    """What a mixture came to."""

    by: str
    shares: tuple[Share, ...]
    splits: dict[str, int]
    """Rows of each."""
    groups: int
    """Sets of conversations that belong together."""
    crossings: dict[str, int]
    """By what holds conversations together, how many are in more than one split: the proof is that all are 0."""
    sequences: int
    fill: float
    """How much of the sequences is tokens; 1 where nothing is packed."""
    hits: list[Hit] = []
    """Every message that shares words with a benchmark."""
    ungraded: list[str] = []
    """Conversations that the judge gave no grade, and that stay."""
    unheard: list[str] = []
    """Sources and splits with a share that is too small for a row: which, how small, and what to do."""


def mix(
    sources: Mapping[str, Sequence[Candidate | Reject]],
    mixture: Mixture,
    *,
    grams: Mapping[str, str],
    grader: Grader | None = None,
) -> tuple[list[MixedRow | Reject], MixReport]:
    """The rows and what became of the sources. `grams`: of benchmarks, as `contamination.benchmark_grams` has them.

    Raises PipelineError where a source has no row left, SettingsError where shares make no mixture.
    """
    found = {name: [one for one in own if isinstance(one, Candidate)] for name, own in sources.items()}
    outside = [one for own in sources.values() for one in own if isinstance(one, Reject)]
    every = list(chain.from_iterable(found.values()))
    found_hits, ungraded = list[Hit](), list[str]()
    gone = _again(every) | _long(every, mixture) | _curated(every, mixture, grams, grader, found_hits, ungraded)
    fit = {name: [one for one in own if id(one) not in gone] for name, own in found.items()}
    for name, own in fit.items():
        if not own:
            left = [one if isinstance(one, Reject) else gone[id(one)] for one in sources[name]]
            raise PipelineError(f"source {name}: no row of it is left: {_reasons(left)}")
    sizes = [[one.tokens for one in own] for own in fit.values()]
    asked = {name: source.shares for name, source in mixture.sources.items()}
    taken = choose(
        sizes,
        asked,
        by=mixture.by,
        limit=mixture.limit,
        seed=mixture.seed,
        caps=[source.max_examples for source in mixture.sources.values()],
    )
    chosen = [own[k] for own, places in zip(fit.values(), taken, strict=True) for k in places]
    over = {id(one) for own in fit.values() for one in own} - {id(one) for one in chosen}
    places, proof, groups = _places(chosen, mixture)
    rows = _laid_out(chosen, places, mixture)
    left = [gone.get(id(one)) or _over(one) for one in every if id(one) in gone or id(one) in over]
    return [*rows, *outside, *left], MixReport(
        by=mixture.by,
        shares=tuple(_shares(found, fit, chosen, mixture)),
        splits={name: places.count(name) for name in (TRAIN, *mixture.splits)},
        groups=groups,
        crossings=proof,
        sequences=len(rows),
        fill=sum(len(row.input_ids) for row in rows) / (len(rows) * mixture.pack) if mixture.pack and rows else 1.0,
        hits=found_hits,
        ungraded=ungraded,
        unheard=[*unheard(sizes, asked, list(map(len, taken)), by=mixture.by), *_empty(places, mixture)],
    )


def _again(every: Sequence[Candidate]) -> dict[int, Reject]:
    """Rows that a source before has, too."""
    first: dict[str, str] = {}
    return {
        id(one): _reject(one, "duplicate", f"source {first[one.row.id]} has this row, too")
        for one in every
        if first.setdefault(one.row.id, one.source) != one.source
    }


def _long(every: Sequence[Candidate], mixture: Mixture) -> dict[int, Reject]:
    """Rows that no sequence has room for."""
    most = mixture.pack
    return {
        id(one): _reject(one, "too_long", f"{one.tokens} tokens, pack is {most}: packing cuts no row; set max_length")
        for one in every
        if most is not None and one.tokens > most
    }


def _curated(
    every: Sequence[Candidate],
    mixture: Mixture,
    grams: Mapping[str, str],
    grader: Grader | None,
    found: list[Hit],
    ungraded: list[str],
) -> dict[int, Reject]:
    """The rows of conversations that are not worth learning, each rule asked of what those before it left.

    What is `found` of benchmarks, and what nobody graded, is added to these lists.
    """
    asked, left = mixture.curate, dict[str, Reject]()
    conversations = {one.conversation.id: one.conversation for one in every}

    def strike(found: Iterator[Reject]) -> None:
        for reject in found:
            left[reject.id] = reject
            del conversations[reject.id]

    strike(unworthy(list(conversations.values()), asked.quality))
    if asked.duplicates != "keep":
        near = asked.similarity if asked.duplicates == "near" else None
        strike(duplicates(list(conversations.values()), near=near))
    found += hits(conversations.values(), grams, asked.ngram) if grams else ()
    strike(contaminated(found))
    if asked.judge and grader:
        strike(misjudged(list(conversations.values()), asked.judge, grader, ungraded))
    return {
        id(one): _reject(one, reject.reason, reject.detail)
        for one in every
        if (reject := left.get(one.conversation.id)) is not None
    }


def _places(chosen: Sequence[Candidate], mixture: Mixture) -> tuple[list[str], dict[str, int], int]:
    """The split of each row, the proof that nothing crosses, and how many groups there are."""
    conversations = list({one.conversation.id: one.conversation for one in chosen}.values())
    near = clusters(conversations, near=mixture.curate.similarity)
    ties = [ties_of(conversation, cluster) for conversation, cluster in zip(conversations, near, strict=True)]
    groups, rows = grouped(ties), dict.fromkeys((conversation.id for conversation in conversations), 0)
    for one in chosen:
        rows[one.conversation.id] += 1
    where = split(groups, list(rows.values()), mixture.splits, mixture.seed)
    proof = crossings(ties, where)
    if any(proof.values()):
        raise PipelineError(f"splits leak: {proof}")
    by_conversation = dict(zip(rows, where, strict=True))
    return [by_conversation[one.conversation.id] for one in chosen], proof, len(set(groups))


def _empty(places: Sequence[str], mixture: Mixture) -> Iterator[str]:
    """What is said of each split that nothing is in."""
    for name, percent in mixture.splits.items():
        if name not in places:
            yield (
                f"split {name}: {percent:g}% of {len(places):,} rows was asked, and no group that belongs together is "
                "so small: it is empty; ask for more of it, or give the mixture more rows"
            )


def _laid_out(chosen: Sequence[Candidate], places: Sequence[str], mixture: Mixture) -> list[MixedRow]:
    """The sequences of each split: rows in an order of the seed, or packed, the sequences in an order of the seed."""
    rows: list[MixedRow] = []
    for name in (TRAIN, *mixture.splits):
        own = [one for one, place in zip(chosen, places, strict=True) if place == name]
        if not own:
            continue
        alone = Plan.of([[k] for k in range(len(own))], 0)
        planned = plan([one.tokens for one in own], mixture.pack) if mixture.pack else alone
        order = [planned.rows(number) for number in range(len(planned))]
        random.Random(mixture.seed).shuffle(order)
        packed = pack(Plan.of(order, planned.room), [o.row.input_ids for o in own], [o.row.labels for o in own])
        rows += [
            _sequence(name, number, [own[k] for k in held], one)
            for number, (held, one) in enumerate(zip(order, packed, strict=True))
        ]
    return rows


def _sequence(name: str, number: int, held: Sequence[Candidate], packed: Packed) -> MixedRow:
    return MixedRow(
        id=f"{name}/{number:07}",
        split=name,
        rows=tuple(one.row.id for one in held),
        sources=tuple(one.source for one in held),
        input_ids=packed.input_ids,
        labels=packed.labels,
        position_ids=packed.position_ids,
        seq_lengths=packed.seq_lengths,
    )


def _shares(
    found: Mapping[str, Sequence[Candidate]],
    fit: Mapping[str, Sequence[Candidate]],
    chosen: Sequence[Candidate],
    mixture: Mixture,
) -> Iterator[Share]:
    asked = shares({name: source.shares for name, source in mixture.sources.items()})
    worth = {name: [one.tokens for one in chosen if one.source == name] for name in found}
    total = sum(sum(own) if mixture.by == "tokens" else len(own) for own in worth.values())
    for number, (name, own) in enumerate(worth.items()):
        yield Share(
            source=name,
            found=len(found[name]),
            fit=len(fit[name]),
            asked=asked[number] if asked else None,
            rows=len(own),
            tokens=sum(own),
            realized=(sum(own) if mixture.by == "tokens" else len(own)) / total if total else 0.0,
        )


def _over(one: Candidate) -> Reject:
    return _reject(one, "over_share", f"source {one.source} has more rows than its share has room for")


def _reject(one: Candidate, reason: str, detail: str) -> Reject:
    return Reject(id=one.row.id, stage="mixture", reason=reason, detail=detail)


def _reasons(rejects: Sequence[Reject]) -> str:
    told = {reject.reason: reject.detail for reject in rejects}
    return "; ".join(f"{reason}: {detail}" for reason, detail in told.items()) or "it had none"
