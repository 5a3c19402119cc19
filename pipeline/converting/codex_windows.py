"""Which context window the lines of a Codex rollout belong to.

The history is what `response_item` lines hold. `event_msg` lines mirror them for the screen: they say how a turn ended,
what was taken back, in old files where a response ended, and nothing else.
"""

from collections.abc import Iterator
from enum import Enum

import msgspec

from pipeline.converting.codex_items import HostedCall, Item, Kinds, Said, read_item
from pipeline.converting.codex_lines import Lines, Survey, outcome
from pipeline.converting.codex_shapes import Compacted, Event, TurnContext
from pipeline.converting.lines import at, decode, refused
from pipeline.records import Place

REPLACED = "/payload/replacement_history"
"""Where a compaction says what it left."""


INJECTED = ("<environment_context>", "<user_instructions>", "# AGENTS.md instructions", "<permissions instructions>")
INJECTED += ("<turn_aborted>", "<subagent_notification>", "<user_shell_command>", "<skill>")
"""How texts begin that Codex says through the user's role, in files that do not say who wrote them."""


class Mark(Enum):
    """What stands between items."""

    END = "a response ends"
    CUT = "the token limit ended it"


Placed = tuple[Place, Item | Mark]


class Window(msgspec.Struct):
    """One context window, or one branch of it."""

    model: str | None = None
    items: list[Placed] = []
    last: bool = False


def windows(lines: Lines, found: Survey) -> Iterator[Window]:
    """What each context window tells: a compaction replaces the history so far, a rollback leaves a branch."""
    window = Window(items=[])
    for place, line in lines:
        payload = line.payload
        if line.type == "response_item" and not (line.metadata and line.metadata.compaction_output):
            _add(payload, place, window, found)
        elif line.type == "compacted":
            yield window
            window = Window(model=window.model, items=[])
            for number, item in enumerate(_replacement(payload, place)):
                _add(item, at(place, f"{REPLACED}/{number}"), window, found)
            window.items.append((place, Mark.END))
        elif line.type == "turn_context":
            window.model = decode(payload, TurnContext, place).model or window.model
        elif line.type == "token_usage_record":
            window.items.append((place, Mark.END))
        elif line.type == "event_msg":
            event = decode(payload, Event, place)
            if event.type == "thread_rolled_back":
                yield window
                window = Window(model=window.model, items=_before(window.items, event.num_turns))
            window.items += [(place, mark) for mark in _marks(event, counted=found.counted)]
    window.last = True
    yield window


def _marks(event: Event, *, counted: bool) -> Iterator[Mark]:
    """In files without usage records the token count of a response ends it."""
    if not counted and event.type == "token_count" and bytes(event.info) != b"null":
        yield Mark.END
    if outcome(event) == "length":
        yield Mark.CUT


def _add(payload: msgspec.Raw, place: Place, window: Window, found: Survey) -> None:
    item = read_item(payload, place)
    if isinstance(item, str):
        found.uncounted[item] += 1
        return
    if isinstance(item, HostedCall):
        found.uncounted[item.kind] += 1
    window.items.append((place, item))


def _replacement(payload: msgspec.Raw, place: Place) -> list[msgspec.Raw]:
    history = decode(payload, Compacted, place).replacement_history
    if history is None:
        raise refused("lost_history", place, "what this compaction left is not recorded; what came before is told")
    return history


def _before(items: list[Placed], turns: int) -> list[Placed]:
    """The history without its last turns, nor the context that was injected right before the first of them."""
    asked = [index for index, (_, item) in enumerate(items) if isinstance(item, Said) and _asks(item)]
    if turns <= 0 or not asked:
        return list(items)
    cut = asked[max(len(asked) - turns, 0)]
    while cut > asked[0] and _injected(items[cut - 1][1]):
        cut -= 1
    return items[:cut]


def _injected(item: Item | Mark) -> bool:
    return isinstance(item, Said) and item.role in ("developer", "user") and not _asks(item)


def _asks(item: Said) -> bool:
    """Whether the user wrote it, and not Codex in the user's role."""
    if item.role != "user":
        return False
    kinds = (item.internal_chat_message_metadata_passthrough or Kinds()).content_item_kinds
    if kinds:
        return any(b'"user' in bytes(kind) for kind in kinds)
    text = item.content if isinstance(item.content, str) else "".join(piece.text for piece in item.content[:1])
    return not text.lstrip().startswith(INJECTED)
