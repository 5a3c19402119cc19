"""`Chat`: one conversation and the template it is told in, as text, as text with what is trained, as rows to train on.

Everything here is a view of the stream that the template's witness tells; nothing is rendered twice or otherwise.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import chain
from typing import Any, cast

from renderers.chatting.builtin import ALIASES, TEMPLATES
from renderers.chatting.template import Template
from renderers.errors import RendererError, TemplateError, TokenizerError, UnknownModel
from renderers.hub import message_of
from renderers.loading import adapt
from renderers.masking import POLICIES, LossPolicy
from renderers.messages import Message, Request, tools_of
from renderers.preview import stream_runs, to_ansi
from renderers.registry import FAMILIES, create_renderer
from renderers.rendered import encode
from renderers.renderer import Family, Renderer, Witness
from renderers.rows import Row, Side, row_of, table_of
from renderers.segments import Stream
from renderers.tokenizer import HubTokenizer, Tokenizer

Messages = Sequence[Message] | Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]]
AnyTokenizer = Tokenizer | HubTokenizer
SHAREGPT = {"human": "user", "gpt": "assistant", "function_call": "assistant", "observation": "tool"}
"""Roles as data sets of `from` and `value` have them."""


class Chat:
    """A conversation and its template.

    template: a `Template`, any witness, the name of a registered or built-in template, of a family, or of a model on
    the Hub. A model that no family knows is told by its tokenizer's chat template, which is never fetched: give it.
    messages: OpenAI-style dicts, `from` and `value` dicts, or `Message`s. They are read when they are told.
    today: what templates print that print the date.
    """

    def __init__(
        self,
        template: str | Template | Witness,
        messages: Messages = (),
        tools: Tools | None = None,
        skills: Sequence[Mapping[str, Any]] | None = None,
        tokenizer: AnyTokenizer | None = None,
        *,
        ignore_tool_calls: bool = False,
        today: date | None = None,
    ):
        self.template = _named(template) if isinstance(template, str) else template
        self.messages, self.tools, self.skills = messages, tools, skills
        self.tokenizer, self.ignore_tool_calls, self.today = tokenizer, ignore_tool_calls, today

    def append(self, message: Message | Mapping[str, Any]) -> None:
        """Add a message."""
        self.messages = cast(Messages, [*self.messages, message])

    def prompt(
        self,
        add_generation_prompt: bool = False,
        tools: Tools | None = None,
        skills: Sequence[Mapping[str, Any]] | None = None,
        **flags: Any,
    ) -> str:
        """The conversation as text. `flags` are the template's own, as `enable_thinking=False`."""
        return self.stream(add_generation_prompt, tools, skills, **flags).text

    def prompt_with_mask(
        self,
        add_generation_prompt: bool = False,
        tools: Tools | None = None,
        skills: Sequence[Mapping[str, Any]] | None = None,
        **flags: Any,
    ) -> str:
        """The same for a terminal: coloured by kind, what is trained bold and underlined, nothing invisible."""
        return to_ansi(stream_runs(self.stream(add_generation_prompt, tools, skills, **flags), POLICIES["assistant"]))

    def stream(
        self,
        add_generation_prompt: bool = False,
        tools: Tools | None = None,
        skills: Sequence[Mapping[str, Any]] | None = None,
        **flags: Any,
    ) -> Stream:
        """The conversation as segments, with the proof of each turn and what is lost. `tools`, `skills`: this once."""
        renderer = self.renderer(**flags)
        return renderer.stream(self.request(renderer, add_generation_prompt, tools, skills))

    def tokenize(
        self,
        tokenizer: AnyTokenizer | None = None,
        add_generation_prompt: bool = False,
        tools: Tools | None = None,
        skills: Sequence[Mapping[str, Any]] | None = None,
        *,
        train_on_last_turn_only: bool = False,
        max_length: int | None = None,
        **flags: Any,
    ) -> Row:
        """A row to train on: `input_ids`, `labels` (-100 where nothing is learned), `action_mask` (1 where something
        is), `attention_mask`; int64, (tokens,).

        Learned is what the model itself writes, through the stop, of turns that are proved. `train_on_last_turn_only`:
        of what follows the last user message. `max_length`: what is longer is cut off at the end.
        """
        renderer = self.renderer(tokenizer, **flags)
        asked = self.request(renderer, add_generation_prompt, tools, skills)
        rendered = _encoding(renderer).render_batch([asked])[0]
        return row_of(rendered, _policy(train_on_last_turn_only), max_length=max_length)

    def renderer(self, tokenizer: AnyTokenizer | None = None, **flags: Any) -> Renderer:
        """What tells this chat; without a tokenizer it tells, and does not encode."""
        tokenizer = tokenizer or self.tokenizer
        adapted = None if tokenizer is None else adapt(tokenizer)
        witness = self.template
        if isinstance(witness, str):
            witness = _of_model(witness, adapted, self.today)
        if isinstance(witness, Template):
            witness = witness.family
        if self.today is not None and "today" in witness.flags:
            flags["today"] = self.today
        return Renderer(witness, cast(Tokenizer, adapted), flags)

    def request(
        self,
        renderer: Renderer,
        add_generation_prompt: bool = False,
        tools: Tools | None = None,
        skills: Sequence[Mapping[str, Any]] | None = None,
    ) -> Request:
        """What is asked of a renderer."""
        told = [_message(index, message) for index, message in enumerate(self.messages)]
        if self.ignore_tool_calls:
            told = [message.but(tool_calls=()) for message in told]
        skills = self.skills if skills is None else skills
        flags = {"skills": list(skills)} if skills else {}
        tools = self.tools if tools is None else tools
        return Request(tuple(told), tools_of(tools), flags, add_generation_prompt)


