"""Is what a session file tells what the model was sent? Asked of the recorder's last request for each window.

A request that says the same up to the window's last answer verifies it; then its system prompt and its tools are the
true ones, and replace what the file knows of them (many files know neither). Thoughts are not compared: most are
encrypted on the way. Bodies may be of the Responses API, of Chat Completions or of the Messages API.

Claude Code reminds its model of this and that beside what the user says, and its files do not tell: reminders are not
compared, and a conversation that is verified has them where the request had them.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import chain, groupby
from typing import Any, NamedTuple

import msgspec

from pipeline.converting.claude_entries import Block, Said, blocks_of, heard
from pipeline.converting.claude_entries import answer as blocks_answer
from pipeline.converting.codex_items import HostedCall, Thought, Tools, answer, read_item, sampled, told, tool_specs
from pipeline.converting.lines import NO_JSON
from pipeline.errors import TraceError
from pipeline.records import Conversation, Exchange, Flaw, Place
from renderers.hub import from_hub
from renderers.messages import Content, Message, text, tojson

VERIFIED = "verified"
REMINDER = "<system-reminder>"
SYSTEM = ("system", "developer")
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
    reminds: bool

    @property
    def place(self) -> Place:
        return Place(f"request {self.number + 1}", 1)


class Asked(msgspec.Struct, frozen=True):
    """A request of the Messages API."""

    messages: list[Said]
    system: str | list[Block] = ""
    tools: list[dict[str, Any]] = []


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
            true = _verified(row, sent, first)
            reminds = sent.reminds or any(map(_reminding, rest))
            return _reminded(true, sent, recording.exchanges) if reminds else true
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
        places.insert(0, sent.place)
        fields |= _moved(row, lambda index: index + moved)
    return msgspec.structs.replace(row, messages=tuple(messages), places=tuple(places), **fields)


def _reminded(row: Conversation, sent: Sent, exchanges: Sequence[Exchange]) -> Conversation:
    """A verified conversation with the request's reminders: all that is not the model's is as it was sent."""
    told: list[tuple[Message, Place]] = []
    moved: dict[int, int] = {}
    start = sum(message.role in SYSTEM for message in row.messages[:1])
    index = 0

    def keep(message: Message | None = None) -> None:
        nonlocal index
        moved[index] = len(told)
        told.append((message or row.messages[index], row.places[index]))
        index += 1

    while index < start:
        keep()
    for message in _parted(_read(exchanges[sent.number])[0])[1]:
        if _reminds(message):
            told.append((message, sent.place))
            continue
        while index < len(row.messages) and _reminds(row.messages[index]):
            index += 1
        if message.role != "assistant":
            keep(message)
        while message.role == "assistant" and index < len(row.messages) and row.messages[index].role == "assistant":
            keep()
    while index < len(row.messages):
        keep()
    messages, places = zip(*told, strict=True)
    return msgspec.structs.replace(row, messages=messages, places=places, **_moved(row, moved.__getitem__))


def _moved(row: Conversation, to: Callable[[int], int]) -> dict[str, Any]:
    """What points at messages, where they are now."""
    flaws = tuple(Flaw(to(flaw.message), flaw.reason) for flaw in row.flaws)
    return {"flaws": flaws, "unreadable": tuple(map(to, row.unreadable))}


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
        messages, tools = _read(exchange)
        first, rest = _parted(messages)
        reminds = any(map(_reminding, rest))
        return Sent(number, first, tuple(_hash(atom) for atom, _ in _atoms(rest, 0)), tools, reminds)
    except UNREADABLE:
        return None


def _read(exchange: Exchange) -> tuple[list[Message], tuple[dict[str, Any], ...]]:
    """Messages and tools of a request. Raises whatever is UNREADABLE."""
    if exchange.api == "messages":
        return _messages(msgspec.json.decode(exchange.request, type=Asked))
    body = msgspec.json.decode(exchange.request, type=dict[str, Any])
    return _responses(body) if exchange.api == "responses" else _chat(body)


def _parted(messages: Sequence[Message]) -> tuple[Message | None, Sequence[Message]]:
    """The system prompt, and what is said after it."""
    if messages and messages[0].role in SYSTEM:
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


def _messages(asked: Asked) -> tuple[list[Message], tuple[dict[str, Any], ...]]:
    place = Place("request", 1)
    system = "".join(block.text for block in blocks_of(asked.system))
    messages = [Message("system", system)] if system else []
    for said in asked.messages:
        own = said.role == "assistant"
        messages += [blocks_answer(blocks_of(said.content), place)] if own else [one for one, _ in heard(said, place)]
    functions = (
        {"name": tool["name"], "description": tool.get("description") or "", "parameters": tool["input_schema"]}
        for tool in asked.tools
        if "input_schema" in tool
    )
    return messages, tuple({"type": "function", "function": function} for function in functions)


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
    numbered = ((index, message) for index, message in enumerate(messages, start) if not _reminds(message))
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
    content = _content(message.content)
    if _reminding(message):
        content = [part for part in content if not part[1].startswith(REMINDER)]
    return role, content, message.tool_call_id


def _reminding(message: Message) -> bool:
    """Whether the harness speaks: in between, or in the user's name."""
    said = message.role == "user" and any(part[1].startswith(REMINDER) for part in _content(message.content))
    return said or message.role == "system"


def _reminds(message: Message) -> bool:
    """Whether nobody else does."""
    whole = message.role == "system" or all(part[1].startswith(REMINDER) for part in _content(message.content))
    return whole and _reminding(message)


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
