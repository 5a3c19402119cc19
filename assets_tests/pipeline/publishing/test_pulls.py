"""Batches are gathered in one pull request, however many publish at once."""

from concurrent.futures import ThreadPoolExecutor

from huggingface_hub import HfApi

from assets_tests.pipeline.publishing.test_hub import counting, on_main


def test_batches_are_gathered_in_one_pull_request(hub, publisher):
    HfApi(endpoint=hub.url, token=hub.token).create_repo("me/set", repo_type="dataset")
    for number in range(3):
        publisher(create_pr=True).swap("lines.txt", counting, message=str(number))
    repo = hub.repos["me/set"]
    assert [pull.title for pull in repo.pulls] == ["Tracemill: publish 0"]
    assert on_main(hub) == {}
    HfApi(endpoint=hub.url, token=hub.token).merge_pull_request("me/set", 1, repo_type="dataset")
    assert on_main(hub)["lines.txt"] == b"0\n1\n2\n"
    publisher(create_pr=True).swap("lines.txt", counting, message="3")
    assert [pull.status for pull in repo.pulls] == ["merged", "open"]


def test_publishers_that_open_pull_requests_at_once_end_in_one(hub, publisher):
    HfApi(endpoint=hub.url, token=hub.token).create_repo("me/set", repo_type="dataset")
    hub.fail("POST .*/commit/", "slow", times=99)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: publisher(create_pr=True).swap("lines.txt", counting, message=str(n)), range(4)))
    repo = hub.repos["me/set"]
    assert len(repo.pulls) > 1, "nobody was overtaken: the test shows nothing"
    assert [pull.status for pull in repo.pulls] == ["open"] + ["closed"] * (len(repo.pulls) - 1)
    assert repo.at("refs/pr/1").files["lines.txt"].data == b"0\n1\n2\n3\n"
