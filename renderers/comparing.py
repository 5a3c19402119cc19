"""A template of one's own, or a family, beside the official template of a tokenizer."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from renderers.chat import Chat, Tools
from renderers.chatting.template import Template
from renderers.loading import adapt
from renderers.rendered import encode
from renderers.renderer import Witness


class Comparison(NamedTuple):
    """One conversation, told twice."""

    equal: bool
    """The text is the official text."""
    ids_equal: bool
    """The ids are the official ids, with control tokens read wherever they are spelled, as upstream does."""
    jinja_equal: bool
    """The exported Jinja, run by transformers, writes the same text; a family's Jinja is the official one."""
    official: str
    ours: str
    jinja: str
    highlighted: str
    """Ours for a terminal, with what is trained."""


def compare_hf_template(
    tokenizer: Any,
    template: str | Template | Witness,
    messages: Sequence[Mapping[str, Any]],
    tools: Tools | None = None,
    add_generation_prompt: bool = False,
    **flags: Any,
) -> Comparison:
    """Tell a conversation with a template, and with a transformers tokenizer's own, which stays as it is.

    `flags` go to both. Raises what either of them raises.
    """
    chat = Chat(template, messages, tools, tokenizer=tokenizer)
    stream = chat.stream(add_generation_prompt, **flags)
    asked = {"tools": list(tools) if tools else None, "add_generation_prompt": add_generation_prompt, **flags}
    official = tokenizer.apply_chat_template(list(messages), tokenize=False, **asked)
    theirs = tokenizer.apply_chat_template(list(messages), tokenize=True, return_dict=True, **asked)["input_ids"]
    ids = encode([stream], adapt(tokenizer), seam=False, special_text="parse")[0].ids
    jinja = official
    if isinstance(chat.template, Template):
        exported = chat.template.jinja_template()
        jinja = tokenizer.apply_chat_template(list(messages), tokenize=False, chat_template=exported, **asked)
    return Comparison(
        equal=stream.text == official,
        ids_equal=ids.tolist() == list(theirs),
        jinja_equal=jinja == stream.text,
        official=official,
        ours=stream.text,
        jinja=jinja,
        highlighted=chat.prompt_with_mask(add_generation_prompt, **flags),
    )
