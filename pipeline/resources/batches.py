"""OpenAI's Batch API: requests of many runs in one file, answered within a day at half the price.

A batch is in the journal before it is created, with a key that goes along as its metadata, and again once it has an id.
A run that was killed and begins again finds it there, or by its key, and waits for it: no request is submitted twice
that was answered, or may be yet.
"""

import asyncio
import os
import secrets
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

import msgspec
import openai

from pipeline.collecting.agent import Api, Journal
from pipeline.collecting.spending import Budget
from pipeline.collecting.wire import BrokenAnswer, Json, checked, usage_of
from pipeline.errors import EndpointRefused
from pipeline.records import Usage
from pipeline.resources.endpoint import AGAIN, NONE, Sent, Server, failed, pause
from pipeline.settings import Endpoint, Limits

QUIET = 1.0
"""Seconds in which nobody asks: then what was asked goes off."""
POLLS = (0.5, 60.0)
"""Seconds between looks at a batch: the first, and the most."""
MOST_REQUESTS, MOST_BYTES = 50_000, 180 << 20
"""That a batch may hold: as OpenAI says, the bytes with some room."""
URLS: Mapping[Api, Literal["/v1/responses", "/v1/chat/completions"]] = {
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
}
DONE = ("completed", "failed", "expired", "cancelled")
KEY = "tracemill"
"""Of the metadata of a batch, that says which of the journal it is."""


class Submitted(msgspec.Struct, frozen=True):
    """A batch in the journal. `id` is None until somebody knows that it exists."""

    key: str
    names: tuple[str, ...]
    id: str | None = None


class Line(msgspec.Struct, frozen=True):
    """Of a file of answers or of errors."""

    custom_id: str
    response: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Waiting:
    """A request that is not submitted yet; told the batch that it goes in."""

    name: str
    model: str
    line: bytes
    batch: "asyncio.Future[str]"


@dataclass(frozen=True)
class Answers:
    """What a batch that is done has answered."""

    sent: Mapping[str, Sent]
    lost: Sent
    """To everybody else."""