def _message(index: int, message: Message | Mapping[str, Any]) -> Message:
    if isinstance(message, Message):
        return message
    if message.get("token_ids") is not None:
        raise TemplateError(
            f"message {index}: token_ids are not told: a chat is told from text; go on from ids by `bridge`"
        )
    if "from" in message:
        role = message["from"]
        message = {"role": SHAREGPT.get(role, role), "content": message.get("value"), **message}
    return message_of(index, message)


def _named(name: str) -> Template | Family | str:
    """What a name stands for; a model's stays a name until there is a tokenizer."""
    return name if "/" in name and name not in TEMPLATES else get_template(name)


def _of_model(name: str, tokenizer: Tokenizer | None, today: date | None) -> Witness:
    """The witness of a model on the Hub."""
    family = next((family for family in FAMILIES.values() if name in family.models), None)
    if family:
        return family
    if tokenizer is None:
        raise UnknownModel(f"no family knows the model {name!r}: give its tokenizer, whose chat template tells it")
    return create_renderer(tokenizer, today=today).witness


def _encoding(renderer: Renderer) -> Renderer:
    if renderer.tokenizer is None:
        raise TokenizerError("no tokenizer to encode with: give one to Chat(tokenizer=…) or to tokenize(…)")
    return renderer


def _policy(last_turn_only: bool) -> LossPolicy:
    return POLICIES["last_turn" if last_turn_only else "assistant"]


def tokenize_chats(
    chats: Sequence[Chat],
    tokenizer: AnyTokenizer,
    *,
    train_on_last_turn_only: bool = False,
    max_length: int | None = None,
    padding_side: Side = "right",
    history: str = "last",
    **flags: Any,
) -> Row:
    """Many chats, each with its own template and tools, encoded in one call of the engine: (rows, longest) int64.

    history: what becomes of turns that later ones rewrite, as `histories.HISTORIES` has it; with "split" a chat has as
    many rows as it takes to train all of them.
    """
    adapted = adapt(tokenizer)
    renderers = [chat.renderer(adapted, **flags) for chat in chats]
    told = [r.streams(chat.request(r), history) for chat, r in zip(chats, renderers, strict=True)]
    rendered = encode(list(chain.from_iterable(told)), adapted)
    rows = [row_of(one, _policy(train_on_last_turn_only), max_length=max_length) for one in rendered]
    padding = adapted.added.get(adapted.special_tokens.get("pad_token", ""), 0)
    return table_of(rows, side=padding_side, padding=padding)


def tokenize_conversations(
    messages_list: Sequence[Messages],
    tokenizer: AnyTokenizer,
    template: str | Template | Witness,
    max_length: int | None = None,
    *,
    tools: Tools | None = None,
    **settings: Any,
) -> Row:
    """Many conversations of one template; `settings` are those of `tokenize_chats`."""
    chats = [Chat(template, messages, tools, tokenizer=tokenizer) for messages in messages_list]
    return tokenize_chats(chats, tokenizer, max_length=max_length, **settings)


def get_template(name: str) -> Template | Family:
    """A registered or built-in template, or a family."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    family = FAMILIES.get(ALIASES.get(name, name))
    if family is None:
        known = ", ".join(sorted({*TEMPLATES, *ALIASES, *FAMILIES}))
        raise UnknownModel(f"no template {name!r}: register_template one, name a model as org/name, or one of {known}")
    return family


def register_template(template: Template, *, override: bool = False) -> None:
    """Give a template to `Chat` by its name. A name that is taken is refused but with `override`."""
    if not override and template.name in {*TEMPLATES, *ALIASES, *FAMILIES}:
        raise RendererError(f"there is a template {template.name!r} already: choose a name, or say override=True")
    TEMPLATES[template.name] = template
