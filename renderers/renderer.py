"""A witness and a tokenizer behind one face: messages in, token ids that know what they are out.

`Family` is the declared witness: models that share one template, written in patterns. `tracing.witness.TracedTemplate`
is the other: the vendor's own template, run on strings that remember where they came from.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np

from renderers.bridging import Bridge, Bridger
from renderers.errors import TemplateError, UnknownFlag
from renderers.histories import HISTORIES
from renderers.hub import from_hub
from renderers.lost import lost_fields
from renderers.media import Media, expanded
from renderers.messages import Message, Request, Turn, tools_of
from renderers.parsing import Listening, Parsed, Parser
from renderers.proving import prove, seamed, trust
from renderers.rendered import Batch, Rendered, SpecialText, encode
from renderers.segments import Stream, phrase
from renderers.template import PRESERVING, Template, worded
from renderers.tokenizer import Tokenizer

ASKED = Request((Message("user"),))
"""A conversation of which nothing is known but that the user has spoken."""


class Witness(Protocol):
    """What tells a conversation."""

    @property
    def name(self) -> str: ...

    @property
    def flags(self) -> Collection[str]:
        """What it can be asked for."""
        ...

    def tell(self, request: Request) -> Stream:
        """The conversation as segments, a proof for every assistant message, and the fields that are lost.

        Raises TemplateError for a conversation that cannot be told, UnknownFlag for a flag that means nothing here.
        """
        ...


@dataclass(frozen=True)
class Family:
    """Models that share one template: the declared witness. A row of `registry.FAMILIES`."""

    name: str
    template: Template
    models: tuple[str, ...] = ()
    """Exact names on the Hub."""
    fingerprints: tuple[str, ...] = ()
    """sha256 of the official chat templates that this one tells the same as."""
    flags: Mapping[str, type | tuple[str, ...]] = field(default_factory=dict)
    """What the template can be asked for, and the answers: of a type, or one of these words."""
    switches: Mapping[str, bool] = field(default_factory=dict)
    """Flags that may be flipped to prove a turn, because serving offers them too; and what they are when not given."""

    def tell(self, request: Request) -> Stream:
        self.check(request.flags)
        if "today" in self.flags and request.today is not None:
            request = request.but(flags={"today": request.today, **request.flags})
        given, request = request, self.template.asked(request)
        opening, *turns = told = self.template.told(request)
        if request.trusted:
            proven = trust(self.template, request)
        else:
            proven = prove(self.template, request, told, switches=self.switches)
        said = list(opening)
        for index, turn in enumerate(turns):
            said += seamed(turn, proven[index].prompt) if index in proven else turn
        if request.generating:
            said.append(phrase(worded(self.template.prompt, Turn(request))))
        proofs, lost = tuple([p.proof for p in proven.values()]), () if request.trusted else lost_fields(given, said)
        return Stream(tuple(said), proofs, lost, today=request.flags.get("today"))

    def check(self, flags: Mapping[str, Any]) -> None:
        """Raise UnknownFlag for a flag that this family does not have, or a value that it does not take."""
        if not flags:
            return
        known = {**self.flags, **(PRESERVING if self.template.assistant.recalling else {})}
        for name, value in flags.items():
            if name not in known:
                raise UnknownFlag(f"{self.name} has no flag {name!r}; it has: {', '.join(known) or 'none'}")
            taken = known[name]
            if isinstance(taken, tuple) and value not in taken:
                raise UnknownFlag(f"{self.name}: {name} takes one of {', '.join(taken)}, not {value!r}")
            if isinstance(taken, type) and not isinstance(value, taken):
                raise UnknownFlag(f"{self.name}: {name} takes a {taken.__name__}, not {value!r}")


@dataclass(frozen=True)
class Renderer:
    """Messages to token ids, and back."""

    witness: Witness
    tokenizer: Tokenizer
    flags: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.witness.name

    def request(
        self,
        messages: Sequence[Message] | Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = False,
        trusted: bool = False,
    ) -> Request:
        """What is asked of the witness. Messages may be OpenAI-style dicts. `trusted`: nothing is proved.

        Raises TemplateError for what are no messages, or no tools.
        """
        return Request(from_hub(messages), tools_of(tools), self.flags, add_generation_prompt, trusted=trusted)

    def stream(self, request: Request) -> Stream:
        """The segments of a conversation, with their proofs. The request's own flags come before the renderer's."""
        try:
            told = self.witness.tell(self._asked(request))
        except RecursionError as error:
            raise TemplateError("tools or arguments are nested too deep to be told") from error
        messages, asked = request.messages, len(request.messages) - 1
        while asked >= 0 and messages[asked].role != "user":
            asked -= 1
        return told.but(asked=asked, weights={n: m.weight for n, m in enumerate(messages) if m.weight is not None})

    def streams(self, request: Request, history: str = "last") -> list[Stream]:
        """The rows of a conversation that are trained on: `history` is one of `HISTORIES`."""
        if history not in HISTORIES:
            raise UnknownFlag(f"history={history!r}: takes {', '.join(HISTORIES)}")
        return HISTORIES[history](self.stream, request)

    def render_batch(
        self,
        requests: Sequence[Request],
        *,
        seam: bool = True,
        special_text: SpecialText = "text",
        media: Media | None = None,
    ) -> Batch:
        """Many conversations, encoded in one call of the engine. `media`: makes images the tokens that they are."""
        streams = [self.stream(request) if media is None else self.shown(request, media) for request in requests]
        return encode(streams, self.tokenizer, seam=seam, special_text=special_text)

    def shown(self, request: Request, media: Media) -> Stream:
        """The segments of a conversation, its media expanded. Raises TemplateError where the witness is traced."""
        return self._expanded(self.stream(request), request.messages, media)

    def _expanded(self, stream: Stream, messages: Sequence[Message], media: Media) -> Stream:
        if not isinstance(self.witness, Family):
            raise TemplateError(f"{self.name} is traced, and does not know where media stand: name a declared family")
        return expanded(stream, messages, self.witness.template.media, media)

    def render(
        self,
        messages: Sequence[Message] | Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = False,
        seam: bool = True,
        special_text: SpecialText = "text",
        media: Media | None = None,
    ) -> Rendered:
        """One conversation: ids, what each of them is, and which turns can be trained."""
        request = self.request(messages, tools, add_generation_prompt=add_generation_prompt)
        return self.render_batch([request], seam=seam, special_text=special_text, media=media)[0]

    def render_ids(
        self,
        messages: Sequence[Message] | Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = False,
    ) -> list[int]:
        """One conversation as ids."""
        return self.render(messages, tools, add_generation_prompt=add_generation_prompt).ids.tolist()

    def parse(
        self, completion: Sequence[int] | np.ndarray | str, request: Request, *, prompt_ids: Sequence[int] | None = None
    ) -> Parsed:
        """The message that a completion tells after this conversation, or after this very prompt of it.

        Raises TemplateError where the witness only writes.
        """
        return self._parser.parse(completion, self._asked(request), prompt_ids=prompt_ids)

    def listen(self, request: Request = ASKED, *, prompt_ids: Sequence[int] | None = None) -> Listening:
        """Reads a completion while it is sampled; see `parse`."""
        return Listening(self._parser, self._asked(request), prompt_ids)

    def parse_response(
        self,
        token_ids: Sequence[int] | np.ndarray,
        *,
        prompt_ids: Sequence[int] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> Parsed:
        """The message that a completion tells: `content`, `reasoning_content`, `tool_calls`.

        Whether its prompt has opened a thought, `prompt_ids` tell; without them it is the prompt that follows a user.
        """
        return self.parse(token_ids, ASKED.but(tools=tools_of(tools)), prompt_ids=prompt_ids)

    def get_stop_token_ids(self) -> list[int]:
        """The ids that end a turn; of a traced template what it tells behind answers and calls, and the eos_token."""
        if isinstance(self.witness, Family):
            stops = self._parser.stops
        else:
            told = sorted(self._bridger.prompts.marks.ends)
            eos = self.tokenizer.special_tokens.get("eos_token", "")
            stops = dict.fromkeys([*map(self._bridger.signs.show, told), eos])
        return [self.tokenizer.control[stop] for stop in stops if stop in self.tokenizer.control]

    def _asked(self, request: Request) -> Request:
        return request.anew({**self.flags, **request.flags})

    @cached_property
    def _parser(self) -> Parser:
        if not isinstance(self.witness, Family):
            raise TemplateError(f"{self.name} is traced, and only writes: reading back needs a declared family")
        return Parser(self.witness.template, self.tokenizer)

    def bridge(
        self,
        previous_prompt_ids: Sequence[int],
        previous_completion_ids: Sequence[int],
        new_messages: Sequence[Message] | Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        messages: Sequence[Message] | Sequence[Mapping[str, Any]] | None = None,
        media: Media | None = None,
    ) -> Bridge:
        """The prompt after a sampled turn and new messages: the ids given, then what the template adds; or why not.

        tools: those of the previous prompt; None where nobody named them. messages: what that prompt tells, and maybe
        what the completion says: without them they are recalled from the ids, which show no media. media: makes those
        of the new messages the tokens that they are.
        """
        known = media and replace(media, process=cache(media.process))
        return self._bridger.bridge(
            previous_prompt_ids,
            previous_completion_ids,
            self.request(new_messages).messages,
            tools=None if tools is None else tools_of(tools),
            messages=None if messages is None else self.request(messages).messages,
            shown=lambda stream, told: stream if known is None else self._expanded(stream, told, known),
        )

    def bridge_to_next_turn(
        self,
        previous_prompt_ids: Sequence[int],
        previous_completion_ids: Sequence[int],
        new_messages: Sequence[Message] | Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        messages: Sequence[Message] | Sequence[Mapping[str, Any]] | None = None,
    ) -> list[int] | None:
        """The ids of `bridge`; None where it is refused, and the whole conversation has to be rendered."""
        told = self.bridge(previous_prompt_ids, previous_completion_ids, new_messages, tools=tools, messages=messages)
        return told.token_ids

    @property
    def is_prefix_stable(self) -> bool:
        """Whether telling more leaves what was told as it was, turn by turn: found by asking."""
        return self._bridger.stable

    @cached_property
    def _bridger(self) -> Bridger:
        parser = self._parser if isinstance(self.witness, Family) else None
        return Bridger(self.witness.tell, self.tokenizer, self.flags, parser)
