"""What runs cost, and a budget that is never passed.

Prices are those of genai-prices, a table that comes with its package: nothing is looked up. What has no price there
costs None, not zero.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from pipeline.collecting.agent import Journal
from pipeline.errors import EndpointRefused
from pipeline.records import Exchange, Usage
from pipeline.settings import Endpoint, Limits

BATCHED = 0.5
"""What a request costs in a batch, of its price."""


class BudgetPassed(Exception):
    """A request that might pass the budget: it is not sent."""


Price = Callable[[str, Usage], float | None]
"""(model, usage) -> US dollars, or None where nobody has told the price."""


def price_of(endpoint: Endpoint) -> Price:
    """What this server takes."""
    import genai_prices  # which the graph need not wait for

    def price(model: str, usage: Usage) -> float | None:
        told = genai_prices.Usage(
            input_tokens=usage.input,
            cache_read_tokens=usage.cached,
            cache_write_tokens=usage.cache_written,
            output_tokens=usage.output,
        )
        try:
            if endpoint.provider:
                return float(genai_prices.calc_price(told, model, provider_id=endpoint.provider).total_price)
            return float(genai_prices.calc_price(told, model, provider_api_url=endpoint.base_url).total_price)
        except LookupError:
            return None

    return price


@dataclass
class Spent:
    """Tokens told and written, and dollars where they are known."""

    tokens: int = 0
    usd: float = 0.0

    def add(self, tokens: int, usd: float | None) -> None:
        self.tokens += tokens
        self.usd += usd or 0.0

    @classmethod
    def of(cls, journal: Journal, generation: int, price: Price) -> "Spent":
        """What runs that are over have paid for a generation of a partition that is not whole."""
        spent = cls()
        for name in journal.names(f"paid/{generation}"):
            exchange = msgspec.msgpack.decode(journal.read(name) or b"", type=Paid).exchange
            spent.add(exchange.usage.input + exchange.usage.output, cost_of(exchange, price))
        return spent


class Paid(msgspec.Struct, frozen=True):
    """An answer in the journal: whole, with the bytes that the agent got. The request is known by its hash."""

    asked: str
    exchange: Exchange
    raw: bytes


def model_of(exchange: Exchange) -> str:
    """The model that has answered, as it says itself."""
    return str(msgspec.json.decode(exchange.answer).get("model") or "")


def cost_of(exchange: Exchange, price: Price) -> float | None:
    """What an answer has cost."""
    return (in_batches(price) if exchange.batch else price)(model_of(exchange), exchange.usage)


def in_batches(price: Price) -> Price:
    """What a server takes that lets one wait."""

    def less(model: str, usage: Usage) -> float | None:
        full = price(model, usage)
        return None if full is None else full * BATCHED

    return less


@dataclass
class Budget:
    """What may be spent. Lives in one event loop.

    Before a request is sent, the most that it can cost is set aside: as many tokens as it has bytes that the model has
    not seen in this run, and the longest answer that it asks for. Where that does not fit, it waits for those under
    way to cost less than they might; where it fits no more at all, it is refused.
    """

    limits: Limits
    price: Price
    """Of the requests to come."""
    spent: Spent = field(default_factory=Spent)
    aside: Spent = field(default_factory=Spent)
    passed: bool = False
    """A request was refused: others would be."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def limited(self) -> bool:
        return self.limits.max_tokens is not None or self.limits.max_usd is not None

    @asynccontextmanager
    async def set_aside(self, model: str, most: Usage) -> AsyncIterator[Callable[[Usage | None], None]]:
        """Room for one request; tell it what was used. Untold or None, all of it counts as spent."""
        usd = self.price(model, most)
        if self.limits.max_usd is not None and usd is None:
            why = f"nobody tells a price of {model!r}, so max_usd cannot hold"
            raise EndpointRefused(f"{why}: set collect.endpoint.provider, or collect.limits.max_tokens instead")
        tokens = most.input + most.output
        async with self.changed:
            await self.changed.wait_for(lambda: self._fits(tokens, usd) or not self.aside.tokens)
            if not self._fits(tokens, usd):
                self.passed = True
                raise BudgetPassed(self.told())
            self.aside.add(tokens, usd)
        used: list[Usage | None] = []
        try:
            yield used.append
        finally:
            async with self.changed:
                self.aside.add(-tokens, -usd if usd else None)
                for one in used or [None]:
                    told = one if one is not None else most
                    self.spent.add(told.input + told.output, self.price(model, told))
                self.changed.notify_all()

    def _fits(self, tokens: int, usd: float | None) -> bool:
        most_tokens, most_usd = self.limits.max_tokens, self.limits.max_usd
        enough = most_tokens is None or self.spent.tokens + self.aside.tokens + tokens <= most_tokens
        return enough and (most_usd is None or self.spent.usd + self.aside.usd + (usd or 0.0) <= most_usd)

    def told(self) -> str:
        """Where the budget stands."""
        spent = f"{self.spent.tokens:,} tokens and ${self.spent.usd:.4f} are spent"
        cure = "raise collect.limits, or what collect.regenerate gives a night: a rerun goes on from here"
        return f"the next request might pass the budget, {spent}; {cure}"
