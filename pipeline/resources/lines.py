"""A run's line to the model: what it asks is counted, bounded, translated if it must be, and recorded."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from hashlib import blake2b
from operator import add

import msgspec

from pipeline.collecting.agent import Api, Journal
from pipeline.collecting.spending import BudgetPassed, Paid, Price, cost_of
from pipeline.collecting.translation import from_chat, response_events, to_chat
from pipeline.collecting.wire import Json, sse, usage_of
from pipeline.errors import EndpointRefused
from pipeline.records import Exchange, Usage
from pipeline.resources.endpoint import Sent, Server

CAPS = {
    "responses": ("max_output_tokens",),
    "chat": ("max_tokens", "max_completion_tokens"),
    "messages": ("max_tokens",),
}
"""What a request calls the longest answer that it wants."""
DRAWN = {"prompt_cache_key", "client_metadata"}
"""Fields in which Codex and Pi name their session; items of such requests have ids of theirs."""
OPENAI = "https://api.openai.com/"


@dataclass(frozen=True)
class Told:
    """What an agent is answered."""

    status: int
    raw: bytes
    streamed: bool


class RecordedLine:
    """A `collecting.agent.Line`. All but its reading side lives in the recorder's event loop."""

    def __init__(
        self,
        server: Server,
        journal: Journal,
        place: str,
        url: str,
        price: Price,
    ):
        self.server, self.journal, self.place, self.url, self.price = server, journal, place, url, price
        self.recorded: list[Exchange] = []
        self.spent: list[Exchange] = []
        """Every answer that was paid for, by killed runs too."""
        self.prior: dict[str, list[Paid]] = {}
        for name in journal.names(place):
            paid = msgspec.msgpack.decode(journal.read(name) or b"", type=Paid)
            self.prior.setdefault(paid.asked, []).append(paid)
            self.spent.append(paid.exchange)
        self.answered = len(self.spent)
        self.seen = (0, 0)
        """Bytes of the last request that was answered, and the tokens that it was."""
        self.tasks: set[asyncio.Task[Told]] = set()

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        return tuple(sorted(self.recorded, key=lambda exchange: exchange.started))

    @property
    def usage(self) -> Usage:
        return reduce(add, (exchange.usage for exchange in self.spent), Usage())

    @property
    def cost_usd(self) -> float | None:
        costs = [cost_of(exchange, self.price) for exchange in self.spent]
        return None if None in costs or not costs else sum(cost or 0.0 for cost in costs)

    def close(self) -> None:
        """The run is over: what is still asked for is not waited for."""
        for task in self.tasks:
            task.cancel()

    def begin(self, api: Api, raw: bytes, request: Json, headers: Mapping[str, str]) -> "asyncio.Task[Told]":
        """Ask in a task of its own, that ends with the line."""
        task = asyncio.create_task(self.ask(api, raw, request, headers))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def said(self, api: Api, request: Json) -> Json:
        task = self.begin(api, msgspec.json.encode(request), request, {})
        return msgspec.json.decode((await task).raw)

    async def ask(self, api: Api, raw: bytes, request: Json, headers: Mapping[str, str]) -> Told:
        """Answer one request of the run."""
        asked, streamed = _known_by(api, raw, request), bool(request.get("stream"))
        if self.prior.get(asked):
            paid = self.prior[asked].pop(0)
            self.recorded.append(msgspec.structs.replace(paid.exchange, request=raw, started=_now()))
            return Told(200, paid.raw, streamed)
        started, clock = _now(), time.monotonic()
        name = f"{self.place.rpartition('/')[2]}-{asked}"
        sent, answer, told = await self._sent(api, raw, request, headers, name)
        exchange = Exchange(
            api=api,
            request=raw,
            answer=msgspec.json.encode(answer),
            status=sent.status,
            attempts=sent.attempts,
            started=started,
            seconds=round(time.monotonic() - clock, 3),
            usage=usage_of(api, answer),
            batch=sent.batch,
        )
        if sent.status < 400:
            self.answered += 1
            self.seen = (len(raw), exchange.usage.input)
            paid = Paid(asked, msgspec.structs.replace(exchange, request=b""), told)
            self.spent.append(paid.exchange)
            name, value = f"{self.place}/{self.answered:05}", msgspec.msgpack.encode(paid)
            await asyncio.to_thread(self.journal.write, name, value)
        self.recorded.append(exchange)
        return Told(sent.status, told, streamed and sent.status < 400)

    async def _sent(
        self, api: Api, raw: bytes, request: Json, headers: Mapping[str, str], name: str
    ) -> tuple[Sent, Json, bytes]:
        """What came back, and in the words of the agent's API: the answer, and its bytes."""
        translated = api == "responses" and self.server.endpoint.api == "chat"
        spoken: Api = "chat" if translated else api
        wanted = to_chat(request) if translated else dict(request)
        if spoken == "chat" and wanted.get("stream"):
            wanted["stream_options"] = {**(wanted.get("stream_options") or {}), "include_usage": True}
        try:
            sent = await self.server.send(spoken, wanted, self._bounded(spoken, wanted, len(raw)), headers, name)
        except BudgetPassed as error:
            sent = _refused(402, str(error), "budget")
        except EndpointRefused as error:
            self.server.refused = str(error)
            sent = _refused(401, str(error), "refused")
        if not translated or sent.status >= 400:
            return sent, sent.answer, sent.raw
        answer = from_chat(sent.answer, request)
        streamed = sse(response_events(answer), done=False) if request.get("stream") else msgspec.json.encode(answer)
        return sent, answer, streamed

    def _bounded(self, api: Api, wanted: Json, size: int) -> Usage:
        """The most tokens that the request can take: a token is a byte at least. Where a budget is kept, it must say
        how long its answer may be."""
        limits, held = self.server.budget.limits, [wanted[cap] for cap in CAPS[api] if wanted.get(cap)]
        if self.server.budget.limited and not held:
            openai = api == "chat" and self.server.endpoint.base_url.startswith(OPENAI)
            wanted[CAPS[api][1 if openai else 0]] = limits.max_answer
        known_size, known = self.seen
        return Usage(input=known + max(size - known_size, 0), output=held[0] if held else limits.max_answer)


def _known_by(api: Api, raw: bytes, request: Json) -> str:
    """A hash of what is asked, without what an agent draws anew whenever it starts: what a killed run has paid for is
    known by it."""
    if not DRAWN.isdisjoint(request):
        items = request.get("input")
        items = [_undrawn(item) for item in items] if isinstance(items, list) else items
        kept = {key: value for key, value in request.items() if key not in DRAWN}
        raw = msgspec.json.encode({**kept, "input": items})
    return blake2b(api.encode() + raw, digest_size=12).hexdigest()


def _undrawn(item: Json) -> Json:
    return item if item.get("type") == "item_reference" else {key: item[key] for key in item if key != "id"}


def _refused(status: int, why: str, kind: str) -> Sent:
    answer = {"error": {"message": why, "type": kind, "code": kind}}
    return Sent(status, msgspec.json.encode(answer), answer, attempts=0)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
