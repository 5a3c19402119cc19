"""Agents, a row each, and the stage that has them work."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pipeline.collecting import replay
from pipeline.collecting.replay import Format
from pipeline.records import Prompt, Reject, Trace

AGENTS = {"replay": replay.collect}


def collect(prompts: Iterable[Prompt], folder: Path, formats: Mapping[str, Format]) -> Iterator[Trace | Reject]:
    """The traces of each prompt. `folder` is the batch file's; `formats` are `converting.FORMATS`."""
    for prompt in prompts:
        if prompt.agent in AGENTS:
            yield from AGENTS[prompt.agent](prompt, folder, formats)
        else:
            known = ", ".join(AGENTS)
            detail = f"line {prompt.line}:agent: {prompt.agent!r} is none of {known}; set one of them"
            yield Reject(id=prompt.id, stage="traces", reason="unknown_agent", detail=detail)
