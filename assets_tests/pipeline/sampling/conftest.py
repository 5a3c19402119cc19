"""The server, who asks it, and the example's tokenizer."""

import threading
from collections.abc import Iterator

import pytest

from assets_tests.pipeline.sampling.engine import MODEL, Engine
from pipeline.sampling import DIALECTS
from pipeline.sampling.client import Server
from pipeline.targets import EXAMPLE
from renderers import Tokenizer, create_renderer


@pytest.fixture
def engine() -> Iterator[Engine]:
    server = Engine()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(params=DIALECTS)
def dialect(request) -> str:
    return request.param


@pytest.fixture
def server(engine, dialect) -> Server:
    return Server(engine.url, MODEL, dialect=dialect, timeout=5, retries=2)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return create_renderer(str(EXAMPLE / "tokenizer"), "qwen3").tokenizer
