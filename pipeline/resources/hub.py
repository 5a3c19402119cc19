"""Where the project's dataset goes, with the rights to put it there."""

from huggingface_hub import HfApi

from pipeline.errors import SettingsError
from pipeline.publishing.folder import Folder
from pipeline.publishing.hub import Hub
from pipeline.publishing.publisher import Publisher
from pipeline.targets import SETTINGS, Project


def publisher_of(project: Project) -> Publisher:
    """As `publish` in tracemill.yaml says. The Hub's token comes from HF_TOKEN, its address from HF_ENDPOINT."""
    publication = project.settings.publish
    if publication.to == "folder":
        return Folder(project.folder / publication.folder)
    if publication.repo is None:
        raise SettingsError(f"{project.folder / SETTINGS}: publish.repo: name it, as owner/name")
    return Hub(HfApi(), publication.repo, private=publication.private)
