"""Projects on disk: a new one, the demo, and the Dagster instance that lives in each."""

import shutil
from pathlib import Path

from pipeline.errors import SettingsError
from pipeline.targets import EXAMPLE, SETTINGS, Project, find_project, load_project

FIRST_PROJECT = Path(__file__).parent / "first"
"""What `tracemill init` writes,"""
FIRST_SESSIONS = {"prompts/sessions/first/hello.jsonl": "prompts/sessions/codex_tasks/one_command.jsonl"}
"""and what it takes from the example."""


def create_project(folder: Path) -> Project:
    """A new project. Raises SettingsError if the folder holds anything."""
    if _holds_anything(folder):
        raise SettingsError(f"{folder} is not empty; name a new folder")
    shutil.copytree(FIRST_PROJECT, folder, dirs_exist_ok=True)
    for session, recorded in FIRST_SESSIONS.items():
        (folder / session).parent.mkdir(parents=True)
        shutil.copyfile(EXAMPLE / recorded, folder / session)
    return with_instance(load_project(folder))


def create_demo(folder: Path) -> Project:
    """The demo project. What is there already is kept, so that a second run has nothing to do."""
    if _holds_anything(folder) and not (folder / SETTINGS).is_file():
        raise SettingsError(f"{folder} holds something that is no project; name another folder")
    for path in sorted(EXAMPLE.rglob("*")):
        place = folder / path.relative_to(EXAMPLE)
        if path.is_file() and path.relative_to(EXAMPLE).parts[0] in (SETTINGS, "prompts") and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    return with_instance(load_project(folder))


def existing_project(folder: Path | None = None) -> Project:
    """The project that is meant. Raises SettingsError where there is none."""
    project = find_project(folder)
    if not (project.folder / SETTINGS).is_file():
        cure = "`tracemill init my-dataset` writes one, `tracemill demo` the example, --project names another folder"
        raise SettingsError(f"{Path.cwd()} is no project; {cure}")
    return project


def dagster_home(project: Project) -> Path:
    """Where the project's Dagster instance keeps its events: SQLite and local files."""
    return project.folder / ".dagster"


def with_instance(project: Project) -> Project:
    """The same project, its Dagster instance configured."""
    home = dagster_home(project)
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(Path(__file__).parent / "dagster.yaml", home / "dagster.yaml")
    return project


def _holds_anything(folder: Path) -> bool:
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is a file; name a new folder")
    return folder.exists() and any(folder.iterdir())
