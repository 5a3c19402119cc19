"""A template of one's own as Jinja, for whatever reads chat templates: it writes what the template itself writes.

Data is put out where it stands, never put into a text that is searched for places again. Every tag trims the blanks
before it and all words are strings, so that nothing depends on how an environment trims.
"""

import re

from renderers.chatting.declaring import NO_RESULTS, generation_prompt
from renderers.chatting.formatters import quoted
from renderers.chatting.policies import ToolPlacement
from renderers.chatting.wording import Wording
from renderers.hub import REASONING_FIELDS
from renderers.media import SHOWN_BY
from renderers.messages import MEDIA
from renderers.patterns import pieces

CALL = "{{- call.arguments if call.arguments is string else call.arguments | tojson }}"
REASONING = " else ".join(f"message.{name} if message.{name} is string" for name in REASONING_FIELDS) + " else ''"
PARAMETERS = "{{- raise_exception('tool arguments must be a mapping') if call.arguments is not mapping }}"
MACROS = """
{%- macro text(content, shown=false) %}
    {%- if content is string %}{{- content }}
    {%- elif content is mapping %}{{- content | tojson }}
    {%- elif content %}
        {%- for part in content %}
            {%- if part.type == 'text' %}{{- part.text }}
            MEDIA{%- else %}{{- raise_exception('there are no words for ' ~ part.type) }}{%- endif %}
        {%- endfor %}
    {%- endif %}
{%- endmacro %}
"""


def exported(wording: Wording, *, generation: bool = True) -> str:
    """The Jinja of a template. `generation`: mark what the model writes with `{% generation %}`.

    Raises TemplateError where a processor has no `jinja()`.
    """
    export = _Export(wording, generation=generation)
    ends = "{%- if add_generation_prompt %}" + words(generation_prompt(wording)) + "{%- endif %}"
    told = export.head() + export.messages() + ends
    told = told.replace("{%- ", "\n{%- ")  # a tag that trims may stand on a line of its own
    return MACROS.strip().replace("MEDIA", seen(wording)) + told


def seen(wording: Wording) -> str:
    """The branches of media, where parts are told."""
    told = list[str]()
    for kind, medium in wording.media.items():
        named = tuple(name for name, known in MEDIA.items() if known == kind)
        told.append(f"{{%- elif shown and part.type in {named} %}}" + words(medium.words.replace("{pad}", medium.pad)))
    return "".join(told)


def words(text: str) -> str:
    """A tag that writes these words."""
    return "{{- " + quoted(text) + " }}" if text else ""


def wrote(expression: str) -> str:
    return "{{- " + expression + " }}"


def when(condition: str, then: str, otherwise: str = "") -> str:
    """One text or another."""
    middle = "{%- else %}" + otherwise if otherwise else ""
    return "{%- if " + condition + " %}" + then + middle + "{%- endif %}"


def filled(pattern: str, **places: str) -> str:
    """A pattern whose places are tags."""
    told = pieces(pattern)
    return "".join(places[piece] if position % 2 else words(piece) for position, piece in enumerate(told))


def captured(name: str, snippet: str) -> str:
    """A variable that holds what a snippet prints, as Jinja prints it that trims nothing."""
    snippet = re.sub(r"(?<![-+])%\}", "+%}", re.sub(r"\{%(?![-+])", "{%+", snippet))
    return "{%- set " + name + " +%}" + snippet + "{%+ endset %}"


