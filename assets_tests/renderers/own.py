"""A template of one's own, a conversation for it, and a vocabulary."""

from pathlib import Path

import tokenizers
from tokenizers import AddedToken

from renderers import Chat, Template, Tokenizer

ROOT = Path(__file__).parents[2]
OWN = Template(
    "own",
    system_template="<|im_start|>system\n{system_message}{tools}{skills}<|im_end|>\n",
    system_message="Be careful.",
    tools_template="\n\n# Tools\n{tools}",
    skills_template="\n\n# Skills\n{skills}",
    user_template="<|im_start|>user\n{content}<|im_end|>\n",
    assistant_template="<|im_start|>assistant\n{reasoning}{content}\n{tool_calls}<|im_end|>\n",
    single_tool_call_template="<tool_call>\n{tool_call}\n</tool_call>",
    tool_calls_joiner="\n",
    observations_template="<|im_start|>user{observations}<|im_end|>\n",
    single_observation_template="\n<tool_response>\n{observation}\n</tool_response>",
    stop_words=["<|im_end|>"],
)
TOOL = {"type": "function", "function": {"name": "add", "description": "Adds é."}}
SKILLS = [{"name": "a", "description": "does a"}, {"name": "b", "description": "does b"}]
CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"x":  1}'}}
AGENT = [
    {"role": "user", "content": "3 + 5?"},
    {"role": "assistant", "content": "Let me add.", "reasoning_content": "A sum.", "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": "8", "tool_call_id": "1"},
    {"role": "tool", "content": "8", "tool_call_id": "1"},
    {"role": "assistant", "content": "8."},
    {"role": "user", "content": "Thanks"},
    {"role": "assistant", "content": "Sure."},
]


def sampled(chat: Chat) -> list[str]:
    """What is trained, message by message."""
    stream = chat.stream()
    own = [[s.text for s in stream.segments if s.message == m and s.kind.sampled] for m in sorted(stream.trainable)]
    return ["".join(texts) for texts in own]


def with_control_tokens(words: tuple[str, ...]) -> Tokenizer:
    """The example vocabulary with these control tokens too, as the models of a template have them."""
    engine = tokenizers.Tokenizer.from_file(str(ROOT / "pipeline" / "example" / "tokenizer" / "tokenizer.json"))
    engine.add_special_tokens([AddedToken(word, normalized=False) for word in words])
    return Tokenizer.from_json(engine.to_str(), name="example")
