"""How a list of tools is spelled. Every formatter has two faces that write the same: Python's, and Jinja's for export.

The Jinja face prints the variable `tools`, and means what it means in Jinja as it comes: an export keeps every newline
of it, however the environment trims.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from renderers.messages import tojson


class ToolFormatter(ABC):
    """What tools look like; subclass it for a look of your own.

    To be exported it needs a method `jinja()` too: Jinja that prints the variable `tools` as `format` does.
    """

    @abstractmethod
    def format(self, tools: Sequence[Any]) -> str:
        """All tools as one text."""


@dataclass(frozen=True)
class JsonFormatter(ToolFormatter):
    """A JSON text a tool, with `joiner` between them, or one list of them all. Non-ASCII text stays as it is."""

    indent: int | None = None
    separators: tuple[str, str] | None = None
    joiner: str = "\n"
    format_as_list: bool = False
    sort_keys: bool = False

    def format(self, tools: Sequence[Any]) -> str:
        written = [list(tools)] if self.format_as_list else tools
        return self.joiner.join(
            json.dumps(t, ensure_ascii=False, indent=self.indent, separators=self.separators, sort_keys=self.sort_keys)
            for t in written
        )

    def jinja(self) -> str:
        how = {"indent": self.indent, "separators": self.separators, "sort_keys": self.sort_keys or None}
        spelled = ", ".join(f"{name}={value!r}" for name, value in how.items() if value is not None)
        written = "[tools]" if self.format_as_list else "tools"
        between = "{% if not loop.last %}{{ " + quoted(self.joiner) + " }}{% endif %}"
        return f"{{% for tool in {written} %}}{{{{ tool | tojson({spelled}) }}}}{between}{{% endfor %}}"


ESCAPES = (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("{%", "\\x7b%"), ("%}", "%\\x7d"))
"""What a Jinja string spells otherwise; ends of tags too, so that tags can be found."""


def quoted(text: str) -> str:
    """A text as a Jinja string."""
    for written, escaped in ESCAPES:
        text = text.replace(written, escaped)
    return f"'{text}'"


def JsonMinifiedFormatter(joiner: str = "\n") -> JsonFormatter:  # noqa: N802 (a kind of formatter)
    """A line a tool, without blanks."""
    return JsonFormatter(separators=(",", ":"), joiner=joiner)


def JsonCompactFormatter(*, format_as_list: bool = True) -> JsonFormatter:  # noqa: N802
    """All tools in one list without blanks."""
    return JsonFormatter(separators=(",", ":"), format_as_list=format_as_list)


def JsonIndentedFormatter(  # noqa: N802
    indent: int = 4, *, joiner: str = "\n\n", format_as_list: bool = False
) -> JsonFormatter:
    """Tools over many lines, as Mistral and Llama have them."""
    return JsonFormatter(indent=indent, joiner=joiner, format_as_list=format_as_list)


def JsonQwenFormatter() -> JsonFormatter:  # noqa: N802
    """A line a tool, spaced as Python spaces JSON."""
    return JsonFormatter()


def JsonFormatterNoBreakLine() -> JsonFormatter:  # noqa: N802
    """All tools on one line, nothing between them."""
    return JsonFormatter(joiner="")


@dataclass(frozen=True)
class YamlFormatter(ToolFormatter):
    """Tools as a YAML list: mappings and lists in blocks, all else as JSON, which YAML reads too."""

    def format(self, tools: Sequence[Any]) -> str:
        return yaml(list(tools))

    def jinja(self) -> str:
        return YAML + "{{ yaml(tools, '') }}"


NO_KEYS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
"""What YAML takes for something else than a string."""


def yaml(value: Any, margin: str = "") -> str:
    """A JSON value as YAML; its first line stands where it is put, the others behind `margin`."""
    inner, between = margin + "  ", "\n" + margin
    if isinstance(value, (list, tuple)) and value:
        return between.join("- " + yaml(one, inner) for one in value)
    if not isinstance(value, Mapping) or not value:
        return tojson(value)
    return between.join(_key(key) + _lead(one, inner) + yaml(one, inner) for key, one in value.items())


def _key(key: str) -> str:
    plain = key.replace("_", "").isalpha() and key.lower() not in NO_KEYS
    return key if plain else tojson(key)


def _lead(value: Any, inner: str) -> str:
    """What stands between a key and its value."""
    return ":\n" + inner if isinstance(value, (Mapping, list, tuple)) and value else ": "


YAML = """
{%- macro yaml(value, margin) %}
    {%- set inner = margin ~ '  ' %}
    {%- if value and value is mapping %}
        {%- for key, one in value.items() %}
            {{- '' if loop.first else '\\n' ~ margin }}
            {{- key if key.replace('_', '').isalpha() and key.lower() not in NO_KEYS else key | tojson }}
            {{- ':\\n' ~ inner if one and one is iterable and one is not string else ': ' }}
            {{- yaml(one, inner) }}
        {%- endfor %}
    {%- elif value and value is iterable and value is not string %}
        {%- for one in value %}
            {{- '' if loop.first else '\\n' ~ margin }}
            {{- '- ' ~ yaml(one, inner) }}
        {%- endfor %}
    {%- else %}
        {{- value | tojson }}
    {%- endif %}
{%- endmacro %}
""".strip().replace("NO_KEYS", str(NO_KEYS))
"""`yaml` again, in Jinja."""
