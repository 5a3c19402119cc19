"""The Hub gets each batch whole and once, whatever goes wrong on the way; its client is not changed."""

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi
from pydantic import SecretStr

from pipeline.errors import PublicationRefused, SettingsError
from pipeline.publishing.card import card
from pipeline.publishing.index import INDEX, read_index
from pipeline.publishing.publisher import Change
from pipeline.resources.hub import publisher_of, token_of
from pipeline.targets import Project, Publication

BATCHES = ("codex_tasks", "pi_tasks")
ROOT = Path(__file__).parents[3]


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def on_main(hub) -> dict[str, bytes]:
    return {path: data for path, data in hub.repos["me/set"].files.items() if path != ".gitattributes"}


def counting(held: bytes | None) -> Change:
    """A change that adds a line to what is there, and a file for it."""
    lines = (held or b"").splitlines(keepends=True)
    number = len(lines)
    whole = b"".join((*lines, b"%d\n" % number))
    return Change(put={f"rows/{number}.parquet": b"PAR1 %d" % number * 30_000, "lines.txt": whole})


def test_a_batch_is_one_commit_and_the_same_files_as_in_a_folder(hub, publisher, put, folder: Path, tmp_path: Path):
    for batch in BATCHES:
        put(batch, publisher())
        put(batch, tmp_path / "set")
    assert hub.repos["me/set"].history[1:] == [f"Tracemill: publish {batch}" for batch in BATCHES]
    assert on_main(hub) == files_below(tmp_path / "set") == files_below(folder)
    assert hub.repos["me/set"].private


def test_publishing_the_same_again_sends_no_file_and_makes_no_commit(hub, publisher, put):
    put("pi_tasks", publisher())
    sent, commits = hub.received, len(hub.repos["me/set"].commits)
    put("pi_tasks", publisher())
    assert (hub.received, len(hub.repos["me/set"].commits)) == (sent, commits)


def test_datasets_reads_back_through_the_hub_what_was_published(hub, publisher, put, tmp_path: Path):
    for batch in BATCHES:
        put(batch, publisher())
    code = """if True:
        import datasets
        for config in ("qwen3", "chatml", "conversations", "traces"):
            print(config, datasets.load_dataset("me/set", config, split="train").num_rows)
        stream = datasets.load_dataset("me/set", "qwen3", split="train", streaming=True)
        print("streamed", len([row["input_ids"] for row in stream]))  # left halfway, Arrow may crash at exit
    """
    told = run(hub, "-c", code, home=tmp_path).splitlines()
    index = read_index(on_main(hub)[INDEX])
    rows = Counter()
    for shard in index.shards:
        rows.update({shard.config: sum(shard.rows.values())})
    assert told[:4] == [f"{config} {rows[config]}" for config in ("qwen3", "chatml", "conversations", "traces")]
    assert told[4] == f"streamed {rows['qwen3']}"


