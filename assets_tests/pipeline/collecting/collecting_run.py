"""Collects a batch in a process of its own, to be killed: `python collecting_run.py SETTINGS FOLDER PROMPTS`."""

import json
import sys
from pathlib import Path

import msgspec

from pipeline.collecting.agent import World
from pipeline.collecting.collect import Finished, collect
from pipeline.converting import FORMATS
from pipeline.records import Prompt
from pipeline.resources.journal import Journal
from pipeline.resources.sites import Sites
from pipeline.settings import Collection

if __name__ == "__main__":
    settings, folder = Collection.model_validate(json.loads(sys.argv[1])), Path(sys.argv[2])
    prompts = msgspec.json.decode(sys.argv[3], type=list[Prompt])
    finished = Finished.of(Journal(folder / "journal"), (), None)
    for _ in collect(prompts, World(folder, FORMATS, settings), finished, Sites(settings).open):
        pass
