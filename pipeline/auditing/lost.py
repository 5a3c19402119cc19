"""Everything that was said is in the text: read back from the stored ids, not asked of the renderer.

What came after the model's last message is not in the row. What is lost of an assistant message makes its turn
untrainable, unless it is trusted, and no more: inference sees history without its reasoning, too. What is lost of
anything that the model was told should have been rejected by rendering.
"""

from collections.abc import Iterator
from typing import Any

from pipeline.auditing.case import KINDS, Case, Remark, error, warning
from pipeline.auditing.fields import Field, function_of, holds, missing, says
from renderers.messages import tojson
from renderers.segments import Kind

TOOLS = KINDS.index(Kind.TOOLS)


def lost(case: Case) -> Iterator[Remark]:
    """Every field of every message and every tool spec is found in the decoded text."""
    untrained: dict[str, list[int]] = {}
    for index, message in enumerate(case.told):
        harmless = index not in case.proved_messages if message.role == "assistant" else not case.trained.any()
        for field in missing(message, case.text(case.messages == index)):
            if harmless:
                untrained.setdefault(field.path, []).append(index)
            else:
                yield error(f"{field.path} of this {message.role} message is not in the text", index)
    for path, indices in untrained.items():
        yield warning(_untold(path, indices, case), indices[0])
    yield from _promised(case)
    yield from _specs(case)


def _untold(path: str, indices: list[int], case: Case) -> str:
    gone = f"{path} of {_named(indices)} is not in the text"
    reported = {place.split("/")[1] for place in case.rendered.lost if place.startswith("messages/")}
    silent = [index for index in indices if str(index) not in reported]
    return f"{gone}; the renderer did not report {_named(silent)}" if silent else gone


def _named(indices: list[int], *, limit: int = 8) -> str:
    """`message 3`, `messages 3, 5, 7`, `12 messages (3, 5, 7, …)`."""
    if len(indices) == 1:
        return f"message {indices[0]}"
    listed = ", ".join(map(str, indices[:limit]))
    return f"messages {listed}" if len(indices) <= limit else f"{len(indices)} messages ({listed}, …)"


def _promised(case: Case) -> Iterator[Remark]:
    """What the renderer itself says is lost is not trained."""
    trained = set(map(str, case.proved_messages))
    for place in case.rendered.lost:
        part, _, rest = place.partition("/")
        index = rest.partition("/")[0]
        if part == "messages" and index in trained:
            yield error(f"the renderer lost {place}, and its turn is trained", int(index))


def _specs(case: Case) -> Iterator[Remark]:
    specs = [function_of(spec) for spec in case.conversation.tools]
    text = case.text((case.messages == -1) | (case.kinds == TOOLS)) if specs else ""
    untold = [spec for spec in specs if not says(text, str(spec.get("name", "")))]
    if untold:
        say = error if case.trained.any() else warning
        yield say(f"{_counted(untold, specs)} are not in the text")
    shortened = [spec for spec in specs if spec not in untold and not _whole(text, spec)]
    if shortened:
        yield warning(f"{_counted(shortened, specs)} are told in part")


def _counted(some: list[dict[str, Any]], specs: list[dict[str, Any]], *, limit: int = 8) -> str:
    names = ", ".join(str(spec.get("name")) for spec in some[:limit])
    return f"{len(some)} of {len(specs)} tool specs ({names}{', …' if len(some) > limit else ''})"


def _whole(text: str, spec: dict[str, Any]) -> bool:
    """As JSON; or, where a template writes specs its own way, its description and the names of its parameters."""
    words = [spec.get("description"), *_below(_below(spec, "parameters"), "properties")]
    return holds(text, Field("tool", tojson(spec))) or all(says(text, word) for word in words if isinstance(word, str))


def _below(data: dict[str, Any], key: str) -> dict[str, Any]:
    return data[key] if isinstance(data.get(key), dict) else {}