def run(hub, *arguments: str, home: Path, **more: str) -> str:
    """A Python of its own, that knows of the Hub what the environment says."""
    known = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home / "hf")}
    env = {**os.environ, **known, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": str(ROOT), **more}
    done = subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FAULTS = {
    "overtaken": ("POST .*/commit/", 412, 3),
    "asked to wait": ("POST .*/commit/", 429, 2),
    "a broken gateway at the commit": ("POST .*/commit/", 502, 2),
    "a commit that is cut": ("POST .*/commit/", "cut", 1),
    "a commit whose answer is lost": ("POST .*/commit/", "lost", 1),
    "a slow commit": ("POST .*/commit/", "slow", 1),
    "an upload that fails": ("PUT /lfs/", 500, 1),
    "an upload that is cut": ("PUT /lfs/", "cut", 1),
    "an upload whose answer is lost": ("PUT /lfs/", "lost", 1),
    "parts that are not put together": ("POST /lfs/.*/complete", 503, 1),
    "a batch that is asked to wait": ("POST .*/objects/batch", 429, 1),
    "a preupload that is cut": ("POST .*/preupload/", "cut", 1),
    "no answer about the repository": ("GET /api/datasets/me/set$", "cut", 1),
    "a broken repository": ("GET /api/datasets/me/set$", 500, 2),
    "an index that cannot be read": ("(HEAD|GET) .*/resolve/", 503, 1),
    "an index that is cut": ("(HEAD|GET) .*/resolve/", "cut", 1),
    "a creation whose answer is lost": ("POST /api/repos/create", "lost", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_and_nothing_doubled(hub, publisher, fault: str):
    publisher().swap("lines.txt", counting, message="0")
    pattern, kind, times = FAULTS[fault]
    hub.fail(pattern, kind, times=times, **({"Retry-After": "0"} if kind == 429 else {}))
    publisher().swap("lines.txt", counting, message="1")
    assert not any(one.times for one in hub.faults), "the fault did not happen"
    if fault in AMBIGUOUS:
        # The commit was made: made again, on top of it, the change is another one.
        publisher().swap("lines.txt", lambda held: Change(put={"lines.txt": held or b""}), message="none")
    lines = on_main(hub)["lines.txt"].decode().split()
    assert lines == [str(number) for number in range(len(lines))]
    assert len(hub.repos["me/set"].history) - 1 == len(lines)
    assert {f"rows/{number}.parquet" for number in lines} == on_main(hub).keys() - {"lines.txt"}
    assert len(lines) == 2 + (fault in AMBIGUOUS)


AMBIGUOUS = ("a commit whose answer is lost",)


def test_a_batch_whose_commit_was_made_but_not_answered_is_there_once(hub, publisher, put, folder: Path):
    hub.fail("POST .*/commit/", "lost")
    for batch in BATCHES:
        put(batch, publisher())
    assert hub.repos["me/set"].history[1:] == [f"Tracemill: publish {batch}" for batch in BATCHES]
    assert on_main(hub) == files_below(folder)


def test_an_upload_that_was_cut_goes_on_where_it_was(hub, publisher):
    content = {f"rows/{n}.parquet": bytes([n]) * 200_000 for n in range(4)}
    hub.fail("PUT /lfs/", 400, times=99, after=15)  # of 16 parts
    with pytest.raises(PublicationRefused, match="the Hub refuses me/set"):
        publisher().swap("x", lambda _: Change(put=content), message="1")
    arrived = len(hub.lfs)
    assert 0 < arrived < 4
    assert hub.repos["me/set"].history == ["initial commit"]
    hub.faults.clear()
    sent = hub.received
    publisher().swap("x", lambda _: Change(put=content), message="1")
    assert hub.received - sent == (4 - arrived) * 200_000
    assert on_main(hub) == content


def test_swaps_of_many_at_once_are_made_one_after_another(hub, publisher):
    hub.fail("POST .*/commit/", "slow", times=4)  # nobody is done before another has begun
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: publisher().swap("lines.txt", counting, message=str(n)), range(12)))
    assert on_main(hub)["lines.txt"].decode().split() == [str(number) for number in range(12)]
    assert len(hub.repos["me/set"].history) == 13
    assert any(status == 412 for _, _, status in hub.log), "nobody was overtaken: the test shows nothing"


PUBLISHER = """if True:
    import sys
    from pathlib import Path
    from pipeline.assets.publication import makers_of
    from pipeline.publishing.publish import publish
    from pipeline.resources.hub import publisher_of
    from pipeline.resources.store import Store
    from pipeline.targets import load_project
    project, batch = load_project(Path(sys.argv[1])), sys.argv[2]
    settings = project.settings.model_copy(
        update={"publish": project.settings.publish.model_copy(update={"to": "hub", "repo": "me/set"})}
    )
    project.settings = settings
    store = Store(project.data)
    makers, beside = makers_of(project, store, batch), store.place("publication", batch)
    for _ in range(3):
        list(publish(store, batch, settings, publisher=publisher_of(project), beside=beside, makers=makers))
"""


def test_two_publishers_at_once_lose_nothing_of_each_other(hub, made: Project, folder: Path, tmp_path: Path):
    hub.fail("POST .*/commit/", "slow", times=99)
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(run, hub, "-c", PUBLISHER, str(made.folder), b, home=tmp_path / b) for b in BATCHES]
        for one in work:
            one.result()
    assert sorted(hub.repos["me/set"].history[1:]) == [f"Tracemill: publish {batch}" for batch in BATCHES]
    index = read_index(on_main(hub)[INDEX])
    assert {shard.batch for shard in index.shards} == set(BATCHES)
    publication = made.settings.publish.model_copy(update={"repo": "me/set"})
    assert on_main(hub)["README.md"].decode() == card(index.shards, publication)
    assert {p: d for p, d in on_main(hub).items() if p.endswith(".parquet")} == {
        p: d for p, d in files_below(folder).items() if p.endswith(".parquet")
    }


def test_a_repository_is_as_open_as_the_settings_say(hub, publisher):
    publisher(private=False, gated="manual").swap("lines.txt", counting, message="0")
    publisher(private=False, gated="manual").swap("lines.txt", counting, message="1")
    assert (hub.repos["me/set"].private, hub.repos["me/set"].gated) == (False, "manual")
    assert hub.counted("PUT .*/settings") == 1


