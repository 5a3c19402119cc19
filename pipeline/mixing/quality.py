"""Rules by which a conversation is not worth learning: each says why, or nothing."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from pipeline.mixtures import Quality
from pipeline.records import Conversation, Reject
from renderers.messages import Message, text

UNFINISHED = frozenset({"length", "aborted", "error", "killed"})
REFUSAL = re.compile(
    r"\W*(i'?m sorry|i am sorry|sorry|i apologi[sz]e)?\W*(but )?\W*(i|we)"
    r"( can(no|')?t| am unable to|'m unable to| won'?t)"
    r" (help|assist|comply|provide|do that|fulfil|continue)",
    re.IGNORECASE,
)


def unworthy(conversations: Sequence[Conversation], rules: Quality) -> Iterator[Reject]:
    """A reject for each conversation that a rule finds something in, by the first of them."""
    for conversation in conversations:
        found = ((name, why) for name, rule in RULES.items() if (why := rule(conversation, rules)))
        if first := next(found, None):
            yield Reject(id=conversation.id, stage="mixture", reason=first[0], detail=first[1])


def truncated(conversation: Conversation, rules: Quality) -> str:
    """The run was cut off, aborted or killed."""
    return f"its run ended as {conversation.status}" if rules.truncated and conversation.status in UNFINISHED else ""


def refused(conversation: Conversation, rules: Quality) -> str:
    """The last answer refuses the task."""
    last = next((m for m in reversed(conversation.messages) if m.role == "assistant"), None)
    said = text(last.content).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'") if last and not last.tool_calls else ""
    return f"its last answer begins {said[:60]!r}" if rules.refused and REFUSAL.match(said) else ""


def repeated_calls(conversation: Conversation, rules: Quality) -> str:
    """The same call with the same result, again and again."""
    runs = ((step, len(list(run))) for step, run in groupby(_steps(conversation.messages)))
    (name, _, _), most = max(runs, key=lambda run: run[1], default=(("", "", ""), 0))
    if not rules.repeated_calls or most < rules.repeated_calls:
        return ""
    return f"{most} times in a row {name}, with the same result"


def silent_tools(conversation: Conversation, rules: Quality) -> str:
    """Tools were called, and no result says anything."""
    results = [text(m.content).strip() for m in conversation.messages if m.role == "tool"]
    if not rules.silent_tools or not results or any(results):
        return ""
    return f"{len(results)} tool results, all of them empty"


Rule = Callable[[Conversation, Quality], str]
RULES: Mapping[str, Rule] = {
    "truncated": truncated,
    "refused": refused,
    "repeated_calls": repeated_calls,
    "silent_tools": silent_tools,
}


def _steps(messages: Sequence[Message]) -> Iterator[tuple[str, str, str]]:
    """Calls in order, each with its arguments and its result."""
    results = {m.tool_call_id: text(m.content) for m in messages if m.role == "tool" and m.tool_call_id}
    for message in messages:
        for call in message.tool_calls:
            yield call.name, call.arguments, results.get(call.id or "", "")
