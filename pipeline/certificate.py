"""`tracemill certify`: what a model's chat template does with conversations, as a card for the terminal or as JSON."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import msgspec
from hypothesis.configuration import set_hypothesis_home_dir
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.errors import SettingsError
from pipeline.loading import COMMIT, load_tokenizer
from pipeline.targets import Target
from renderers import loading
from renderers.certifying.card import Finding, certify
from renderers.errors import RendererError
from renderers.hub import to_hub
from renderers.messages import Message, Request, text
from renderers.registry import create_renderer
from renderers.tokenizer import Tokenizer
from renderers.tracing.witness import TracedTemplate


class OutOfTime(KeyboardInterrupt):
    """Raised from outside, wherever a template is; nobody but us may catch it."""


def certificate(target: Target, *, limit: float) -> list[Finding]:
    """The findings on a target's chat template.

    limit: seconds of processor time. A model of the Hub is asked as it is now, if no commit is named.
    Raises SettingsError where there is no chat template, or it takes longer.
    """
    try:
        witness = create_renderer(_tokenizer(target), "traced").witness
        assert isinstance(witness, TracedTemplate), "it was asked for"
        with _at_most(limit), TemporaryDirectory() as scratch:
            set_hypothesis_home_dir(scratch)
            return list(certify(witness))
    except RendererError as error:
        raise SettingsError(f"{target.model}: {error}") from error
    except OutOfTime as error:
        raise SettingsError(
            f"{target.model}: its chat template took longer than {limit:g} s, and was stopped; `--limit` gives it more"
        ) from error


def _tokenizer(target: Target) -> Tokenizer:
    kept = target.model == "example" or Path(target.model).is_dir() or COMMIT.fullmatch(target.revision or "")
    return load_tokenizer(target) if kept else loading.load_tokenizer(target.model, revision=target.revision)


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """An alarm after so much processor time, where the system has one: a template may loop for ever."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 1)  # again each second: an alarm may ring where Python ignores it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def print_certificate(console: Console, model: str, findings: Sequence[Finding]) -> None:
    """The findings as a table, each with its conversation, a message a line."""
    table = Table("", "answer", "smallest conversation", title=escape(model), box=box.SIMPLE_HEAD, show_lines=True)
    for finding in findings:
        color = "red" if finding.answer.startswith(("no", "dropped", "refused")) else ""
        table.add_row(
            finding.question, f"[{color or 'default'}]{escape(finding.answer)}[/]", escape(spelled(finding.shown))
        )
    console.print(table)


def spelled(shown: Request) -> str:
    """A conversation, a message a line."""
    tools = ", ".join(tool["function"]["name"] for tool in shown.tools)
    return "\n".join([*([f"tools: {tools}"] if tools else []), *map(_line, shown.messages)])


def _line(message: Message) -> str:
    said = [f"(thinks {message.reasoning!r})"] if message.reasoning else []
    said += [repr(text(message.content))] if message.content else []
    said += [f"calls {call.name}({call.arguments})" for call in message.tool_calls]
    parts = "" if isinstance(message.content, str) else f" in {len(message.content)} parts"
    return f"{message.role}{parts}: {' '.join(said)}"


def to_json(model: str, findings: Sequence[Finding]) -> str:
    """The findings as JSON; conversations have the Hub's shape."""
    told = [
        {
            "question": finding.question,
            "answer": finding.answer,
            "messages": to_hub(finding.shown.messages),
            "tools": finding.shown.tools,
            "text": finding.text,
        }
        for finding in findings
    ]
    return msgspec.json.format(msgspec.json.encode({"model": model, "findings": told}), indent=2).decode()
