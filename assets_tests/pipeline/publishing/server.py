"""A small Hub: the protocol that huggingface_hub's own client speaks, over real HTTP, kept in memory, with faults.

What a client of datasets needs: repositories, preupload, LFS (basic and in parts), commits that name their parent, pull
requests, trees, files with ranges and redirects. Xet is declined but with `xet`: its token cannot be had, and a client
that may not use it (HF_HUB_DISABLE_XET) sends LFS.

    with HubServer(token="hf_…") as hub:   # HF_ENDPOINT=hub.url
        hub.fail("commit", 503, times=2)
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Self

from assets_tests.pipeline.publishing.protocol import Handler
from assets_tests.pipeline.publishing.repositories import Repo
from assets_tests.pipeline.publishing.xet import Term


@dataclass
class Fault:
    """What goes wrong with requests whose `METHOD /path` a pattern is found in."""

    pattern: re.Pattern[str]
    kind: int | str
    """A status; `cut`: the line goes dead while the request is read; `lost`: once it was done; `slow`: it waits."""
    times: int
    after: int
    headers: Mapping[str, str]


class HubServer:
    """The Hub on a port of this machine. `log` has every request as (method, path, status)."""

    def __init__(self, *, token: str = "hf_right", user: str = "me", part: int = 1 << 30, xet: bool = False):
        self.token, self.user, self.part, self.xet = token, user, part, xet
        self.repos: dict[str, Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.xorbs: dict[str, bytes] = {}
        self.made_of: dict[str, list[Term]] = {}
        """What Xet's name of a file stands for."""
        self.xet_names: dict[str, str] = {}
        """By sha256."""
        self.received = 0
        """Bytes of files that were sent here."""
        self.log: list[tuple[str, str, int]] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.cdn = f"http://localhost:{self.http.server_port}"
        """Another host, where large files are."""

    def fail(self, pattern: str, kind: int | str, *, times: int = 1, after: int = 0, **headers: str) -> None:
        """The next `times` requests that match go wrong, once `after` of them went well."""
        self.faults.append(Fault(re.compile(pattern), kind, times, after, headers))

    def fault(self, request: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.pattern.search(request):
                    fault.after -= 1
                    if fault.after < 0:
                        fault.times -= 1
                        return fault
        return None

    def counted(self, pattern: str) -> int:
        """Requests that matched and were answered well."""
        return sum(bool(re.search(pattern, f"{method} {path}")) for method, path, status in self.log if status < 400)

    def __enter__(self) -> Self:
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
