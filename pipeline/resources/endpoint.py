"""The model's server: the only place that holds its key, tries again, keeps to rates and to the budget."""

import asyncio
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any

import httpx
import msgspec
from aiolimiter import AsyncLimiter

from pipeline.collecting.agent import Api
from pipeline.collecting.spending import Budget
from pipeline.collecting.wire import PATHS, BrokenAnswer, Json, checked, put_together, usage_of
from pipeline.errors import EndpointRefused
from pipeline.records import Usage
from pipeline.settings import Endpoint, Limits

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
NONE: Mapping[str, str] = MappingProxyType({})
FOR_GOOD = {"invalid_request_error", "invalid_prompt", "context_length_exceeded", "content_filter", "model_not_found"}
LONGEST_WAIT = 60.0
"""Seconds between attempts where the server does not say."""
PATH = {api: path for path, api in PATHS.items()}
ANTHROPIC = "https://api.anthropic.com/"
VERSION = {"anthropic-version": "2023-06-01"}


@dataclass(frozen=True)
class Sent:
    """What came back in the end."""

    status: int
    raw: bytes
    """As it came over the wire: JSON, or server-sent events."""
    answer: Json
    """Put together; `{"error": …}` where there is none."""
    headers: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    batch: str | None = None
    """That it came in."""


class Server:
    """One endpoint for all runs. Lives in one event loop."""

    def __init__(self, endpoint: Endpoint, limits: Limits, budget: Budget):
        self.endpoint, self.budget = endpoint, budget
        key = os.environ.get(endpoint.key)
        self.http = httpx.AsyncClient(
            base_url=endpoint.base_url,
            headers={"content-type": "application/json", **credentials(endpoint, key)},
            timeout=httpx.Timeout(endpoint.timeout, connect=30),
            limits=httpx.Limits(max_connections=None),
        )
        self.requests = AsyncLimiter(1, 60 / limits.requests_per_minute) if limits.requests_per_minute else None
        self.tokens = AsyncLimiter(limits.tokens_per_minute, 60) if limits.tokens_per_minute else None
        self.refused: str | None = None
        """Why nobody is answered."""

    async def close(self) -> None:
        await self.http.aclose()

    async def send(
        self, api: Api, request: Json, most: Usage, headers: Mapping[str, str] = NONE, name: str = ""
    ) -> Sent:
        """Ask until there is an answer, or an error that stays. Raises EndpointRefused, BudgetPassed.

        `most`: the tokens that it can take. `headers`: what the request needs beside its body. `name`: of no use here.
        """
        for attempt in range(1, self.endpoint.attempts):
            sent = replace(await self._attempt(api, request, most, headers), attempts=attempt)
            if sent.status not in AGAIN:
                return sent
            await asyncio.sleep(pause(attempt, sent.headers))
        return replace(await self._attempt(api, request, most, headers), attempts=self.endpoint.attempts)

    async def _attempt(self, api: Api, request: Json, most: Usage, headers: Mapping[str, str]) -> Sent:
        """Ask once. What never came, or came in part, is an error of the server's: 502, or 400 if it stays."""
        if self.refused:
            raise EndpointRefused(self.refused)
        body = msgspec.json.encode(request)
        await self._keep_to_rates(len(body) // 4)
        async with self.budget.set_aside(str(request.get("model")), most) as use:
            try:
                got = await self.http.post(PATH[api], content=body, headers=dict(headers))
                if got.status_code >= 400:
                    use(Usage())
                    return self._refusal(got)
                answer = _read(api, got)
                use(usage_of(api, answer) if answer.get("usage") else None)
                return Sent(200, got.content, answer)
            except httpx.ConnectError as error:
                use(Usage())
                return failed(502, f"{self.endpoint.base_url}: {error}")
            except httpx.TransportError as error:
                return failed(502, f"{self.endpoint.base_url}: {error or type(error).__name__}")
            except BrokenAnswer as error:
                return failed(400 if error.code in FOR_GOOD else 502, f"{error.code or 'broken'}: {error}")

    async def _keep_to_rates(self, tokens: int) -> None:
        if self.requests:
            await self.requests.acquire()
        if self.tokens:
            await self.tokens.acquire(min(tokens, self.tokens.max_rate))

    def refusal(self, status: int, told: str) -> str:
        """Why nobody is answered, and the cure."""
        held = "is not accepted" if os.environ.get(self.endpoint.key) else "is not set"
        return f"{self.endpoint.base_url}: {status}: {self.endpoint.key} {held}; set it: {told}"

    def _refusal(self, got: httpx.Response) -> Sent:
        told = got.text[:2000]
        if got.status_code in (401, 403):
            self.refused = self.refusal(got.status_code, told)
        try:
            answer = msgspec.json.decode(got.content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            answer = None
        answer = answer if isinstance(answer, dict) and "error" in answer else {"error": {"message": told}}
        return Sent(got.status_code, msgspec.json.encode(answer), answer, got.headers)


def credentials(endpoint: Endpoint, key: str | None) -> dict[str, str]:
    """Anthropic takes a key under a name of its own, and no other; its relatives take either."""
    version = VERSION if endpoint.api == "messages" else {}
    named = {"x-api-key": key} if key and endpoint.api == "messages" else {}
    bearer = {"authorization": f"Bearer {key}"} if key and not endpoint.base_url.startswith(ANTHROPIC) else {}
    return {**version, **named, **bearer}


def _read(api: Api, got: httpx.Response) -> Json:
    """The answer of a response. Raises BrokenAnswer."""
    if "event-stream" in got.headers.get("content-type", ""):
        return put_together(api, got.content)
    try:
        return checked(api, msgspec.json.decode(got.content, type=dict[str, Any]))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BrokenAnswer(f"the answer is no JSON object: {error}") from error


def failed(status: int, why: str) -> Sent:
    answer = {"error": {"message": why, "type": "server_error" if status >= 500 else "invalid_request_error"}}
    return Sent(status, msgspec.json.encode(answer), answer)


def pause(attempt: int, headers: Mapping[str, str]) -> float:
    """Seconds until the next attempt: as the server says, else longer each time; never all at once."""
    told = headers.get("retry-after")
    if told is None:
        return min(2.0 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.5, 1.0)
    try:
        wait = float(told)
    except ValueError:
        try:
            wait = (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds()
        except ValueError:
            wait = LONGEST_WAIT
    return max(wait, 0.0) + random.uniform(0.0, 0.5)
