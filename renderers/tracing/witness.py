"""`TracedTemplate`: any Jinja chat template as a witness, run as it is on strings that remember."""

import json
import marshal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import date
from functools import cached_property
from itertools import count
from typing import Any, cast

import jinja2

from renderers.errors import TemplateError, UnknownFlag
from renderers.hub import to_hub
from renderers.lost import lost_fields
from renderers.messages import Message, Request
from renderers.segments import Proof, Stream
from renderers.tracing.asked import GIVEN
from renderers.tracing.environment import REFUSALS
from renderers.tracing.owners import segments
from renderers.tracing.places import WALK, Near, Walk
from renderers.tracing.runs import Runs, Tokens, common
from renderers.tracing.shared import Prefixes
from renderers.tracing.strings import Text, own
from renderers.tracing.turns import Prover
from renderers.tracing.twin import compiled
from renderers.tracing.values import Dict, wrap

TRANSFORMERS_REASONING = ("reasoning_content", "thinking", "reasoning")
"""The names of reasoning, in the order in which transformers prefers them."""
MANY = 1 << 10
"""Lists of tools after which all are forgotten."""
PROBE = '{"probe":  "\\u00e9"}'
"""Tool arguments that no encoder writes so."""

HubMessage = Mapping[str, Any]


class TracedTemplate:
    """One chat template; `tell` may be called by many threads.

    special_tokens: {"bos_token": "<s>", ...}, as the template reads them.
    added: the added tokens of the vocabulary, and whether each is special.
    today: what templates that print the date print; without it they refuse, for a clock would change rows by itself.
    switches: the settings that serving offers, which may be flipped to prove a turn; by default every variable of the
    template, as True and as False.
    bare: leave hub messages as they are, where transformers edits them.
    """

    def __init__(
        self,
        source: str,
        *,
        special_tokens: Mapping[str, str] | None = None,
        added: Mapping[str, bool] | None = None,
        today: date | None = None,
        name: str = "traced",
        switches: Sequence[Mapping[str, Any]] | None = None,
        bare: bool = False,
    ):
        self.source, self.name, self.today, self.bare = source, name, today, bare
        self.special_tokens = dict(special_tokens or {})
        try:
            self.compiled = compiled(source)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"{name}: no chat template: line {error.lineno}: {error.message}") from error
        self.flags = tuple(sorted(self.compiled.variables - GIVEN - self.special_tokens.keys()))
        """The flags that this template knows."""
        self.dated = "strftime_now" in self.compiled.variables
        """Whether it prints the date, as far as anybody can see."""
        self._days: dict[date, TracedTemplate] = {}
        self._offered: dict[bytes, dict[Any, Any]] = {}
        self.tokens = Tokens(added or {})
        self.switches = switches

    def tell(self, request: Request) -> Stream:
        """The request as a stream, with a proof for each assistant message. Raises TemplateError, UnknownFlag."""
        for flag in request.flags:
            if flag not in self.flags:
                raise UnknownFlag(f"{self.name} has no flag {flag!r}; it has: {', '.join(self.flags) or 'none'}")
        if self.dated and self.today is None and request.today is not None:
            return self.on(request.today).tell(request)
        stream = self.tell_hub(
            self._hub(request.messages),
            [dict(tool) for tool in request.tools] or None,
            flags=request.flags,
            generating=request.generating,
        )
        day = self.today if self.dated else None
        return stream.but(lost=lost_fields(request, stream.segments), today=day)

    def on(self, day: date) -> "TracedTemplate":
        """This template on a day."""
        if day not in self._days:
            self._days[day] = copy(self)
            self._days[day].today = day
        return self._days[day]

    def tell_hub(
        self,
        messages: Sequence[HubMessage],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        flags: Mapping[str, Any] | None = None,
        generating: bool = False,
    ) -> Stream:
        """As `tell`, of messages in the Hub's shape, handed to the template as they are."""
        if not messages:
            raise TemplateError(f"{self.name}: no messages: a conversation has at least one")
        flags = dict(flags or {})
        told = self._edited(messages)
        traced = self._traced(messages, told, tools, flags, generating)
        text, asked = str.__str__(traced), {"strftime_now": self._strftime, **flags}

        def given(prompt: bool, switch: Mapping[str, Any]) -> dict[str, Any]:
            return self._given((), tools, prompt, {**asked, **switch})

        prefixes = Prefixes(self.compiled, told, text, given, generating)
        if not prefixes.staged and text != self.text_hub(messages, tools, flags=flags, generating=generating):
            raise TemplateError(f"{self.name}: the template writes another text when traced: no witness")
        runs = Runs(traced)
        turns = Prover(text, runs, told, prefixes, self.tokens, self._switches(flags), generating).turns()
        proofs = tuple(Proof(turn.message, turn.verdict, turn.note) for turn in turns)
        return Stream(segments(text, runs, turns, told, wrapper=self.wrapper), proofs)

    def trace_hub(
        self,
        messages: Sequence[HubMessage],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        flags: Mapping[str, Any] | None = None,
        generating: bool = False,
    ) -> Text:
        """The text, with the place of each character."""
        return self._traced(messages, self._edited(messages), tools, flags or {}, generating)

    def _traced(
        self,
        messages: Sequence[HubMessage],
        edited: Sequence[HubMessage],
        tools: Sequence[Mapping[str, Any]] | None,
        flags: Mapping[str, Any],
        generating: bool,
    ) -> Text:
        walking = WALK.set(Walk(self._known(tools)))
        try:
            with refusing(self.name):
                told = [*map(_placed, messages, edited, count())]
                offered = None if tools is None else wrap(tools, ("tools",))
                placed = {flag: wrap(value, ("flags", flag)) for flag, value in flags.items()}
                given = self._given(told, offered, generating, {"strftime_now": self._placed_day, **placed})
                made = self.compiled.traced.render(given)
        finally:
            WALK.reset(walking)
        return made if isinstance(made, Text) else own(made)

    def _known(self, tools: Sequence[Mapping[str, Any]] | None) -> dict[Any, Any]:
        """What is known of these very tools: many conversations have the same."""
        try:
            key = marshal.dumps(cast(Any, tools), 2)  # 2: the same bytes for all that is equal
        except ValueError:
            return {}
        if len(self._offered) >= MANY:
            self._offered.clear()
        return self._offered.setdefault(key, {})

    def text_hub(
        self,
        messages: Sequence[HubMessage],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        flags: Mapping[str, Any] | None = None,
        generating: bool = False,
    ) -> str:
        """The text alone, as `apply_chat_template` writes it."""
        asked = {"strftime_now": self._strftime, **(flags or {})}
        given = self._given(self._edited(messages), tools, generating, asked)
        with refusing(self.name):
            return self.compiled.plain.render(given)

    def _given(self, messages: Any, tools: Any, generating: bool, variables: Mapping[str, Any]) -> dict[str, Any]:
        """All that the template is given."""
        asked = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": generating}
        return {**self.special_tokens, **asked, **variables}

    def _strftime(self, wanted: str) -> str:
        if self.today is None:
            raise jinja2.TemplateError("it prints the date of the day, and nobody said which: give `today`")
        return self.today.strftime(wanted)

    def _placed_day(self, wanted: str) -> Text:
        return wrap(self._strftime(wanted), ("flags", "today"))

    def _edited(self, messages: Sequence[HubMessage]) -> list[HubMessage]:
        return list(messages) if self.bare else [_as_transformers(message) for message in messages]

    def _switches(self, flags: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if self.switches is not None:
            return self.switches
        names = [flag for flag in self.flags if not flag.endswith("_token")]
        return [{name: value} for name in names for value in (False, True) if flags.get(name) is not value]

    def _hub(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """Messages as the template wants them: arguments stay text where it writes text as it is."""
        told = to_hub(messages)
        if not self.writes_raw_arguments:
            for i, message in enumerate(told):
                for call in message.get("tool_calls", ()):
                    call["function"]["arguments"] = self._object(call["function"]["arguments"], i)
        return told

    def _object(self, arguments: str, message: int) -> dict[str, Any]:
        try:
            value = json.loads(arguments)
        except ValueError as error:
            raise TemplateError(f"{self.name}: message {message}: tool arguments are broken JSON: {error}") from error
        if not isinstance(value, dict):
            raise TemplateError(
                f"{self.name}: message {message}: tool arguments must be an object, not {arguments[:40]!r}"
            )
        return value

    @cached_property
    def wrapper(self) -> str:
        """The template's words around reasoning, without blanks, as far as the model writes them; found by asking."""
        asked = {"role": "user", "content": "x"}
        try:
            prompt = self.text_hub([asked], generating=True)
            said = self.text_hub([asked, {"role": "assistant", "content": "ANSWER", "reasoning_content": "THOUGHT"}])
        except TemplateError:
            return ""
        turn = said[self.tokens.whole(said, common(prompt, said)) :]
        before, _, rest = turn.partition("THOUGHT")
        after, answer, _ = rest.partition("ANSWER")
        return "".join((before + after).split()) if answer else ""

    @cached_property
    def writes_raw_arguments(self) -> bool:
        """Whether arguments given as text are written as they are: found by asking."""
        call = {"type": "function", "id": "probe0000", "function": {"name": "probe", "arguments": PROBE}}
        asked = {"role": "user", "content": "x"}
        for content in ({"content": ""}, {}):
            try:
                said = self.text_hub([asked, {"role": "assistant", **content, "tool_calls": [call]}])
            except TemplateError:
                continue
            if PROBE in said:
                return True
        return False


def _as_transformers(message: HubMessage) -> dict[str, Any]:
    """What transformers 5 does to a message first: no key whose value is None, reasoning under all of its names."""
    edited: dict[str, Any] = {key: value for key, value in message.items() if value is not None}
    reasoning = next((edited[name] for name in TRANSFORMERS_REASONING if name in edited), None)
    if reasoning is not None:
        edited = {"thinking": reasoning, **edited, "reasoning_content": reasoning}
    return edited


def _placed(message: HubMessage, edited: HubMessage, index: int) -> Dict:
    """A message that knows its place. Reasoning lies where it was given, whatever name transformers gives it."""
    at = "messages", index
    made = Dict(edited)
    made._at, made._near = at, Near(at)
    for name, value in edited.items():
        if type(value) is str:
            text = made[name] = Text(value)
            text._of = (*at, name) if name != "role" else made._near
        else:
            made[name] = wrap(value, (*at, name))
    given = [name for name in TRANSFORMERS_REASONING if message.get(name) is not None]
    for name in TRANSFORMERS_REASONING if given else ():
        if message.get(name) is None and edited.get(name) is not None:
            made[name] = made[given[0]]
    return made


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Whatever the template raises, as a TemplateError with its own words."""
    try:
        yield
    except REFUSALS as error:
        raise TemplateError(f"{name}: {error or type(error).__name__}") from error
