"""A dataset on the Hub: one commit a publication, refused by the Hub if another one came between."""

from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from pipeline.errors import PublicationRefused


class Hub:
    """`HfApi.create_commit` leaves out files that the Hub has already, and makes no empty commit."""

    def __init__(self, api: HfApi, repo: str, *, private: bool):
        self.api, self.repo, self.private = api, repo, private

    @property
    def address(self) -> str:
        return f"{self.api.endpoint}/datasets/{self.repo}"

    def put(self, files: Mapping[str, Path], *, message: str) -> None:
        operations = [CommitOperationAdd(name, file) for name, file in files.items()]
        try:
            self.api.create_repo(self.repo, repo_type="dataset", private=self.private, exist_ok=True)
            before = self.api.dataset_info(self.repo).sha
            self.api.create_commit(
                self.repo, operations, commit_message=message, repo_type="dataset", parent_commit=before
            )
        except HfHubHTTPError as error:
            cure = "is HF_TOKEN set, with write access?"
            raise PublicationRefused(f"the Hub refuses {self.repo}: {error}; {cure}") from error
