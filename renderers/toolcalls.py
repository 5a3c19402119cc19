"""Tool calls on the wire: one pattern writes a call and reads it back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from renderers.messages import Message, ToolCall, text
from renderers.patterns import fill, given, pieces, take
from renderers.segments import Kind, Segment


@dataclass(frozen=True)
class Call:
    """A call whose arguments are one JSON text, verbatim: places `{name}` and `{arguments}`."""

    pattern: str

    def write(self, index: int, position: int, call: ToolCall) -> Iterator[Segment]:
        origin = ("messages", index, "tool_calls", position, "function")
        data = {"name": given(call.name, *origin, "name"), "arguments": given(call.arguments, *origin, "arguments")}
        return fill(self.pattern, index, Kind.TOOL_CALL, Kind.TOOL_CALL, **data)

    def read(self, text: str) -> tuple[ToolCall, int] | None:
        """The call at the start of a text, and where it ends."""
        found = take(self.pattern, text)
        return found and (ToolCall(**found[0]), found[1])

    @property
    def lead(self) -> str:
        """The words that every call begins with."""
        return pieces(self.pattern)[0]


@dataclass(frozen=True)
class Calls:
    """Where tool calls stand in what the assistant writes."""

    call: Call
    after_content: str = ""
    between: str = ""

    def write(self, index: int, message: Message) -> Iterator[Segment]:
        for position, call in enumerate(message.tool_calls):
            lead = self.between if position else self.after_content * bool(text(message.content))
            if lead:
                yield Segment(lead, Kind.TOOL_CALL, index)
            yield from self.call.write(index, position, call)

    def read(self, text: str, mark: str) -> tuple[str, list[ToolCall], list[str]]:
        """What stands before the calls, the calls, and what cannot be read as one.

        `mark` is what surely begins a call.
        """
        before, *chunks = text.split(mark)
        if not chunks:
            return text, [], []
        calls, broken = [], []
        for chunk in chunks:
            call, end = self.call.read(mark + chunk) or (None, 0)
            rest = (mark + chunk)[end:]
            calls += [call] if call else []
            broken += [rest] if rest.strip() else []
        return before.removesuffix(self.after_content), calls, broken

    def worded(self, change: Callable[[str], str]) -> "Calls":
        """The same with every pattern changed."""
        return Calls(Call(change(self.call.pattern)), change(self.after_content), change(self.between))
