"""Where the project's dataset goes, with the rights to put it there."""

from pipeline.errors import SettingsError
from pipeline.publishing.folder import Folder
from pipeline.publishing.publisher import Publisher
from pipeline.settings import hub_token
from pipeline.targets import SETTINGS, Project, Publication


def publisher_of(project: Project) -> Publisher:
    """As `publish` in tracemill.yaml says. The Hub's address comes from HF_ENDPOINT."""
    publication = project.settings.publish
    if publication.to == "folder":
        return Folder(project.folder / publication.folder)
    if publication.repo is None:
        raise SettingsError(f"{project.folder / SETTINGS}: publish.repo: name it, as owner/name")
    from huggingface_hub import HfApi  # for who publishes there: the graph of others need not wait for its client

    from pipeline.publishing.hub import Hub

    return Hub(
        HfApi(token=token_of(publication)),
        publication.repo,
        private=publication.private,
        gated=publication.gated,
        create_pr=publication.create_pr,
    )


def token_of(publication: Publication) -> str | None:
    """The settings' own, else the environment's; None where the Hub's client may look for itself."""
    own = publication.token.get_secret_value() if publication.token else None
    return own or hub_token()
