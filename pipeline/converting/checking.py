"""Is what a session file tells what the model was sent? Asked of the recorder's last request for each window.

A request that says the same up to the window's last answer verifies it; then its system prompt and its tools are the
true ones, and replace what the file knows of them (many files know neither). Thoughts are not compared: most are
encrypted on the way. Bodies may be of the Responses API or of Chat Completions.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import chain, groupby
from typing import Any, NamedTuple

import msgspec

from pipeline.converting.codex_items import HostedCall, Thought, Tools, answer, read_item, sampled, told, tool_specs
from pipeline.converting.lines import NO_JSON
from pipeline.errors import TraceError
from pipeline.records import Conversation, Exchange, Flaw, Place
from renderers.messages import Content, Message, from_hub, text, tojson

VERIFIED = "verified"
UNREADABLE = (*NO_JSON, TraceError, msgspec.ValidationError, KeyError, TypeError, ValueError, AttributeError)
"""What a body that is no request raises."""


class Sent(NamedTuple):
    """A request, by what it says."""

    number: int
    first: Message | None
    """Its system prompt."""
    atoms: tuple[bytes, ...]
    """A hash for everything after that."""
    tools: tuple[dict[str, Any], ...]


class Recording:
    """What a recorder saw in one run. Requests repeat each other: each is read once, and only its hashes are kept."""

    def __init__(self, exchanges: Sequence[Exchange]):
        self.exchanges = exchanges
        self.read: dict[int, Sent | None] = {}

    def __iter__(self) -> Iterator[Sent]:
        """The requests that were answered, the last one first."""
        for number in reversed(range(len(self.exchanges))):
            if number not in self.read:
                self.read[number] = _sent(number, self.exchanges[number])
            if sent := self.read[number]:
                yield sent


def check(row: Conversation, recording: Recording) -> Conversation:
    """The conversation as the model saw it, `verified`; or as the file has it, and where the two part."""
    if not recording.exchanges:
        return row
    first, rest = _parted(row.messages)
    atoms = [(_hash(atom), index) for atom, index in _atoms(rest, 0 if first is None else 1)]
    hashes = tuple(digest for digest, _ in atoms)
    answers = [at for at, (_, index) in enumerate(atoms) if row.messages[index].role == "assistant"]
    nearest, parted = 0, 0
    for sent in recording:
        same = _common(sent.atoms, hashes)
        if same == len(sent.atoms) and answers and answers[-1] <= same:
            return _verified(row, sent, first)
        if same >= parted:
            nearest, parted = sent.number, same
    where = f"messages/{atoms[parted][1]}" if parted < len(atoms) else f"after messages/{len(row.messages) - 1}"
    return msgspec.structs.replace(row, checked=f"differs: {where} from request {nearest + 1}")


def _verified(row: Conversation, sent: Sent, first: Message | None) -> Conversation:
    """With the request's own system prompt and tools; what points at messages moves with them."""
    fields: dict[str, Any] = {"checked": VERIFIED, "tools": sent.tools, "tools_recorded": True}
    messages, places, moved = list(row.messages), list(row.places), 0
    if sent.first is not None and first is not None:
        messages[0] = sent.first
    elif sent.first is not None:
        moved = 1
        messages.insert(0, sent.first)
        places.insert(0, Place(f"request {sent.number + 1}", 1))
        fields["flaws"] = tuple(Flaw(flaw.message + moved, flaw.reason) for flaw in row.flaws)
        fields["unreadable"] = tuple(index + moved for index in row.unreadable)
    return msgspec.structs.replace(row, messages=tuple(messages), places=tuple(places), **fields)


def _common(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    same = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        same += 1
    return same


def _sent(number: int, exchange: Exchange) -> Sent | None:
    """The request, if it was answered and can be read."""
    if exchange.status != 200:
        return None
    try:
        body = msgspec.json.decode(exchange.request, type=dict[str, Any])
        messages, tools = _responses(body) if exchange.api == "responses" else _chat(body)
        first, rest = _parted(messages)
        return Sent(number, first, tuple(_hash(atom) for atom, _ in _atoms(rest, 0)), tools)
    except UNREADABLE:
        return None


def _parted(messages: Sequence[Message]) -> tuple[Message | None, Sequence[Message]]:
    """The system prompt, and what is said after it."""
    if messages and messages[0].role in ("system", "developer"):
        return messages[0].but(role="system"), messages[1:]
    return None, messages


def _responses(body: Mapping[str, Any]) -> tuple[list[Message], tuple[dict[str, Any], ...]]:
    place = Place("request", 1)
    given = body.get("input") or []
    given = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given
    raw = (
        msgspec.Raw(msgspec.json.encode({"type": "message", **one}))
        for one in given
        if one.get("type") != "item_reference"
    )
    items = [item for one in raw if not isinstance(item := read_item(one, place), str)]
    messages = [Message("system", body["instructions"])] if body.get("instructions") else []
    for own, run in groupby((item for item in items if not isinstance(item, Tools)), sampled):
        shown = [item for item in run if not isinstance(item, Thought | HostedCall)]
        if own:
            messages += [answer([item]) for item in shown]
        else:
            messages += [told(item, place) for item in shown]  # pyright: ignore[reportArgumentType]
    declared = chain(body.get("tools") or [], *(item.tools for item in items if isinstance(item, Tools)))
    return messages, tuple(tool_specs(declared))


def _chat(body: Mapping[str, Any]) -> tuple[list[Message], tuple[dict[str, Any], ...]]:
    messages = from_hub(_in_functions(message) for message in body["messages"])
    return list(messages), tuple(_function(tool) for tool in body.get("tools") or ())


def _in_functions(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message whose custom calls are wrapped as everywhere here."""
    calls = [
        {
            "id": call["id"],
            "name": call["custom"]["name"],
            "arguments": tojson({"input": call["custom"]["input"]}),
        }
        if call.get("type") == "custom"
        else call
        for call in message.get("tool_calls") or ()
    ]
    return {**message, "tool_calls": calls}


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    return dict(tool) if tool.get("type") != "custom" else next(tool_specs([{**tool["custom"], "type": "custom"}]))


def _atoms(messages: Sequence[Message], start: int) -> Iterator[tuple[Any, int]]:
    """Everything that is said, after the index of its message; answers in a row are one, however they were parted."""
    numbered = enumerate(messages, start)
    for own, run in groupby(numbered, lambda one: one[1].role == "assistant"):
        group = list(run)
        if not own:
            yield from ((_told(message), index) for index, message in group)
            continue
        calls = [
            (call.id, call.name, _canonical(call.arguments)) for _, message in group for call in message.tool_calls
        ]
        said = "\n\n".join(text(message.content) for _, message in group if message.content)
        yield ("assistant", said, calls), group[0][0]


def _told(message: Message) -> Any:
    role = "system" if message.role == "developer" else message.role
    return role, _content(message.content), message.tool_call_id


def _content(content: Content) -> list[tuple[str, str, str]]:
    if isinstance(content, str):
        return [("text", content, "")] if content else []
    return [(part.kind, part.text, part.source) for part in content if part.kind != "text" or part.text]


def _canonical(arguments: str) -> str:
    """Arguments that say the same spell the same: some agents spell them again."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


def _hash(atom: Any) -> bytes:
    return blake2b(json.dumps(atom).encode(), digest_size=12).digest()
