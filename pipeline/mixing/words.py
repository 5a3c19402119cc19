"""Conversations as words, for those who compare them."""

import re
from collections.abc import Iterator

from pipeline.records import Conversation
from renderers.messages import Message, text

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts that put no space between words: Thai, Lao, Burmese, Khmer, Kana, Han."""
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")


def told(message: Message) -> str:
    """All that a message says."""
    calls = (f"{call.name} {call.arguments}" for call in message.tool_calls)
    return "\n".join([text(message.content), message.reasoning or "", *calls])


def words(said: str) -> list[str]:
    """Words in lower case, neither spaces nor signs; where a script has no spaces, its characters."""
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
