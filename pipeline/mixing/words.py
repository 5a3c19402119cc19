"""Conversations as words, for those who compare them."""

import re
from collections.abc import Iterator

from pipeline.records import Conversation
from renderers.messages import Message, text

WORD = re.compile(r"\w+")


def told(message: Message) -> str:
    """All that a message says."""
    calls = (f"{call.name} {call.arguments}" for call in message.tool_calls)
    return "\n".join([text(message.content), message.reasoning or "", *calls])


def words(said: str) -> list[str]:
    """Words in lower case; neither spaces nor signs."""
    return WORD.findall(said.lower())


def conversation_words(conversation: Conversation) -> Iterator[str]:
    """Of all messages but the system's, which many conversations share."""
    for message in conversation.messages:
        if message.role not in ("system", "developer"):
            yield from words(told(message))


def task(conversation: Conversation) -> str:
    """What the user asked first, as words."""
    first = (message for message in conversation.messages if message.role == "user")
    return " ".join(words(next(map(told, first), "")))