def test_files_that_are_no_more_are_taken_away(hub, publisher):
    publisher().swap("x", lambda _: Change(put={"a.parquet": b"a", "b/c.txt": b"c"}), message="0")
    publisher().swap("x", lambda _: Change(put={}, gone=frozenset({"b/c.txt", "never"})), message="1")
    assert on_main(hub) == {"a.parquet": b"a"}


def test_a_hub_that_refuses_is_told_with_the_cure(hub, publisher, put):
    with pytest.raises(PublicationRefused, match="is HF_TOKEN set, with write access"):
        put("pi_tasks", publisher("hf_wrong"))
    assert hub.repos == {}


def test_a_hub_that_stays_broken_is_given_up(hub, publisher):
    hub.fail("POST .*/commit/", 503, times=99)
    with pytest.raises(PublicationRefused, match=r"503.*try again later"):
        publisher().swap("lines.txt", counting, message="0")
    assert hub.repos["me/set"].history == ["initial commit"]


def test_a_hub_without_xet_is_told_with_the_cure(hub, publisher, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    with pytest.raises(PublicationRefused, match="a Hub without Xet wants HF_HUB_DISABLE_XET=1"):
        publisher().swap("lines.txt", counting, message="0")
    assert hub.repos["me/set"].history == ["initial commit"]
    assert sum("xet-write-token" in path for _, path, _ in hub.log) == 1


def test_an_upload_through_xet_that_is_cut_is_tried_again(hub, publisher, monkeypatch: pytest.MonkeyPatch):
    tried, create = [], HfApi.create_commit

    def cut(*arguments, **options):
        tried.append(1)
        if len(tried) == 1:
            raise ConnectionError("Network error: connection reset")
        return create(*arguments, **options)

    monkeypatch.setattr(HfApi, "create_commit", cut)
    publisher().swap("lines.txt", counting, message="0")
    assert on_main(hub)["lines.txt"] == b"0\n"


def test_an_index_that_was_edited_is_not_built_upon(hub, publisher, put):
    put("pi_tasks", publisher())
    told = json.loads(on_main(hub)[INDEX])
    told["shards"][0]["rows"]["train"] += 1
    publisher().swap("x", lambda _: Change(put={INDEX: json.dumps(told, indent=1).encode()}), message="by hand")
    with pytest.raises(PublicationRefused, match="is not what was published"):
        put("codex_tasks", publisher())


def test_the_hub_needs_a_repository(made: Project):
    settings = made.settings.model_copy(update={"publish": Publication(to="hub")})
    with pytest.raises(SettingsError, match=r"publish\.repo: name it"):
        publisher_of(Project(made.folder, settings))


@pytest.mark.parametrize(
    ("own", "environment", "found"),
    [
        ("hf_own", {"HF_TOKEN": "hf_a"}, "hf_own"),
        (None, {"HF_TOKEN": "hf_a", "HUGGINGFACE_HUB_TOKEN": "hf_b"}, "hf_a"),
        (None, {"HUGGINGFACE_HUB_TOKEN": "hf_b"}, "hf_b"),
        (None, {}, None),
    ],
)
def test_a_token_comes_from_the_settings_or_the_environment(monkeypatch, own, environment, found):
    for name in ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert token_of(Publication(token=SecretStr(own) if own else None)) == found


@pytest.mark.parametrize("right", [True, False])
def test_no_token_is_ever_told(hub, made: Project, materialize, monkeypatch, caplog, capfd, right: bool):
    secret = "hf_SecretOfTheTest123456" if right else "hf_WrongSecretOfTheTest123"
    hub.token = "hf_SecretOfTheTest123456"
    hub.fail("POST .*/commit/", 503)
    told = (
        (made.folder / "tracemill.yaml")
        .read_text()
        .replace("to: folder", "to: hub\n  repo: me/set\n  token: " + secret)
    )
    (made.folder / "tracemill.yaml").write_text(told)
    caplog.set_level(logging.DEBUG)
    for name in ("huggingface_hub", "httpx2", "httpcore", "dagster", "stamina"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        caplog.set_level(logging.DEBUG, name)
    from pipeline.targets import load_project

    project = load_project(made.folder)
    result = materialize(project, "pi_tasks", job="rerender", assets=["publication"], raise_on_error=False)
    assert result.success == right
    events = "\n".join(map(str, result.all_events))
    out = capfd.readouterr()
    assert "Tracemill" in events or "publication" in events
    for words in (caplog.text, events, out.out, out.err, repr(project.settings), project.settings.model_dump_json()):
        assert secret not in words
    for path in made.data.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()
    assert all(secret.encode() not in data for repo in hub.repos.values() for data in repo.files.values())
