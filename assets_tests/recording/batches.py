"""A scripted model that can be asked in batches too: OpenAI's `/v1/files` and `/v1/batches`, over HTTP like the rest.

A batch is answered when it has been looked at `looks` times: each of its requests as if it had been asked by itself.
"""

import json
import re
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from assets_tests.recording.model import APIS, CREATED, Reply, ScriptedModel, whole


class BatchModel(ScriptedModel):
    """The server. `fate` may say how a batch ends, by its number from 0: `completed`, `failed`, `expired`."""

    def __init__(
        self,
        replies: Sequence[Reply] | Callable[[dict[str, Any]], Reply],
        *,
        looks: int = 2,
        fate: Callable[[int], str] = lambda number: "completed",
        forgetful: int = 0,
    ):
        super().__init__(replies)
        self.looks, self.fate = looks, fate
        self.forgetful = forgetful
        """So many batches are created without an answer that tells so."""
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.seen: dict[str, int] = {}
        self.unauthorized = False
        self.changing = threading.Lock()
        self._server.RequestHandlerClass = _handler(self, self._server.RequestHandlerClass)

    def submitted(self) -> list[dict[str, Any]]:
        """The lines of every batch."""
        inputs = [self.files[batch["input_file_id"]] for batch in self.batches.values()]
        return [json.loads(line) for data in inputs for line in data.splitlines()]

    def keep(self, data: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = data
        return name

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        with self.changing:
            name = f"batch_{len(self.batches)}"
            self.batches[name] = {"id": name, "object": "batch", "created_at": CREATED, "status": "validating", **asked}
            return self.batches[name]

    def look(self, name: str) -> dict[str, Any]:
        with self.changing:
            batch = self.batches[name]
            self.seen[name] = self.seen.get(name, 0) + 1
            if batch["status"] == "validating" and self.seen[name] >= self.looks:
                self.end(batch, self.fate(int(name.partition("_")[2])))
            return batch

    def end(self, batch: dict[str, Any], status: str) -> None:
        """Answer all of it, or, where its time is over, half of it."""
        batch["status"] = status
        if status == "failed":
            batch["errors"] = {"object": "list", "data": [{"code": "bad", "message": "no such model"}]}
            return
        answers, errors = [], []
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        for number, line in enumerate(lines):
            told = {"id": f"r{number}", "custom_id": line["custom_id"], "response": None, "error": None}
            if status == "expired" and number % 2:
                errors.append({**told, "error": {"code": "batch_expired", "message": "no time"}})
                continue
            answered = self.answer(line["body"], {})
            assert answered is not None
            asked, reply = answered
            body = {"error": {"message": "scripted", "type": "scripted"}}
            if reply.status < HTTPStatus.BAD_REQUEST:
                body = dict(whole(list(APIS[line["url"]](reply, asked, line["body"]["model"]))))
            told["response"] = {"status_code": reply.status, "request_id": "x", "body": body}
            (answers if reply.status < HTTPStatus.BAD_REQUEST else errors).append(told)
        for field, found in (("output_file_id", answers), ("error_file_id", errors)):
            batch[field] = self.keep("".join(json.dumps(one) + "\n" for one in found).encode()) if found else None


def _handler(model: BatchModel, base: Any) -> type[BaseHTTPRequestHandler]:
    class Handler(base):
        def do_POST(self) -> None:  # noqa: N802, the name is the base class's
            if self.path not in ("/v1/files", "/v1/batches"):
                super().do_POST()
                return
            body = self.rfile.read(int(self.headers["content-length"]))
            if model.unauthorized:
                self.say({"error": {"message": "wrong key"}}, HTTPStatus.UNAUTHORIZED)
            elif self.path == "/v1/files":
                self.upload(body)
            else:
                made = model.create(json.loads(body))
                if model.forgetful:
                    model.forgetful -= 1
                    self.close_connection = True
                else:
                    self.say(made)

        def do_GET(self) -> None:  # noqa: N802, the name is the base class's
            path = self.path.partition("?")[0].split("/")[2:]
            if path[0] == "files":
                self.send_response(HTTPStatus.OK)
                self.end_headers()
                self.wfile.write(model.files[path[1]])
            elif len(path) == 1:
                newest = list(reversed(model.batches.values()))
                self.say({"object": "list", "data": newest, "has_more": False})
            elif path[1] in model.batches:
                self.say(model.look(path[1]))
            else:
                self.say({"error": {"message": "no such batch"}}, HTTPStatus.NOT_FOUND)

        def upload(self, body: bytes) -> None:
            """A form of two fields."""
            boundary = re.search(r"boundary=(\S+)", self.headers["content-type"])
            assert boundary is not None
            parts = body.split(f"--{boundary[1]}".encode())
            held = {part.partition(b'name="')[2].partition(b'"')[0]: part.partition(b"\r\n\r\n")[2] for part in parts}
            data = held[b"file"].removesuffix(b"\r\n")
            assert held[b"purpose"].strip() == b"batch"
            with model.changing:
                name = model.keep(data)
            file = {"id": name, "object": "file", "bytes": len(data), "created_at": CREATED}
            self.say({**file, "filename": "requests.jsonl", "purpose": "batch", "status": "processed"})

        def say(self, told: dict[str, Any], status: int = HTTPStatus.OK) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

    return Handler
