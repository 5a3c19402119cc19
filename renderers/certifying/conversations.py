"""Conversations to ask a template with. Hypothesis chooses among them, simpler ones first."""

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import strategies as st

from renderers.messages import Message, Part, Request, ToolCall, text

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks up a word.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string", "description": "The word."}}},
    },
}
CALLS = ToolCall("look", '{"word": "cat"}', "call00001"), ToolCall("look", '{"word": "dog"}', "call00002")
"""Ids have nine letters and digits: some templates take no others."""
INLINE = "<think>\nhm\n</think>\n\nyes"
"""A thought that stands in the content."""


def _step(said: str, thought: str | None, *calls: ToolCall) -> tuple[Message, ...]:
    """A message that calls tools, and what they answer."""
    results = (Message("tool", "found", tool_call_id=call.id, name=call.name) for call in calls)
    return (Message("assistant", said, reasoning=thought, tool_calls=calls), *results)


USER = Message("user", "hi")
SYSTEM = Message("system", "be kind")
OPENINGS = ((), (SYSTEM,), (Message("developer", "be brief"),))
PARTS = Message("user", (Part("text", "hi"), Part("text", "you")))
ASKED = ((USER,),) * 4 + ((PARTS,), (USER, USER), (USER, SYSTEM), ())
"""Mostly plain: an oddity beside another shows nothing."""
STEPS = tuple(_step(said, thought, *CALLS[:n]) for n in (1, 2) for thought in (None, "hm") for said in ("", "so"))
ANSWERS = tuple(
    (Message("assistant", said, reasoning=thought),)
    for said in ("yes", "yes", "yes", " yes ", INLINE)
    for thought in (None, "hm")
)
ROUNDS = st.tuples(
    st.sampled_from(ASKED), st.lists(st.sampled_from(STEPS), max_size=2), st.sampled_from((*ANSWERS, ()))
)
"""What is asked, what is called, what is answered."""


def _conversation(opening: tuple[Message, ...], rounds: list, tools: bool) -> Request:
    told = (message for asked, steps, answer in rounds for part in (asked, *steps, answer) for message in part)
    return Request((*opening, *told), (TOOL,) if tools else ())


CONVERSATIONS = st.builds(
    _conversation, st.sampled_from(OPENINGS), st.lists(ROUNDS, min_size=1, max_size=3), st.booleans()
).filter(lambda request: bool(request.messages))


def oddities(request: Request) -> Iterator[str]:
    """What a template may choke on; one is shown only where it is what is asked about."""
    roles = [message.role for message in request.messages]
    said = [text(message.content) for message in request.messages if message.role == "assistant"]
    found = {
        "developer": "developer" in roles,
        "late system": "system" in roles[1:],
        "in parts": any(not isinstance(message.content, str) for message in request.messages),
        "twice": ("user", "user") in pairwise(roles),
        "nobody asks": "user" not in roles,
        "assistant first": "assistant" in (roles[0], *roles[1:2][: roles[0] != "user"]),
        "assistant twice": ("assistant", "assistant") in pairwise(roles),
        "unasked": any(here == "tool" and before not in ("assistant", "tool") for before, here in pairwise(roles)),
        "unanswered": any(one.tool_calls and other.role != "tool" for one, other in pairwise(request.messages)),
        "blanks": any(content != content.strip() for content in said),
        "inline": any("</think>" in content for content in said),
    }
    return (name for name, is_so in found.items() if is_so)