class _Export:
    """The parts of an export."""

    def __init__(self, wording: Wording, *, generation: bool):
        self.wording, self.generation, self.patterns = wording, generation, wording.patterns
        self.placement = wording.tool_policy.placement
        self.in_system = self.placement is ToolPlacement.SYSTEM

    def face(self, policy: str, name: str) -> str | None:
        """The Jinja of a processor or formatter; None where there is none to export."""
        made = getattr(getattr(self.wording, policy), name)
        if made is None:
            return None
        if not hasattr(made, "jinja"):
            why = f"{made!r} cannot be exported: give it a method jinja() that writes what it makes"
            raise self.wording.wrong(f"{policy}.{name}", why)
        return made.jinja()

    def head(self) -> str:
        """What stands before the messages that are told one by one."""
        policy = self.wording.system_policy
        wanted = ["opening", *["true"] * policy.use_system_without_system_message]
        wanted += self.wording.sections(spoken=False) * policy.use_system_with_tools_provided
        said = f"text(messages[0].content) if opening else {quoted(self.wording.system_message)}"
        tools = (
            when("tools", filled(self.patterns["tools_template"], tools=wrote("catalogue"))) if self.in_system else ""
        )
        change = self.face("system_policy", "content_processor")
        system = "{%- set system_message = " + said + " %}" + captured("said", change or "{{ system_message }}")
        places = {"system_message": wrote("said"), "tools": tools, "skills": self.skills()}
        fields = dict.fromkeys(self.wording.opening(spoken=spoken) for spoken in (True, False))
        told = [filled(self.patterns[name], **places) for name in fields]
        system += when("opening", *told) if len(told) > 1 else told[0]
        opening = "{%- set opening = messages[0].role in ('system', 'developer') %}"
        told = when(" or ".join(wanted), system) if policy.use_system else ""
        return opening + self.catalogue() + words(self.wording.global_policy.prefix) + told

    def catalogue(self) -> str:
        """Sets `catalogue`, the tools as text, and `holder`, the user message where they stand."""
        change = self.face("tool_policy", "content_processor")
        tools = listed("tools", "tool", change) if change else ""
        snippet = self.face("tool_policy", "formatter") or ""
        if one := self.patterns.get("single_tool_template"):
            each = captured("catalogue", snippet) + filled(one, tool=wrote("catalogue"))
            snippet = "{%- for tool in tools %}{%- set tools = [tool] %}" + each + "{%- endfor %}"
        told = when("tools", tools + captured("catalogue", snippet))
        if self.in_system:
            return told
        first = "ns.holder is none and " if self.placement is ToolPlacement.FIRST_USER else ""
        found = "{%- if " + first + "message.role == 'user' %}{%- set ns.holder = loop.index0 %}{%- endif %}"
        return told + "{%- set ns = namespace(holder=none) %}{%- for message in messages %}" + found + "{%- endfor %}"

    def skills(self) -> str:
        """The section of the skills."""
        policy, pattern = self.wording.skill_policy, self.patterns["single_skill_template"]
        values = {place: f"skill['{place}']" for place in pieces(pattern)[1::2]}  # `skill.items` would be a method
        fields = {place: wrote(f"{v} if {v} is string else {v} | tojson") for place, v in values.items()}
        change = self.face("skill_policy", "content_processor")
        each = when("not loop.first", words(policy.joiner)) if policy.joiner else ""
        each += ("{%- set skill = " + change + " %}" if change else "") + filled(pattern, **fields)
        told = "{%- for skill in skills %}" + each + "{%- endfor %}"
        return when("skills", filled(self.patterns["skills_template"], skills=told))

    def messages(self) -> str:
        """Every message that the head has not told."""
        system = filled(self.patterns["system_template"], system_message=wrote("said"), tools="", skills="")
        roles = {
            "loop.first and opening": "",
            "message.role in ('system', 'developer')": system,
            "message.role == 'user'": self.user(),
            "message.role == 'tool'": self.results(),
            "message.role == 'assistant'": self.assistant(),
        }
        told = "".join("{%- elif " + role + " %}" + each for role, each in roles.items())
        refused = "{%- else %}" + wrote("raise_exception('there is no turn for role ' ~ message.role)") + "{%- endif %}"
        said = "{%- set said = text(message.content, message.role in " + str(SHOWN_BY) + ") %}"
        return "{%- for message in messages %}" + said + told.replace("elif", "if", 1) + refused + "{%- endfor %}"

    def user(self) -> str:
        plain = filled(self.patterns["user_template"], content=wrote("said"))
        if self.in_system:
            return plain
        section = filled(self.patterns["tools_template"], tools=wrote("catalogue"))
        holding = filled(self.patterns["user_template"], content=wrote("said") + section)
        if own := self.patterns.get("user_template_with_tools"):
            holding = filled(own, content=wrote("said"), tools=wrote("catalogue"))
        return when("tools and loop.index0 == ns.holder", holding, plain)

    def results(self) -> str:
        pattern = self.patterns.get("observations_template")
        if pattern is None:
            return wrote(f"raise_exception({quoted(NO_RESULTS)})")
        open_, _, close = pieces(pattern)
        fields = {name: wrote(f"message.{name} or ''") for name in ("name", "tool_call_id")}
        told = filled(self.patterns["single_observation_template"], observation=wrote("said"), **fields)
        first = when("not loop.previtem or loop.previtem.role != 'tool'", words(open_)) if open_ else ""
        last = when("not loop.nextitem or loop.nextitem.role != 'tool'", words(close)) if close else ""
        return first + told + last

    def assistant(self) -> str:
        written = self.wording.written
        change = self.face("assistant_policy", "content_processor")
        told = "{%- set content = said %}" + captured("said", change) if change else ""
        if written.after_reasoning is not None:
            thought = filled(self.patterns["reasoning_template"], reasoning=wrote("reasoning"))
            told += "{%- set reasoning = " + REASONING + " %}"
            told += when("reasoning", thought) + words(written.after_reasoning)
        told += wrote("said") + self.calls(written.before_calls) + words(written.stop)
        if self.generation:
            told = "{%- generation %}" + told + "{%- endgeneration %}"
        return words(written.open) + told + words(written.after)

    def calls(self, before: str | None) -> str:
        if before is None:
            return ""
        open_, _, close = pieces(self.patterns["tool_calls_template"])
        joiner, one = self.wording.tool_calls_joiner, self.patterns["single_tool_call_template"]
        change = self.face("tool_policy", "tool_call_content_processor")
        lead = when("loop.first", (when("said", words(before)) if before else "") + words(open_), words(joiner))
        each = "{%- set id = call.id or '' %}{%- set call = call.function if call.function is defined else call %}"
        each += "{%- set call = " + change + " %}" if change else ""
        fields = {"name": wrote("call.name"), "id": wrote("id"), "arguments": CALL}
        if "{parameters}" in one:
            fields["parameters"] = self.parameters()
        each += (lead if before or open_ or joiner else "") + filled(one, **fields)
        each += when("loop.last", words(close)) if close else ""
        return "{%- for call in message.tool_calls or [] %}" + each + "{%- endfor %}"

    def parameters(self) -> str:
        value = wrote("value if value is string else value | tojson")
        string = wrote("'true' if value is string else 'false'")
        one = filled(self.patterns["single_parameter_template"], key=wrote("key"), value=value, string=string)
        return PARAMETERS + "{%- for key, value in call.arguments.items() %}" + one + "{%- endfor %}"


def listed(many: str, one: str, change: str) -> str:
    """Sets a list to what an expression makes of each of it."""
    each = "{%- for " + one + " in " + many + " %}{%- set made.list = made.list + [" + change + "] %}{%- endfor %}"
    return "{%- set made = namespace(list=[]) %}" + each + "{%- set " + many + " = made.list %}"
