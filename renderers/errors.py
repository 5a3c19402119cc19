"""Everything a renderer can refuse.

RendererError
├── UnknownModel       no family renders this model, and its tokenizer brings no chat template
├── UnknownFlag        a template flag that this family does not have
├── TemplateError      a conversation that this template cannot tell
└── TokenizerError     a vocabulary that cannot be used, or text that it cannot encode
"""


class RendererError(Exception):
    """Base of every refusal in this package."""


class UnknownModel(RendererError, LookupError):
    """No family renders this model, and its tokenizer brings no chat template."""


class UnknownFlag(RendererError, ValueError):
    """A template flag that this family does not have, or a value that it does not take."""


class TemplateError(RendererError, ValueError):
    """A conversation that this template cannot tell. The message says which message and field, and why."""


class TokenizerError(RendererError, ValueError):
    """A vocabulary that cannot be used, or text that it cannot encode."""


class EnginesDiffer(Exception):
    """No refusal but a fault: the fast engine gave other ids than `tokenizers`, so none of its ids can be used."""
