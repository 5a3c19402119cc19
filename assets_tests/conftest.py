"""What every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference folder: official tokenizers, goldens, recorded traces. Found by TRACEMILL_REFERENCE, else beside the checkout."""
    named = os.environ.get("TRACEMILL_REFERENCE")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "goldens").is_dir():
        pytest.skip("no reference folder: set TRACEMILL_REFERENCE")
    return folder
