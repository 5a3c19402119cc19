"""Messages to token ids that know what they are, and back: see `create_renderer`."""

from renderers.errors import RendererError, TemplateError, TokenizerError, UnknownFlag, UnknownModel
from renderers.masking import POLICIES, LossPolicy, labels, loss_mask
from renderers.messages import Message, Part, Request, ToolCall, from_hub, to_hub
from renderers.parsing import Parsed
from renderers.registry import FAMILIES, create_renderer
from renderers.rendered import Rendered, Span
from renderers.renderer import Family, Renderer, Witness
from renderers.segments import Kind, Origin, Proof, Segment, Stream, Verdict
from renderers.tokenizer import Tokenizer

__all__ = [
    "FAMILIES",
    "POLICIES",
    "Family",
    "Kind",
    "LossPolicy",
    "Message",
    "Origin",
    "Parsed",
    "Part",
    "Proof",
    "Rendered",
    "Renderer",
    "RendererError",
    "Request",
    "Segment",
    "Span",
    "Stream",
    "TemplateError",
    "Tokenizer",
    "TokenizerError",
    "ToolCall",
    "UnknownFlag",
    "UnknownModel",
    "Verdict",
    "Witness",
    "create_renderer",
    "from_hub",
    "labels",
    "loss_mask",
    "to_hub",
]
