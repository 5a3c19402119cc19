"""A dataset on the Hub: one commit a publication, that names the commit it was made for.

The Hub refuses it if another came between: then what is there is read again, and the change made again. An upload that
was cut goes on: objects that have arrived are not sent twice. An answer that was lost does no harm: a commit of what is
there already is none.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import httpx2
import stamina
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from pipeline.errors import PublicationRefused
from pipeline.publishing.publisher import Change

ATTEMPTS, PATIENCE = 12, 900
"""Tries of a publication, and the seconds that they may take together."""
LONGEST = 300
"""Seconds that the Hub may ask us to wait."""
OVERTAKEN = frozenset({409, 412})
"""Another commit came first."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
TITLE = "Tracemill: publish"
"""How commits and pull requests of ours begin."""
CUT = (httpx2.TransportError, LocalEntryNotFoundError, ConnectionError, TimeoutError)
"""A line that went dead; Xet raises Python's own."""
DECLINED = "HTTP status client error"
"""What Xet says of a Hub that will not have it."""
KIND = "dataset"


class Overtaken(RuntimeError):
    """Another pull request came first."""


class Hub:
    """A dataset repository. `create_pr`: batches are gathered in one open pull request, for people to merge."""

    def __init__(
        self,
        api: HfApi,
        repo: str,
        *,
        private: bool,
        gated: Literal["auto", "manual"] | None = None,
        create_pr: bool = False,
    ):
        self.api, self.repo, self.private, self.create_pr = api, repo, private, create_pr
        self.gated: Literal["auto", "manual"] | None = gated

    @property
    def address(self) -> str:
        return f"{self.api.endpoint}/datasets/{self.repo}"

    def swap(self, name: str, change: Callable[[bytes | None], Change], *, message: str) -> None:
        try:
            for attempt in stamina.retry_context(on=_again, attempts=ATTEMPTS, timeout=PATIENCE, wait_max=30):
                with attempt:
                    self._swap(name, change, f"{TITLE} {message}")
        except (HfHubHTTPError, httpx2.TransportError, OSError, RuntimeError, ValueError) as error:
            raise PublicationRefused(f"the Hub refuses {self.repo}: {_told(error)}; {_cure(error)}") from error

    def _swap(self, name: str, change: Callable[[bytes | None], Change], title: str) -> None:
        self.api.create_repo(self.repo, repo_type=KIND, private=self.private, exist_ok=True)
        pull = min(self._pull_requests(), default=None) if self.create_pr else None
        ref = None if pull is None else f"refs/pr/{pull}"
        info = self.api.dataset_info(self.repo, revision=ref)
        base, there = str(info.sha), {file.rfilename for file in info.siblings or ()}
        if self.gated and info.gated != self.gated:
            self.api.update_repo_settings(self.repo, repo_type=KIND, gated=self.gated)
        wanted = change(self._read(name, base) if name in there else None)
        operations = [
            *(CommitOperationAdd(path, content) for path, content in wanted.put.items()),
            *(CommitOperationDelete(path) for path in sorted(wanted.gone & there)),
        ]
        made = self.api.create_commit(
            self.repo,
            operations,
            commit_message=title,
            repo_type=KIND,
            revision=ref,
            parent_commit=base,
            create_pr=self.create_pr and ref is None,
        )
        if made.pr_num is not None:
            self._give_way(made.pr_num)

    def _give_way(self, own: int) -> None:
        """Two pull requests opened at once would never merge together: the later one is closed. Raises Overtaken."""
        first = min(self._pull_requests(), default=own)
        if first < own:
            why = f"#{first} was opened at the same time: this batch goes there."
            self.api.change_discussion_status(self.repo, own, new_status="closed", comment=why, repo_type=KIND)
            raise Overtaken(why)

    def _pull_requests(self) -> list[int]:
        """The numbers of open pull requests of ours: one, as a rule."""
        found = self.api.get_repo_discussions(
            self.repo, repo_type=KIND, discussion_type="pull_request", discussion_status="open"
        )
        return [one.num for one in found if one.title.startswith(TITLE)]

    def _read(self, name: str, commit: str) -> bytes:
        return Path(self.api.hf_hub_download(self.repo, name, repo_type=KIND, revision=commit)).read_bytes()


def _again(error: Exception) -> bool | float:
    """Whether to try again; a number says after how many seconds. With short waits those who swap meet for ever, so
    being overtaken waits as other faults do."""
    asked = next((e.response.headers.get("Retry-After") for e in _chain(error) if isinstance(e, HfHubHTTPError)), None)
    if _status(error) in PASSING and asked and asked.isdigit():
        return min(float(asked), LONGEST)
    return (
        isinstance(error, Overtaken)
        or any(isinstance(one, CUT) and DECLINED not in str(one) for one in _chain(error))
        or _status(error) in OVERTAKEN | PASSING
    )


def _status(error: BaseException) -> int | None:
    return next((one.response.status_code for one in _chain(error) if isinstance(one, HfHubHTTPError)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from: the client wraps what goes wrong in an upload."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def _cure(error: BaseException) -> str:
    declined = DECLINED in str(error)
    if declined and "xet" in str(error) and "(404" in str(error):
        return "a Hub without Xet wants HF_HUB_DISABLE_XET=1"
    refused = declined or _status(error) in (401, 403, 404)
    return "is HF_TOKEN set, with write access?" if refused else "try again later"


def _told(error: BaseException) -> str:
    return " ".join(str(list(_chain(error))[-1] if isinstance(error, RuntimeError) else error).split())
