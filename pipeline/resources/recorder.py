"""The recorder: what stands between agents and the model's server, and writes down what goes over it.

It serves OpenAI's APIs and Anthropic's on a port of the loopback, and on a Unix socket that a container can be given
instead of a network: `/<token>/v1/responses`, `…/chat/completions` and `…/messages`. The token is a run's; nobody else
knows it. An answer is handed on once it is whole, so whatever fails on the way is tried again here and nowhere else,
and what an agent has read is what was paid for. An agent that waits is told so every few seconds.

A whole answer is in the journal before its agent has it. A run that was killed and begins again is answered from there
as long as it asks the same.
"""

import asyncio
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pipeline.collecting.agent import Journal
from pipeline.collecting.spending import Budget, Spent, in_batches, price_of
from pipeline.collecting.wire import PATHS, sse
from pipeline.errors import EndpointRefused, TraceError
from pipeline.records import Prompt
from pipeline.resources.endpoint import Server
from pipeline.resources.lines import RecordedLine, Told
from pipeline.settings import Collection

PATIENCE = 10.0
"""Seconds that an agent waits without a word."""
WAITING = b": waiting\n\n"
SOCKET = "recorder.sock"
PASSED = ("anthropic-version", "anthropic-beta")
"""Headers that say how a body is meant."""
JSON, EVENTS = "application/json", "text/event-stream"


class Recorder:
    """Serves runs from a thread of its own. `folder` will hold the socket."""

    def __init__(self, collection: Collection, journal: Journal, generation: int, folder: Path):
        self.collection, self.journal, self.generation = collection, journal, generation
        self.price, self.lines = price_of(collection.endpoint), dict[str, RecordedLine]()
        # Told to be TCP by number: else asyncio leaves Nagle's algorithm on, and every answer waits 40 ms.
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.tcp.bind(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(folder / SOCKET))
        (folder / SOCKET).chmod(0o666)  # the folder is shut for others; in a container another user asks
        for one in (self.tcp, self.unix):
            one.listen()  # who asks before the server has begun waits for it, and is not refused
        self.url = f"http://127.0.0.1:{self.tcp.getsockname()[1]}"
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.ready: Future[asyncio.AbstractEventLoop] = Future()

    def __enter__(self) -> "Recorder":
        self.thread.start()
        self.loop = self.ready.result()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.should_exit = self.http.force_exit = True
        self.thread.join()

    @contextmanager
    def line(self, prompt: Prompt) -> Iterator[RecordedLine]:
        """A run's line. Raises EndpointRefused once nobody is answered, TraceError once the budget is used up."""
        self._raise_if_refused()
        if self.budget.passed:
            raise TraceError("budget", f"prompt: {self.budget.told()}")
        token, place = secrets.token_hex(12), f"paid/{self.generation}/{prompt.id}"
        line = RecordedLine(self.server, self.journal, place, f"{self.url}/{token}/v1", self.price)
        self.lines[token] = line
        try:
            yield line
        finally:
            del self.lines[token]
            self.loop.call_soon_threadsafe(line.close)
        self._raise_if_refused()

    def _raise_if_refused(self) -> None:
        if self.server.refused:
            raise EndpointRefused(self.server.refused)

    async def _serve(self) -> None:
        spent = Spent.of(self.journal, self.generation, self.price)
        self.budget = Budget(
            self.collection.limits, in_batches(self.price) if self.collection.batch else self.price, spent=spent
        )
        self.server = self._server()
        app = Starlette(routes=[Route(f"/{{token}}/v1/{path}", self._answer, methods=["POST"]) for path in PATHS])
        quiet = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", timeout_keep_alive=600)
        self.http = uvicorn.Server(quiet)
        self.ready.set_result(asyncio.get_running_loop())
        await self.http.serve(sockets=[self.tcp, self.unix])
        await self.server.close()

    def _server(self) -> Server:
        asked = self.collection
        if not asked.batch:
            return Server(asked.endpoint, asked.limits, self.budget)
        from pipeline.resources.batches import BatchServer  # with openai, which the graph need not wait for

        return BatchServer(asked.endpoint, asked.limits, self.budget, self.journal, f"batches/{self.generation}")

    async def _answer(self, request: Request) -> Response:
        line = self.lines.get(request.path_params["token"])
        if line is None:
            return JSONResponse({"error": {"message": "no run has this line", "type": "refused"}}, 404)
        path, body = request.url.path.partition("/v1/")[2], await request.body()
        try:
            asked = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            return JSONResponse({"error": {"message": str(error), "type": "invalid_request_error"}}, 400)
        told = {name: value for name, value in request.headers.items() if name in PASSED}
        task = line.begin(PATHS[path], body, asked, told)
        done, _ = await asyncio.wait({task}, timeout=PATIENCE if asked.get("stream") else None)
        if not done:
            return StreamingResponse(_patiently(task, path), media_type=EVENTS)
        answer = task.result()
        return Response(answer.raw, answer.status, media_type=EVENTS if answer.streamed else JSON)


async def _patiently(task: asyncio.Task[Told], path: str) -> AsyncIterator[bytes]:
    """A stream that says that it waits; what fails after that is told in it."""
    while not task.done():
        yield WAITING
        await asyncio.wait({task}, timeout=PATIENCE)
    told = task.result()
    if told.status < 400:
        yield told.raw
        return
    error = msgspec.json.decode(told.raw)
    failed = {
        "responses": {"type": "response.failed", "response": {"status": "failed", "output": [], **error}},
        "messages": {"type": "error", **error},
        "chat": error,
    }
    yield sse([failed[PATHS[path]]], done=False)
