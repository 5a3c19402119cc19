"""Edits of a copy of the source tree and of a project, each judged by a fresh process: what is stale after it.

No edit that changes a row may be missed, and none that changes no row may make anything stale.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.targets import EXAMPLE

ROOT = Path(__file__).parents[2]
TARGETS = ("qwen3", "glm", "coder", "traced")
VERSIONS = """
import json, os, sys
import huggingface_hub, jinja2, msgspec, numpy, pyarrow.parquet, pydantic, tokenizers, yaml

def versions(tree, project):
    sys.path[0] = tree
    from pathlib import Path
    from pipeline import links
    from pipeline.staleness import code_versions
    from pipeline.targets import load_project
    import pipeline, renderers, shutil
    assert pipeline.__file__.startswith(tree) and renderers.__file__.startswith(tree)
    there = load_project(Path(project))
    found = code_versions(there)
    shutil.rmtree(there.notes / links.CODE)
    links._sources.cache_clear()
    assert found == code_versions(there), "what was remembered of the sources is not what they are"
    return found

for line in sys.stdin:
    reading, writing = os.pipe()
    if not os.fork():  # nothing of ours has been imported yet
        os.write(writing, json.dumps(versions(*json.loads(line))).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        print(told.read(), flush=True)
    os.wait()
"""
Place = tuple[Path, Path]
"""The source tree, and the project."""
Edit = Callable[[Path, Path], None]
Judge = Callable[[Path, Path], dict[str, str]]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """(tree, project) -> the code version of every asset, as a process that has imported nothing of ours finds them."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "TRACEMILL_PROJECT")}
    with subprocess.Popen(
        [sys.executable, "-c", VERSIONS], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def versions(tree: Path, project: Path) -> dict[str, str]:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps([str(tree), str(project)]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield versions
        process.communicate()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """What is edited: our sources, and a project with a target for each of four ways to render."""
    place = tmp_path_factory.mktemp("original")
    for package in ("pipeline", "renderers"):
        shutil.copytree(ROOT / package, place / "tree" / package, ignore=shutil.ignore_patterns("__pycache__"))
    project = place / "project"
    (project / "prompts").mkdir(parents=True)
    shutil.copytree(EXAMPLE / "tokenizer", project / "own")
    renderers = {"qwen3": "qwen3", "glm": "glm-4.5", "coder": "qwen3.5"}
    targets = {name: {"model": "example", "renderer": renderer} for name, renderer in renderers.items()}
    settings = {"targets": {**targets, "traced": {"model": "own", "renderer": "traced"}}}
    (project / "tracemill.yaml").write_text(yaml.safe_dump(settings))
    return place / "tree", project


@pytest.fixture(scope="module")
def before(original: Place, judge: Judge) -> dict[str, str]:
    return judge(*original)


@pytest.fixture
def place(before: dict[str, str], original: Place, tmp_path: Path) -> Place:
    """A copy to edit. What has been compiled and fingerprinted is there, and must not deceive."""
    for source, name in zip(original, ("tree", "project"), strict=True):
        shutil.copytree(source, tmp_path / name)
    return tmp_path / "tree", tmp_path / "project"


def swap(file: str, old: str, new: str, *, count: int = 1) -> Edit:
    """One text for another in a file of the tree."""

    def edit(tree: Path, project: Path) -> None:
        told = (tree / file).read_text()
        assert old in told, f"{file} has changed: choose another edit"
        (tree / file).write_text(told.replace(old, new, count))

    return edit


def everywhere(old: str, new: str, *, package: str) -> Edit:
    """A name for another in all of a package."""

    def edit(tree: Path, project: Path) -> None:
        found = [path for path in (tree / package).rglob("*.py") if re.search(rf"\b{old}\b", path.read_text())]
        assert found, f"nothing is called {old} in {package}: choose another edit"
        for path in found:
            path.write_text(re.sub(rf"\b{old}\b", new, path.read_text()))

    return edit


def move(file: str, name: str, to: str) -> Edit:
    """A function into a module of its own, with what its module imports."""

    def edit(tree: Path, project: Path) -> None:
        module = ast.parse((tree / file).read_text())
        moved = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name)
        imports = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
        (tree / to).write_text("\n".join(ast.unparse(node) for node in (*imports, moved)))
        back = ast.parse(f"from {to.removesuffix('.py').replace('/', '.')} import {name}").body
        kept = [node for node in module.body if node is not moved]
        last = max(kept.index(node) for node in imports) + 1
        (tree / file).write_text("\n".join(ast.unparse(node) for node in (*kept[:last], *back, *kept[last:])))

    return edit


def add(file: str, text: str) -> Edit:
    def edit(tree: Path, project: Path) -> None:
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        with (tree / file).open("a") as end:
            end.write(text)

    return edit


def comment(tree: Path, project: Path) -> None:
    for path in tree.rglob("*.py"):
        path.write_text(f"# all rights reversed\n{path.read_text()}\n# the end\n")


def layout(tree: Path, project: Path) -> None:
    for path in tree.rglob("*.py"):
        path.write_text(ast.unparse(ast.parse(path.read_text())))


def settings(**changes: object) -> Edit:
    def edit(tree: Path, project: Path) -> None:
        told = yaml.safe_load((project / "tracemill.yaml").read_text())
        for key, value in changes.items():
            told[key] = {**told.get(key, {}), **value} if isinstance(value, dict) else value
        (project / "tracemill.yaml").write_text(yaml.safe_dump(told))

    return edit


def target(name: str, **changes: object) -> Edit:
    def edit(tree: Path, project: Path) -> None:
        told = yaml.safe_load((project / "tracemill.yaml").read_text())
        told["targets"][name] = {**told["targets"].get(name, {}), **changes}
        (project / "tracemill.yaml").write_text(yaml.safe_dump(told))

    return edit


def template(tree: Path, project: Path) -> None:
    place = project / "own" / "chat_template.jinja"
    place.write_text(place.read_text() + "{{ '' }}")


def vocabulary(tree: Path, project: Path) -> None:
    place = project / "own" / "tokenizer.json"
    told = json.loads(place.read_text())
    told["model"]["merges"].pop()
    place.write_text(json.dumps(told))


def unseen(file: str, old: str, new: str) -> Edit:
    """A text for one as long, in a file whose size and times stay as they are."""
    assert len(old) == len(new)

    def edit(tree: Path, project: Path) -> None:
        was = (tree / file).stat()
        swap(file, old, new)(tree, project)
        os.utime(tree / file, ns=(was.st_atime_ns, was.st_mtime_ns))
        now = (tree / file).stat()
        assert (now.st_size, now.st_mtime_ns) == (was.st_size, was.st_mtime_ns)

    return edit


def damaged(tree: Path, project: Path) -> None:
    """What is remembered, cut short: a disk was full."""
    kept = [path for path in (project / "data").rglob("*") if path.is_file()]
    assert {path.parent.name for path in kept} == {".code", ".fingerprints", ".versions"}
    for path in kept:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def library(name: str) -> Edit:
    return add(
        f"{name.replace('-', '_')}-99.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0\n"
    )


def both(*edits: Edit) -> Edit:
    def edit(tree: Path, project: Path) -> None:
        for one in edits:
            one(tree, project)

    return edit


def after(stage: str, *targets: str) -> list[str]:
    """What a change of a stage makes stale, of these targets."""
    stages = ("conversations", "rendered", "masked", "audits", "publication")
    late = stages[stages.index(stage) :]
    per_target = [f"{one}/{name}" for name in targets for one in late if one in ("rendered", "masked", "audits")]
    return [*(["conversations"] if "conversations" in late else []), *per_target, "publication"]


GLM = swap("renderers/families/glm_4_5.py", 'before_content="\\n"', 'before_content=""')
UNDO = swap("renderers/families/glm_4_5.py", 'before_content=""', 'before_content="\\n"')
STRIP = ("reasoning=reasoning, content=said.rpartition", "reasoning=reasoning.upper(), content=said.rpartition")
EDITS: dict[str, tuple[Edit, list[str]]] = {
    "nothing at all": (both(), []),
    "a comment in every file": (comment, []),
    "every file laid out anew, comments dropped": (layout, []),
    "a docstring of a stage": (swap("pipeline/masking.py", '"""', '"""More. '), []),
    "a docstring of a family": (swap("renderers/families/qwen3.py", '"""', '"""More. '), []),
    "a brick renamed": (everywhere("offered", "told_of_tools", package="renderers/families"), []),
    "a function of a stage renamed": (everywhere("_why_nothing", "_nothing_because", package="pipeline"), []),
    "a function of a converter renamed": (everywhere("_conversations", "_told_by", package="pipeline/converting"), []),
    "a local renamed": (everywhere("counted", "tally", package="pipeline/scrubbing"), []),
    "a function moved out of a stage": (move("pipeline/masking.py", "_why_nothing", "pipeline/why.py"), []),
    "a function moved out of a family": (
        move("renderers/families/glm_4_5.py", "prepare", "renderers/families/glm_parts.py"),
        [],
    ),
    "what is remembered of the sources, damaged": (damaged, []),
    "a fix that leaves size and time of its file": (
        unseen("pipeline/masking.py", '"no_target"', '"no_torget"'),
        after("masked", *TARGETS),
    ),
    "an import moved to where it is needed": (
        both(
            swap("pipeline/masking.py", "import numpy as np\n", ""),
            swap("pipeline/masking.py", "    rows = [piece.row", "    import numpy as np\n\n    rows = [piece.row"),
        ),
        [],
    ),
    "a function of another library by the same name": (
        swap("pipeline/masking.py", "from collections import Counter", "from typing import Counter"),
        after("masked", *TARGETS),
    ),
    "a function that nobody calls": (add("pipeline/masking.py", "\n\ndef unused():\n    return 1\n"), []),
    "a module that nobody imports": (add("renderers/families/new.py", "TEMPLATE = None\n"), []),
    "what only reads, the parser": (add("renderers/parsing.py", "\n\nMORE = 1\n"), []),
    "a command": (add("pipeline/cli.py", "\n\nMORE = 1\n"), []),
    "the paid stage": (add("pipeline/collecting/__init__.py", "\n\nMORE = 1\n"), []),
    "a fix of GLM alone": (GLM, after("rendered", "glm")),
    "the fix undone, A to B to A": (both(GLM, UNDO), []),
    "a fix of Qwen3 alone": (
        swap("renderers/families/qwen3.py", 'after_content="\\n"', 'after_content=" "'),
        after("rendered", "qwen3"),
    ),
    "a fix of a brick that three families share": (
        swap("renderers/families/qwen3.py", *STRIP),
        after("rendered", "qwen3", "glm", "coder"),
    ),
    "a fix below all of them": (
        swap("renderers/segments.py", "if proof.verdict is PROVED}", "if not proof}"),
        after("rendered", *TARGETS),
    ),
    "a template bumped": (template, after("rendered", "traced")),
    "a tokenizer bumped": (vocabulary, after("rendered", "traced")),
    "Jinja bumped": (library("jinja2"), after("rendered", "traced")),
    "tokenizers bumped": (library("tokenizers"), after("rendered", *TARGETS)),
    "the finder of secrets bumped": (library("kingfisher-secret-scanner"), after("conversations", *TARGETS)),
    "a rule of the finder of secrets": (
        add("pipeline/scrubbing/rules.yaml", "# changed\n"),
        after("conversations", *TARGETS),
    ),
    "a policy flipped": (target("qwen3", policy="answers"), after("masked", "qwen3")),
    "another name for the same policy": (
        target("qwen3", train_on=["assistant"]),
        [],
    ),
    "a policy itself changed": (
        swap(
            "renderers/masking.py", '"assistant": LossPolicy("assistant")', '"assistant": LossPolicy("x", {Kind.STOP})'
        ),
        after("masked", *TARGETS),
    ),
    "a length": (target("glm", max_length=500), after("masked", "glm")),
    "a history": (target("coder", history="split"), after("rendered", "coder")),
    "a flag": (target("qwen3", flags={"enable_thinking": False}), after("rendered", "qwen3")),
    "a target added": (target("more", model="example", renderer="qwen3"), after("rendered", "more")),
    "scrubbing switched": (settings(scrub={"mode": "report"}), after("conversations", *TARGETS)),
    "a fix of a converter": (
        swap("pipeline/converting/pi_entries.py", "compacted into the following", "compacted into this"),
        after("conversations", *TARGETS),
    ),
    "a fix of how rows are rendered": (
        swap("pipeline/rendering.py", '"no_completion"', '"nothing_said"'),
        after("rendered", *TARGETS),
    ),
    "a fix of masking": (swap("pipeline/masking.py", '"no_target"', '"no_targets"'), after("masked", *TARGETS)),
    "a fix of an audit": (
        swap("pipeline/auditing/empty_target.py", "if case.masked is not None and", "if"),
        after("audits", *TARGETS),
    ),
    "the card": (add("pipeline/publishing/card.py", "\n\ncard = None\n"), ["publication"]),
    "the licence": (settings(publish={"license": "mit"}), ["publication"]),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_makes_stale_what_it_changes_and_nothing_else(
    name: str, before: dict[str, str], place: Place, judge: Judge
):
    edit, expected = EDITS[name]
    edit(*place)
    now = judge(*place)
    assert sorted(asset for asset in now if now[asset] != before.get(asset)) == sorted(expected)
    assert (now["prompts"], now["traces"]) == (before["prompts"], before["traces"]), "no edit makes paid work stale"
