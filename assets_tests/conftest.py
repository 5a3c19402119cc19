"""What every test may use: the reference folder, and the official tokenizers in it."""

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
HUB = {"qwen3": "Qwen/Qwen3-8B", "qwen2.5": "Qwen/Qwen2.5-7B-Instruct", "smollm3": "HuggingFaceTB/SmolLM3-3B"}
"""Where an official tokenizer is had when there is no reference folder."""
CACHE = Path.home() / ".cache" / "tracemill-tests"
"""What takes long to make, under a hash of what it is made of."""

settings.register_profile("the same everywhere", derandomize=True, deadline=None, database=None)
settings.load_profile("the same everywhere")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write goldens again: the git diff is the review")
    parser.addoption("--examples", type=int, default=25, help="generated cases a family, where a law is asked of many")
    parser.addoption("--host", action="store_true", help="run agents on this machine itself, engine or not")


@pytest.fixture(scope="session")
def examples(request) -> int:
    """How many generated cases a family a law is asked of."""
    return request.config.getoption("--examples")


def reference() -> Path | None:
    """Official tokenizers, goldens and recorded traces: TRACEMILL_REFERENCE, else beside the checkout."""
    folder = Path(os.environ.get("TRACEMILL_REFERENCE", ROOT.parent / "shared"))
    return folder if (folder / "goldens").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = reference()
    if folder is None:
        pytest.skip("no reference folder: set TRACEMILL_REFERENCE")
    return folder


@pytest.fixture(scope="session")
def official() -> Callable[[str], Path]:
    """family -> folder with its tokenizer files and chat template; skips where it cannot be had."""
    folder = reference()
    found = unpacked(folder / "tokenizers.tar.xz") if folder else None

    def find(family: str) -> Path:
        if found:
            return found / family
        try:
            return Path(snapshot_download(HUB[family], allow_patterns=["*token*.json", "*.jinja"]))
        except (KeyError, OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            pytest.skip(f"{family}: no reference folder, and the Hub does not answer ({type(error).__name__})")

    return find


def unpacked(archive: Path) -> Path:
    """The archive's content, unpacked once: workers may race, the first rename wins."""
    place = ROOT / ".cache" / f"tokenizers-{archive.stat().st_size}"
    if not place.is_dir():
        place.parent.mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=place.parent))
        with tarfile.open(archive) as packed:
            packed.extractall(fresh, filter="data")
        try:
            fresh.rename(place)
        except OSError:
            shutil.rmtree(fresh)
    return place / "tokenizers"


@pytest.fixture(scope="session")
def environment() -> Callable[..., Path]:
    """(requirements, …) -> the Python of an environment with these, made once; skips where they cannot be had."""

    def make(*requirements: str) -> Path:
        told = blake2b("\n".join((sys.version, *sorted(requirements))).encode(), digest_size=8).hexdigest()
        place = CACHE / f"environment-{told}"
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (place / "whole").exists():
                shutil.rmtree(place, ignore_errors=True)
                _install(place, requirements)
        return place / "bin" / "python"

    return make


def _install(place: Path, requirements: tuple[str, ...]) -> None:
    """A virtual environment at its own place: it cannot be moved, so a file says when it is whole."""
    try:
        subprocess.run([sys.executable, "-m", "venv", place], check=True, capture_output=True, text=True, timeout=120)
        ask = [place / "bin" / "python", "-m", "pip", "install", "--quiet", *requirements]
        subprocess.run(ask, check=True, capture_output=True, text=True, timeout=900)
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        pytest.skip(f"{', '.join(requirements)} cannot be had: {told.strip().splitlines()[-1]}")
    (place / "whole").touch()