class BatchServer(Server):
    """A `Server` that is asked in batches. Lives in one event loop."""

    def __init__(self, endpoint: Endpoint, limits: Limits, budget: Budget, journal: Journal, place: str):
        super().__init__(endpoint, limits, budget)
        self.api: Api = endpoint.api
        self.journal, self.place = journal, place
        key = os.environ.get(endpoint.key) or "none"
        self.client = openai.AsyncOpenAI(base_url=endpoint.base_url, api_key=key, max_retries=endpoint.attempts)
        self.waiting: list[Waiting] = []
        self.submitted: dict[str, list[str]] = {}
        """Name of a request -> the batches that it is in and may be answered by, those of killed runs too."""
        self.batches: dict[str, asyncio.Task[Answers]] = {}
        self.adopted: asyncio.Task[None] | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        await self.client.close()
        await super().close()

    async def send(
        self, api: Api, request: Json, most: Usage, headers: Mapping[str, str] = NONE, name: str = ""
    ) -> Sent:
        """As `Server.send`; `name` is the request's own, in whichever run it is asked."""
        async with self.budget.set_aside(str(request.get("model")), most) as use:
            sent = failed(502, "never asked")
            for attempt in range(1, self.endpoint.attempts + 1):
                sent = replace(await self._ask(request, name), attempts=attempt)
                if sent.status not in AGAIN:
                    break
                await asyncio.sleep(pause(attempt, NONE))
            use(usage_of(api, sent.answer) if sent.status < 400 else Usage())
        return sent

    async def _ask(self, request: Json, name: str) -> Sent:
        """The answer of a batch that it is in, or of the next one. What may yet be answered is not asked again."""
        try:
            await self._know()
            if found := await self._answered(name):
                return found
            if self.refused:
                raise EndpointRefused(self.refused)
            answers = await self._of(await self._going(request, name))
            return answers.sent.get(name, answers.lost)
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            self.refused = self.refusal(error.status_code, error.message)
            raise EndpointRefused(self.refused) from error
        except openai.APIStatusError as error:
            return failed(error.status_code, f"batch: {error.message}")
        except openai.OpenAIError as error:
            return failed(502, f"{self.endpoint.base_url}: batch: {error}")

    async def _answered(self, name: str) -> Sent | None:
        """What earlier batches have said to it, if it is an answer."""
        for batch in list(self.submitted.get(name, ())):
            with suppress(openai.NotFoundError):
                sent = (await self._of(batch)).sent.get(name)
                if sent is not None and sent.status < 400:
                    return sent
            self.submitted[name].remove(batch)
        return None

    async def _of(self, batch: str) -> Answers:
        """What a batch has answered, once it is done. If that cannot be had, the next who asks tries again."""
        if batch not in self.batches:
            self.batches[batch] = asyncio.create_task(self._answers(batch))
        try:
            return await asyncio.shield(self.batches[batch])
        except openai.OpenAIError:
            self.batches.pop(batch, None)
            raise

    async def _going(self, request: Json, name: str) -> str:
        """The batch that it goes in: of one model, and submitted once nobody comes any more."""
        told = {"custom_id": name, "method": "POST", "url": URLS[self.api], "body": request}
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(Waiting(name, str(request.get("model")), msgspec.json.encode(told) + b"\n", future))
        if len(self.waiting) == 1:
            self._task(self._leave())
        return await future

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _leave(self) -> None:
        seen = 0
        while seen != len(self.waiting):
            seen = len(self.waiting)
            await asyncio.sleep(QUIET)
        going, self.waiting = sorted(self.waiting, key=lambda one: one.model), []
        for _, same in groupby(going, lambda one: one.model):
            for group in _cut(same):
                self._task(self._submit(group))

    async def _submit(self, group: Sequence[Waiting]) -> None:
        noted = Submitted(secrets.token_hex(12), tuple(one.name for one in group))
        try:
            file = ("requests.jsonl", b"".join(one.line for one in group))
            uploaded = await self.client.files.create(file=file, purpose="batch")
            await self._note(noted)
            made = await self._create(noted.key, uploaded.id)
            await self._note(msgspec.structs.replace(noted, id=made))
        except (openai.OpenAIError, OSError) as error:
            for one in group:
                if not one.batch.done():
                    one.batch.set_exception(error)
            return
        for one in group:
            self.submitted.setdefault(one.name, []).append(made)
            if not one.batch.done():
                one.batch.set_result(made)

    async def _create(self, key: str, file: str) -> str:
        """Asked once: where no answer comes, the batch may be there all the same."""
        once = self.client.with_options(max_retries=0)
        try:
            url = URLS[self.api]
            made = await once.batches.create(
                input_file_id=file, endpoint=url, completion_window="24h", metadata={KEY: key}
            )
        except (openai.APIConnectionError, openai.InternalServerError):
            for attempt in range(1, self.endpoint.attempts + 1):
                if found := await self._found(key):
                    return found
                await asyncio.sleep(pause(attempt, NONE))
            raise
        return made.id

    async def _found(self, key: str) -> str | None:
        async for batch in self.client.batches.list(limit=100):
            if (batch.metadata or {}).get(KEY) == key:
                return batch.id
        return None

    async def _note(self, batch: Submitted) -> None:
        value = msgspec.msgpack.encode(batch)
        await asyncio.to_thread(self.journal.write, f"{self.place}/{batch.key}", value)

    async def _know(self) -> None:
        """Adopt once; if that fails, whoever asks next tries again."""
        if self.adopted is None or (self.adopted.done() and self.adopted.exception()):
            self.adopted = asyncio.create_task(self._adopt())
        await asyncio.shield(self.adopted)

    async def _adopt(self) -> None:
        """Find the batches of killed runs. One that was never created is none."""
        for name in list(self.journal.names(self.place)):
            batch = msgspec.msgpack.decode(self.journal.read(name) or b"", type=Submitted)
            if batch.id is None and (found := await self._found(batch.key)):
                batch = msgspec.structs.replace(batch, id=found)
                await self._note(batch)
            for custom in batch.names if batch.id else ():
                self.submitted.setdefault(custom, []).append(str(batch.id))

    async def _answers(self, batch_id: str) -> Answers:
        wait, most = POLLS
        while (batch := await self.client.batches.retrieve(batch_id)).status not in DONE:
            await asyncio.sleep(wait)
            wait = min(2 * wait, most)
        sent: dict[str, Sent] = {}
        for file in filter(None, (batch.error_file_id, batch.output_file_id)):
            data = (await self.client.files.content(file)).content
            for line in filter(bytes.strip, data.split(b"\n")):
                told = msgspec.json.decode(line, type=Line)
                sent[told.custom_id] = replace(_sent(self.api, told), batch=batch_id)
        why = "; ".join(str(error.message) for error in (batch.errors and batch.errors.data) or ())
        status = 400 if batch.status == "failed" else 502
        return Answers(sent, failed(status, f"batch {batch_id} is {batch.status}, without an answer to it; {why}"))


def _cut(group: Iterable[Waiting]) -> list[list[Waiting]]:
    """No batch too large."""
    cut: list[list[Waiting]] = []
    room = 0
    for one in group:
        if not cut or len(cut[-1]) == MOST_REQUESTS or len(one.line) > room:
            cut.append([])
            room = MOST_BYTES
        cut[-1].append(one)
        room -= len(one.line)
    return cut


def _sent(api: Api, line: Line) -> Sent:
    """What became of one request. What the batch had no time for may be asked again."""
    if line.response is None:
        told = line.error or {}
        return failed(504 if told.get("code") == "batch_expired" else 502, f"{told.get('code')}: {told.get('message')}")
    status, body = int(line.response["status_code"]), line.response.get("body") or {}
    raw = msgspec.json.encode(body)
    if status >= 400:
        return Sent(status, raw, body if "error" in body else {"error": {"message": str(body)}})
    try:
        return Sent(200, raw, checked(api, body))
    except BrokenAnswer as error:
        return failed(502, f"{error.code or 'broken'}: {error}")
