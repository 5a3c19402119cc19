"""A Hub on this machine, and publishers that go there; the ways to publish a batch."""

from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import huggingface_hub.constants
import pytest
import stamina
from huggingface_hub import HfApi

from assets_tests.pipeline.publishing.server import HubServer
from pipeline.assets.publication import makers_of
from pipeline.publishing.folder import Folder
from pipeline.publishing.hub import Hub
from pipeline.publishing.publish import publish
from pipeline.publishing.publisher import Publisher
from pipeline.records import Shard
from pipeline.resources.store import Store
from pipeline.targets import Project


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator:
    """A Hub whose files come in parts of 64 KiB; the client finds it as it does with HF_ENDPOINT set."""
    with HubServer(part=1 << 16) as running, stamina.set_testing(True, attempts=12):
        place = f"{running.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", running.url)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", place)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def publisher(hub) -> Callable[..., Hub]:
    """(token=, private=, gated=, create_pr=) -> the publisher of `me/set`."""

    def made(token: str = "hf_right", *, private: bool = True, **options) -> Hub:
        return Hub(HfApi(endpoint=hub.url, token=token), "me/set", private=private, **options)

    return made


@pytest.fixture
def folder(made: Project) -> Path:
    """The dataset of `made`."""
    return made.folder / "dataset"


@pytest.fixture
def put(store: Store, made: Project) -> Callable[[str, Path | Publisher], list[Shard]]:
    """(batch, where to) -> what was published of it."""

    def publishing(batch: str, to: Path | Publisher) -> list[Shard]:
        beside, makers = store.place("publication", batch), makers_of(made, store, batch)
        where = Folder(to) if isinstance(to, Path) else to
        return list(publish(store, batch, made.settings, publisher=where, beside=beside, makers=makers))

    return publishing
