"""How many rows of each source, and which: shares kept true by rows or by tokens, to a row."""

import random
from collections.abc import Iterator, Mapping, Sequence

from pipeline.mixing import counts, shares


def choose(
    sizes: Sequence[Sequence[int]],
    asked: Mapping[str, Mapping[str, float]],
    *,
    by: str,
    limit: int | None,
    seed: int,
    caps: Sequence[int | None] = (),
) -> list[list[int]]:
    """The rows that are taken of each source, as places in `sizes`, in order.

    sizes: tokens of each row, a source each. asked: the share of each source, by its scale (`shares`); where none asks
    for one, all rows are taken, as far as `limit` of them all goes. caps: rows of each
    source, at most. The scarcest source says how much there can be.
    """
    wanted, worth = shares(asked), [own if by == "tokens" else [1] * len(own) for own in sizes]
    orders = [_shuffled(len(own), seed + number) for number, own in enumerate(sizes)]
    orders = [order[:cap] for order, cap in zip(orders, caps or [None] * len(orders), strict=True)]
    if wanted is None:
        return _together(orders, worth, limit, seed)
    there = [sum(own[row] for row in order) for order, own in zip(orders, worth, strict=True)]
    room = counts(there, wanted, limit)
    return [
        _filled(order, [own[row] for row in order], most) for order, own, most in zip(orders, worth, room, strict=True)
    ]


def unheard(
    sizes: Sequence[Sequence[int]],
    asked: Mapping[str, Mapping[str, float]],
    taken: Sequence[int],
    *,
    by: str,
) -> Iterator[str]:
    """What is said of each source that has a share and of which no row was taken. taken: rows of each."""
    for name, share, own, rows in zip(asked, shares(asked) or (), sizes, taken, strict=False):
        if own and not rows:
            least = f"its smallest row, {min(own):,} tokens" if by == "tokens" else "one row"
            yield (
                f"source {name}: {share:.2%} of {by} was asked, which is less than {least}: none of its {len(own):,} "
                "rows is taken; ask for more of it, give rows to the other sources, or raise the limit"
            )


def _together(
    orders: Sequence[list[int]], worth: Sequence[Sequence[int]], limit: int | None, seed: int
) -> list[list[int]]:
    """Rows of all sources, as they come, until there is no room."""
    every = [(source, row) for source, rows in enumerate(orders) for row in rows]
    random.Random(seed).shuffle(every)
    sizes = [worth[source][row] for source, row in every]
    taken: list[list[int]] = [[] for _ in worth]
    for place in _filled(range(len(every)), sizes, sum(sizes) if limit is None else limit):
        source, row = every[place]
        taken[source].append(row)
    return [sorted(rows) for rows in taken]


def _filled(rows: Sequence[int], sizes: Sequence[int], room: int) -> list[int]:
    """Rows in this order, each if there is still room for it."""
    taken = []
    for row, size in zip(rows, sizes, strict=True):
        if size <= room:
            taken.append(row)
            room -= size
    return sorted(taken)


def _shuffled(many: int, seed: int) -> list[int]:
    order = list(range(many))
    random.Random(seed).shuffle(order)
    return order
