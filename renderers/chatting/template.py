"""A template of one's own, in strings with places: `Template`."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from renderers.chatting.declaring import declared
from renderers.chatting.exporting import exported
from renderers.chatting.wording import Wording
from renderers.renderer import Family


@dataclass(frozen=True)
class Template(Wording):
    """How a conversation is told, in words with places and in policies; see `Wording` for its fields.

    Raises TemplateError, naming the field, for words that make no template. `dataclasses.replace` changes one.
    """

    def __post_init__(self) -> None:
        self.family  # noqa: B018 (what is wrong is said here, and not when the first conversation is told)

    def __getstate__(self) -> dict[str, Any]:
        """The words alone, for other processes: there they are declared again."""
        return {given.name: getattr(self, given.name) for given in fields(self)}

    @cached_property
    def family(self) -> Family:
        """The declared witness: what tells conversations, proves turns, and reads completions back."""
        return Family(self.name, declared(self), flags={"skills": list})

    def jinja_template(self, *, generation: bool = True) -> str:
        """This template as Jinja, which writes what it writes; `tokenizer.chat_template = template.jinja_template()`.

        generation: mark what the model writes with `{% generation %}`, which transformers makes a mask of.
        Raises TemplateError where a processor or formatter has no Jinja face.
        """
        return exported(self, generation=generation)
