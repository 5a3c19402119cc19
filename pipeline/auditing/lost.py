"""Everything that was said is in the text: read back from the stored ids, not asked of the renderer."""

from collections.abc import Iterator
from typing import Any

from pipeline.auditing.case import KINDS, Case, Remark, error, warning
from pipeline.auditing.fields import Field, function_of, holds, missing, says
from renderers.messages import tojson
from renderers.segments import Kind

TOOLS = KINDS.index(Kind.TOOLS)


def lost(case: Case) -> Iterator[Remark]:
    """Every field of every message and every tool spec is found in the decoded text."""
    dropped: dict[str, list[int]] = {}
    for index, message in enumerate(case.conversation.messages):
        learned = index in case.trained_messages
        for field in missing(message, case.text(case.messages == index)):
            if learned:
                yield error(f"{field.path} is not in the text of this learned turn", index)
            else:
                dropped.setdefault(field.path, []).append(index)
    for path, indices in dropped.items():
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
    """What the renderer itself says is lost is not learned."""
    learned = set(map(str, case.trained_messages))
    for place in case.rendered.lost:
        part, _, rest = place.partition("/")
        index = rest.partition("/")[0]
        if part == "messages" and index in learned:
            yield error(f"the renderer lost {place}, and its turn is learned", int(index))


def _specs(case: Case) -> Iterator[Remark]:
    specs = [function_of(spec) for spec in case.conversation.tools]
    text = case.text((case.messages == -1) | (case.kinds == TOOLS)) if specs else ""
    untold = [str(spec.get("name")) for spec in specs if not _told(text, spec)]
    if untold:
        yield warning(f"{len(untold)} of {len(specs)} tool specs are not in the text: {', '.join(untold[:8])}")


def _told(text: str, spec: dict[str, Any]) -> bool:
    """As JSON; or, where a template writes specs its own way, its name, description and parameters."""
    if holds(text, Field("tool", tojson(spec))):
        return True
    words = [spec.get("name"), spec.get("description"), *_below(_below(spec, "parameters"), "properties")]
    return all(says(text, word) for word in words if isinstance(word, str))


def _below(data: dict[str, Any], key: str) -> dict[str, Any]:
    return data[key] if isinstance(data.get(key), dict) else {}
