"""One request to a small Hub: read, looked up among the routes, and answered, or cut off where a fault is asked for."""

import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from assets_tests.pipeline.publishing.repositories import Refused, Repo


class Connection(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: ClassVar[Any]
    """The `HubServer` that it came to."""
    routes: ClassVar[list[tuple[str, re.Pattern[str], Callable[..., None]]]]
    """Method, path, and what answers: it gets the body and the groups of the path."""

    def do(self) -> None:
        self.address = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(self.address.query).items()}
        fault = self.hub.fault(f"{self.command} {self.address.path}")
        if fault and fault.kind == "cut":
            self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
            self.hang_up()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault and fault.kind == "slow":
            time.sleep(0.3)
        if fault and isinstance(fault.kind, int):
            self.json({"error": "a fault that was asked for"}, status=fault.kind, headers=fault.headers)
            return
        self.dead = bool(fault and fault.kind == "lost")
        try:
            self.route(body)
        except Refused as error:
            self.json({"error": error.told}, status=error.status, headers={"X-Error-Code": error.code})

    do_GET = do_POST = do_PUT = do_HEAD = do  # noqa: N815

    def route(self, body: bytes) -> None:
        for method, pattern, work in self.routes:
            if self.command == method and (found := pattern.fullmatch(self.address.path)):
                with self.hub.lock:
                    work(self, body, *(unquote(group or "") for group in found.groups()))
                return
        raise Refused(404, f"{self.command} {self.path}")

    def repo(self, name: str) -> Repo:
        found = self.hub.repos.get(name)
        if found is None or (found.private and not self.known()):
            raise Refused(404 if self.known() else 401, "Repository not found", "RepoNotFound")
        return found

    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def writer(self, name: str) -> Repo:
        if not self.known():
            raise Refused(401, "Invalid credentials in Authorization header")
        return self.repo(name)

    def json(self, told: Any, *, status: int = 200, headers: Mapping[str, str] = {}) -> None:
        self.answer(json.dumps(told).encode(), status=status, headers={"Content-Type": "application/json", **headers})

    def answer(self, body: bytes, *, status: int = 200, headers: Mapping[str, str] = {}) -> None:
        self.hub.log.append((self.command, self.address.path, status))
        if getattr(self, "dead", False):
            self.hang_up()
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass
