"""A small server that answers with scripted completions, in every dialect; it fails, dawdles and lies as it is told."""

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "tiny"


class Engine(ThreadingHTTPServer):
    """Answers with scripted completions, in the dialect in which it is asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[list[int]] = []
        self.asked: list[dict[str, Any]] = []
        self.failures: list[tuple[int, dict[str, str]]] = []
        self.change: Callable[[Any], Any] = lambda answer: answer
        self.context: int | None = None
        self.models: Any = None
        self.dawdle = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        known = {} if self.server.context is None else {"max_model_len": self.server.context}
        models = {"data": [{"id": MODEL, **known}]} if self.server.models is None else self.server.models
        self.say(200 if self.path == "/v1/models" else 404, models)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, **body})
        time.sleep(self.server.dawdle)
        if self.server.failures:
            status, headers = self.server.failures.pop(0)
            self.say(status, {"error": {"message": "busy"}}, headers)
            return
        tell = {"/inference/v1/generate": vllm, "/generate": sglang, "/v1/completions": completions}[self.path]
        self.say(200, self.server.change(tell(self.server.script.pop(0))))

    def say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        told = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *said: Any) -> None:
        pass


def logprob(token: int) -> float:
    return -(token % 97) / 100


def vllm(ids: list[int]) -> dict:
    content = [{"token": f"token_id:{token}", "logprob": logprob(token), "top_logprobs": []} for token in ids]
    choice = {"index": 0, "token_ids": ids, "logprobs": {"content": content}, "finish_reason": "stop"}
    return {"request_id": "1", "choices": [choice]}


def sglang(ids: list[int]) -> dict:
    told = [[logprob(token), token, None] for token in ids]
    finish = {"type": "stop", "matched": ids[-1]}
    return {"text": "", "output_ids": ids, "meta_info": {"output_token_logprobs": told, "finish_reason": finish}}


def completions(ids: list[int]) -> dict:
    told = {"tokens": [f"token_id:{t}" for t in ids], "token_logprobs": list(map(logprob, ids))}
    choice = {"index": 0, "text": "…", "token_ids": ids, "logprobs": told, "finish_reason": "stop"}
    return {"object": "text_completion", "choices": [choice]}
