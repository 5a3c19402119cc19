"""The scripted model, for tests that talk to it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def model() -> ModuleType:
    """The module `model.py` beside this file: no package holds it."""
    found = importlib.util.spec_from_file_location("recording_model", Path(__file__).parent / "model.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
