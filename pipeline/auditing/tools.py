"""A call to a tool that was never offered teaches the model to invent tools."""

from collections.abc import Iterator

from pipeline.auditing.case import Case, Remark, warning
from pipeline.auditing.fields import function_of


def tools(case: Case) -> Iterator[Remark]:
    """The trace says which tools were offered, and only those are called."""
    conversation = case.conversation
    called = {call.name: index for index, message in enumerate(conversation.messages) for call in message.tool_calls}
    if called and not conversation.tools_recorded:
        yield warning(
            f"tools are called ({', '.join(list(called)[:8])}), but the trace does not say which were offered"
        )
        return
    offered = {function_of(spec).get("name") for spec in conversation.tools}
    for name, index in called.items():
        if name not in offered:
            yield warning(f"{name!r} is called, but was not offered", index)
