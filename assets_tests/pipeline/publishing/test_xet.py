"""Publications go through Xet where the Hub speaks it: the client is not changed, and nothing is sent by LFS."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest

from assets_tests.pipeline.publishing.test_hub import BATCHES, PUBLISHER, files_below, on_main, run
from assets_tests.pipeline.publishing.test_publishing import Numbers, written
from assets_tests.pipeline.publishing.xet import LZ4, unpacked
from pipeline.errors import PublicationRefused
from pipeline.publishing.index import INDEX, read_index
from pipeline.publishing.publisher import Change
from pipeline.targets import Project

pytest.importorskip("hf_xet")
UPLOAD = """if True:
    import sys
    from pathlib import Path
    from huggingface_hub import HfApi
    from pipeline.publishing.hub import Hub
    from pipeline.publishing.publisher import Change
    hub = Hub(HfApi(), "me/set", private=True, create_pr="pr" in sys.argv)
    for name in sys.argv[1].split():
        hub.swap("x", lambda _: Change(put={"rows.parquet": Path(name)}), message=name)
        if "pr" not in sys.argv:
            assert HfApi().hf_hub_download("me/set", "rows.parquet", repo_type="dataset", force_download=True)
"""
READ = """if True:
    import sys, datasets
    from huggingface_hub import HfApi
    from pipeline.verifying import verify
    for config in ("qwen3", "conversations"):
        print(config, datasets.load_dataset("me/set", config, split="train").num_rows)
    print(verify("me/set").bad, verify(f"me/set@{sys.argv[1]}").bad)
"""


@pytest.fixture
def through(hub, tmp_path: Path) -> Callable[..., str]:
    """(code, arguments…) -> what a Python of its own prints that may use Xet."""
    hub.xet = True
    quick = {"HF_XET_CLIENT_RETRY_BASE_DELAY": "50ms", "HF_HUB_DISABLE_XET": "0"}
    return lambda code, *arguments: run(hub, "-c", code, *arguments, home=tmp_path, **quick)


def test_batches_are_published_read_back_and_verified_through_xet(hub, through, made: Project, folder: Path):
    for batch in BATCHES:
        through(PUBLISHER, str(made.folder), batch)
    assert hub.repos["me/set"].history[1:] == [f"Tracemill: publish {batch}" for batch in BATCHES]
    large = {path: data for path, data in files_below(folder).items() if path.endswith((".parquet", ".png"))}
    assert large.items() <= on_main(hub).items()
    assert hub.counted("POST /v1/shards")
    assert not any("lfs" in path for _, path, _ in hub.log)
    _, first, _last = hub.repos["me/set"].commits
    rows = Counter[str]()
    for shard in read_index(on_main(hub)[INDEX]).shards:
        rows.update({shard.config: sum(shard.rows.values())})
    told = through(READ, first).split("\n")
    assert told[:3] == [f"qwen3 {rows['qwen3']}", f"conversations {rows['conversations']}", "None None"]
    assert hub.counted("GET /v1/reconstructions/")
    assert not any("/cdn/" in path for _, path, _ in hub.log)


def test_of_a_file_that_changed_only_new_chunks_are_sent(hub, through, tmp_path: Path):
    rng = np.random.default_rng(7)
    rows = [Numbers(id=str(n), values=rng.integers(0, 1 << 17, 2000).astype(np.int32)) for n in range(600)]
    names = [str(tmp_path / name) for name in ("a", "b")]
    for name, some in zip(names, (rows, [*rows[:10], *rows[15:]]), strict=True):
        written(Path(name), some, published=True)
    through(UPLOAD, names[0])
    whole = hub.received
    through(UPLOAD, names[1])
    assert on_main(hub)["rows.parquet"] == Path(names[1]).read_bytes()
    assert whole > 2_000_000
    assert hub.received - whole < whole / 8


FAULTS = {
    "a token that is late": ("GET .*/xet-write-token/", 503, 2),
    "a block that is refused for now": ("POST /v1/xorbs/", 503, 2),
    "a block that is cut": ("POST /v1/xorbs/", "cut", 1),
    "a block whose answer is lost": ("POST /v1/xorbs/", "lost", 1),
    "a shard that is refused for now": ("POST /v1/shards", 500, 2),
    "a shard that is cut": ("POST /v1/shards", "cut", 1),
    "a shard whose answer is lost": ("POST /v1/shards", "lost", 1),
    "a commit that was overtaken": ("POST .*/commit/", 412, 1),
    "a reconstruction that is late": ("GET /v1/reconstructions/", 503, 1),
    "a block that is cut as it is read": ("GET /xorbs/", "cut", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_and_nothing_doubled(hub, through, tmp_path: Path, fault: str):
    (tmp_path / "a").write_bytes(os.urandom(300_000))
    pattern, kind, times = FAULTS[fault]
    hub.fail(pattern, kind, times=times)
    through(UPLOAD, str(tmp_path / "a"))
    assert not any(one.times for one in hub.faults), "the fault did not happen"
    assert on_main(hub) == {"rows.parquet": (tmp_path / "a").read_bytes()}
    assert len(hub.repos["me/set"].history) == 2


def test_pull_requests_go_through_xet(hub, through, tmp_path: Path):
    for name in "ab":
        (tmp_path / name).write_bytes(os.urandom(200_000))
    through(UPLOAD, f"{tmp_path / 'a'} {tmp_path / 'b'}", "pr")
    repo = hub.repos["me/set"]
    assert [pull.status for pull in repo.pulls] == ["open"]
    assert repo.at("refs/pr/1").files["rows.parquet"].data == (tmp_path / "b").read_bytes()
    assert on_main(hub) == {}
    assert hub.counted("POST /v1/shards") == 2


@pytest.mark.parametrize("pattern", ["GET .*/xet-write-token/", "POST /v1/xorbs/"])
def test_a_token_that_may_not_write_is_told_with_the_cure(hub, publisher, monkeypatch, tmp_path: Path, pattern: str):
    hub.xet = True
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    hub.fail(pattern, 403, times=99)
    with pytest.raises(PublicationRefused, match=r"403 Forbidden.*is HF_TOKEN set, with write access"):
        publisher().swap("x", lambda _: Change(put={"rows.parquet": os.urandom(90_000)}), message="0")
    assert hub.repos["me/set"].history == ["initial commit"]


def test_chunks_in_four_groups_are_put_together():
    data = bytes(range(1, 12))
    packed = LZ4.compress(b"".join(data[k::4] for k in range(4)), asbytes=True)
    head = bytes([0]) + len(packed).to_bytes(3, "little") + bytes([2]) + len(data).to_bytes(3, "little")
    assert unpacked(head + packed) == data
