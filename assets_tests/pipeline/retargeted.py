"""A project with another setting of one of its targets."""

from pipeline.targets import Project, Target


def with_target(project: Project, name: str, **changes) -> Project:
    """The project with a target's settings changed."""
    target = Target.model_validate({**project.targets[name].model_dump(), **changes})
    settings = project.settings.model_copy(update={"targets": {**project.targets, name: target}})
    return Project(project.folder, settings)
