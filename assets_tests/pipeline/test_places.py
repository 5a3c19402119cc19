"""What Dagster shows of assets beside rows: where their code is, what columns are made of, how old they may be."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from pipeline.assets.lineage import LINEAGE, lineage_of
from pipeline.assets.places import ROOT, Repository, with_places
from pipeline.assets.prompts import prompts
from pipeline.columns import schema_of
from pipeline.definitions import definitions_of
from pipeline.resources.store import ROWS
from pipeline.settings import Regeneration
from pipeline.staleness import upstream
from pipeline.targets import Project

TOLD = """
import json, sys
from pipeline.assets.places import repository
import pipeline
assert pipeline.__file__.startswith(sys.argv[1]), pipeline.__file__
found = repository()
print(json.dumps(found and [found.url, found.commit, str(found.folder)]))
"""


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Jo", "-c", "user.email=jo@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Our sources as a repository of their own, that nobody has seen yet."""
    ignored = shutil.ignore_patterns("__pycache__", "example")
    for package in ("pipeline", "renderers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "pipeline/assets")
    git(tmp_path, "commit", "--quiet", "-m", "All of it")
    return tmp_path


def told(folder: Path) -> list[str] | None:
    asked = [sys.executable, "-c", TOLD, str(folder)]
    return json.loads(subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://jo:secret@github.com/owner/name.git", "https://github.com/owner/name"),
        ("git@github.com:owner/name.git", "https://github.com/owner/name"),
        ("ssh://git@gitlab.com/owner/group/name", "https://gitlab.com/owner/group/name"),
        ("https://github.com.example.org/owner/name.git", None),
        ("/srv/git/name.git", None),
    ],
)
def test_a_commit_that_its_remote_has_is_linked_without_secrets(checkout: Path, remote: str, url: str | None):
    git(checkout, "remote", "add", "origin", remote)
    assert told(checkout) is None, "nobody could see the commit"
    commit = git(checkout, "rev-parse", "HEAD")
    git(checkout, "update-ref", "refs/remotes/origin/main", commit)
    assert told(checkout) == (url and [url, commit, str(checkout)])


def test_an_installed_package_is_no_part_of_the_repository_around_it(checkout: Path):
    git(checkout, "remote", "add", "origin", "https://github.com/owner/name")
    git(checkout, "rm", "--quiet", "--cached", "-r", "pipeline")
    git(checkout, "commit", "--quiet", "--allow-empty", "-m", "None of it")
    git(checkout, "update-ref", "refs/remotes/origin/main", "HEAD")
    assert told(checkout) is None


def place_of(asset: dg.AssetsDefinition) -> str:
    metadata = asset.metadata_by_key[asset.key]["dagster/code_references"]
    (place,) = metadata.code_references
    return place.source


def test_an_asset_is_linked_to_its_line():
    (linked,) = with_places([prompts], Repository("https://github.com/owner/name", "c0ffee", ROOT))
    assert place_of(linked).startswith("https://github.com/owner/name/tree/c0ffee/pipeline/assets/prompts.py#L")
    (local,) = with_places([prompts], None)
    assert place_of(local).startswith(f"{ROOT}/pipeline/assets/prompts.py:")
    line = Path(ROOT / "pipeline/assets/prompts.py").read_text().splitlines()[int(place_of(local).split(":")[1]) - 1]
    assert line.startswith("@dg.asset")


def test_lineage_names_columns_that_are_there_of_assets_that_are_above(project: Project):
    columns = {stage: {field.name for field in schema_of(row)} for stage, row in ROWS.items()}
    for (stage, above), told in LINEAGE.items():
        assert told.keys() <= columns[stage]
        assert {one for of in told.values() for one in of.split()} <= columns[above]
    for asset, above in upstream(project).items():
        for deps in (lineage_of(asset) or {"": dg.TableColumnLineage({})}).values():
            assert {dep.asset_key.to_user_string() for all_ in deps.deps_by_column.values() for dep in all_} <= {*above}
    assert set(LINEAGE["rendered", "conversations"]) == columns["rendered"]
    assert set(LINEAGE["masked", "rendered"]) == columns["masked"]
    assert set(LINEAGE["conversations", "traces"]) == columns["conversations"]


def test_publication_is_expected_only_of_a_project_that_samples_by_night(project: Project):
    def expected(one: Project) -> set[str]:
        nodes = definitions_of(one).resolve_asset_graph().asset_nodes
        return {node.key.to_user_string() for node in nodes if node.freshness_policy}

    assert expected(project) == {"staleness", "pins"}
    nightly = Regeneration(max_partitions=1, max_usd=1.0)
    collect = project.settings.collect.model_copy(update={"regenerate": nightly})
    settings = project.settings.model_copy(update={"collect": collect})
    assert expected(Project(project.folder, settings)) == {"staleness", "pins", "publication"}
