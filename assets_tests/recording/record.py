"""Records the example's sessions: real Codex and Pi at work on small tasks; the model says what a script says.

What is real: the agents, their session files, every tool result. What we wrote: the tasks, the repositories they work
in (`repositories.yaml`), and every word of the model (`cases/`). A case is one file; its folder is its batch.

    python -m assets_tests.recording.record                       # all, into pipeline/example/prompts
    python -m assets_tests.recording.record --only code_mode      # these cases; others keep the sessions they have
    python -m assets_tests.recording.record --cache ~/.cache/x    # keep the installed agents (half a gigabyte)

Needs npm, git and Linux; takes half a minute, and about as long again to install the agents. The sessions are stored
byte for byte as the agents wrote them. One more in each batch is cut on purpose, and its row says so: the demo shows
what becomes of a trace that cannot be read.

Other people's words in the sessions: what Codex (Apache-2.0) tells a model about its sandbox, its surroundings, an
interruption and a compaction, and its specification of the code-mode tools; Pi's (MIT) tool specifications. The system
prompts are ours.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assets_tests.recording.agents import MODEL, Agent, Codex, Pi, surroundings
from assets_tests.recording.model import Reply, ScriptedModel

HERE = Path(__file__).parent
PROMPTS = HERE.parents[1] / "pipeline/example/prompts"
PLACE = Path("/tmp/tracemill-example")
"""Where the agents work: the path stands in the sessions, so it is the same on every machine."""
AGENTS: dict[str, type[Codex] | type[Pi]] = {"codex_tasks": Codex, "pi_tasks": Pi}
DAMAGED, DAMAGE_OF = "damaged", "one_command"
"""The session that is cut in the middle, and the case it is a copy of."""
RESULTS = (b'"function_call_output"', b'"toolResult"')
PATIENCE = 60
"""Seconds that one step may take."""
COMMAND_STARTED = 2.0
"""Seconds after the last word of the model: by then its command runs."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run of the agent."""

    prompt: str
    interrupted: bool = False
    """Stopped while the command runs that the last reply asks for."""


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A task, and what the model says to it."""

    task: str
    """What the case shows, in a few words."""
    repository: str
    """A row of `repositories.yaml`."""
    steps: tuple[Step, ...]
    """The first starts a session, the others resume it."""
    replies: tuple[Reply, ...]
    model: str = MODEL
    compact_above: int = 0
    """Tokens; the reply after the one that tells of more of them is the summary."""


@dataclass(frozen=True)
class Recorder:
    """An agent, and the place where it works."""

    agent: Agent
    place: Path
    repositories: dict[str, dict[str, str]]

    def record(self, case: Case) -> bytes:
        """The session of one case."""
        self.lay_out(self.repositories[case.repository])
        with ScriptedModel(case.replies) as model:
            self.agent.configure(model.url, compact_above=case.compact_above)
            for number, step in enumerate(case.steps):
                self.run(step, model, self.agent.command(step.prompt, model=case.model, resume=number > 0))
        if len(model.requests) != len(case.replies):
            asked = f"the model was asked {len(model.requests)} times, not {len(case.replies)}"
            raise SystemExit(f"{case.task}: {asked}; {self.place}/home/log has what the agent printed")
        (session,) = self.agent.sessions()
        return session.read_bytes()

    def lay_out(self, files: dict[str, str]) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        for folder in ("home/tmp", "agent"):
            (self.place / folder).mkdir(parents=True)
        for name, text in files.items():
            path = self.place / "work" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for command in ("init -q -b main", "add .", "commit -q -m Start"):
            git = ["git", "-c", "user.name=Tracemill", "-c", "user.email=tracemill@example.org", *command.split()]
            subprocess.run(git, cwd=self.place / "work", env=surroundings(self.place / "home"), check=True)

    def run(self, step: Step, model: ScriptedModel, command: list[str]) -> None:
        environment = {**surroundings(self.place / "home"), **self.agent.environment()}
        place = {"cwd": self.place / "work", "env": environment, "stdin": subprocess.DEVNULL}
        with (
            (self.place / "home/log").open("ab") as log,
            subprocess.Popen(command, **place, stdout=log, stderr=log) as process,
        ):
            if step.interrupted:
                model.spoken.wait(PATIENCE)
                time.sleep(COMMAND_STARTED)
                process.send_signal(self.agent.stop)
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()


def damage(session: bytes) -> tuple[bytes, int]:
    """The session with its first tool result cut in half, and the number of that line."""
    lines = session.split(b"\n")
    at = next(k for k, line in enumerate(lines) if any(word in line for word in RESULTS))
    lines[at] = lines[at][: len(lines[at]) // 2]
    return b"\n".join(lines), at + 1


def rows(batch: str, cases: dict[str, Case], cut: int) -> list[dict[str, object]]:
    """The batch file: one prompt a session."""

    def row(name: str, case: Case, **metadata: object) -> dict[str, object]:
        follow_up = {"follow_up": [step.prompt for step in case.steps[1:]]} if case.steps[1:] else {}
        source = {"agent": "replay", "format": AGENTS[batch].format, "session": f"sessions/{batch}/{name}.jsonl"}
        return {"prompt": case.steps[0].prompt, **source, "metadata": {"task": case.task, **follow_up, **metadata}}

    told = [row(name, case) for name, case in cases.items()]
    why = {"task": "A damaged file: to be rejected", "copy_of": DAMAGE_OF, "damage": f"line {cut} is cut in half"}
    return [*told, row(DAMAGED, cases[DAMAGE_OF], **why)]


def record_batch(batch: str, recorder: Recorder, only: list[str]) -> None:
    sessions = PROMPTS / "sessions" / batch
    sessions.mkdir(parents=True, exist_ok=True)
    files = sorted((HERE / "cases" / batch).glob("*.yaml"))
    cases = {file.stem: msgspec.yaml.decode(file.read_bytes(), type=Case) for file in files}
    for name in only or cases:
        if name in cases:
            (sessions / f"{name}.jsonl").write_bytes(recorder.record(cases[name]))
            print(f"{batch}/{name}: {(sessions / f'{name}.jsonl').stat().st_size:,} bytes")
    cut, line = damage((sessions / f"{DAMAGE_OF}.jsonl").read_bytes())
    (sessions / f"{DAMAGED}.jsonl").write_bytes(cut)
    told = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(batch, cases, line)]
    (PROMPTS / f"{batch}.jsonl").write_text("".join(told), encoding="utf-8")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "tracemill-agents", help="%(default)s"
    )
    cases = sorted({file.stem for file in HERE.glob("cases/*/*.yaml")})
    asked.add_argument("--only", nargs="+", default=[], metavar="CASE", choices=cases, help=", ".join(cases))
    options = asked.parse_args()
    repositories = msgspec.yaml.decode((HERE / "repositories.yaml").read_bytes(), type=dict[str, dict[str, str]])
    for batch, agent in AGENTS.items():
        recorder = Recorder(agent.installed(options.cache, PLACE / "agent"), PLACE, repositories)
        record_batch(batch, recorder, options.only)
    shutil.rmtree(PLACE)


if __name__ == "__main__":
    main()
