"""Messages to token ids that know what they are, and back: see `create_renderer`."""

from renderers.arguments import CallStatus
from renderers.bridging import Bridge
from renderers.chat import Chat, get_template, register_template, tokenize_chats, tokenize_conversations
from renderers.chatting.formatters import (
    JsonCompactFormatter,
    JsonFormatter,
    JsonFormatterNoBreakLine,
    JsonIndentedFormatter,
    JsonMinifiedFormatter,
    JsonQwenFormatter,
    ToolFormatter,
    YamlFormatter,
)
from renderers.chatting.policies import (
    AssistantPolicy,
    GlobalPolicy,
    Llama32DateProcessor,
    Qwen25AssistantContentProcessor,
    SkillPolicy,
    SystemPolicy,
    ToolMainContentProcessor,
    ToolPlacement,
    ToolPolicy,
)
from renderers.chatting.template import Template
from renderers.closing import Refusal
from renderers.comparing import Comparison, compare_hf_template
from renderers.errors import RendererError, TemplateError, TokenizerError, UnknownFlag, UnknownModel
from renderers.histories import HISTORIES
from renderers.hub import from_hub, to_hub
from renderers.masking import POLICIES, LossPolicy, labels, loss_mask, loss_weights
from renderers.media import Media, MultiModalData, PlaceholderRange
from renderers.messages import Message, Part, Request, ToolCall
from renderers.parsing import Listening, Parsed, ParsedCall
from renderers.pooling import RendererPool, create_renderer_pool
from renderers.registry import FAMILIES, create_renderer
from renderers.rendered import Rendered, Span
from renderers.renderer import Family, Renderer, Witness
from renderers.samples import TrainingSample, build_training_sample
from renderers.segments import Expansion, Kind, Origin, Proof, Segment, Stream, Verdict
from renderers.tokenizer import Tokenizer

__all__ = [
    "FAMILIES",
    "HISTORIES",
    "POLICIES",
    "AssistantPolicy",
    "Bridge",
    "CallStatus",
    "Chat",
    "Comparison",
    "Expansion",
    "Family",
    "GlobalPolicy",
    "JsonCompactFormatter",
    "JsonFormatter",
    "JsonFormatterNoBreakLine",
    "JsonIndentedFormatter",
    "JsonMinifiedFormatter",
    "JsonQwenFormatter",
    "Kind",
    "Listening",
    "Llama32DateProcessor",
    "LossPolicy",
    "Media",
    "Message",
    "MultiModalData",
    "Origin",
    "Parsed",
    "ParsedCall",
    "Part",
    "PlaceholderRange",
    "Proof",
    "Qwen25AssistantContentProcessor",
    "Refusal",
    "Rendered",
    "Renderer",
    "RendererError",
    "RendererPool",
    "Request",
    "Segment",
    "SkillPolicy",
    "Span",
    "Stream",
    "SystemPolicy",
    "Template",
    "TemplateError",
    "Tokenizer",
    "TokenizerError",
    "ToolCall",
    "ToolFormatter",
    "ToolMainContentProcessor",
    "ToolPlacement",
    "ToolPolicy",
    "TrainingSample",
    "UnknownFlag",
    "UnknownModel",
    "Verdict",
    "Witness",
    "YamlFormatter",
    "build_training_sample",
    "compare_hf_template",
    "create_renderer",
    "create_renderer_pool",
    "from_hub",
    "get_template",
    "labels",
    "loss_mask",
    "loss_weights",
    "register_template",
    "to_hub",
    "tokenize_chats",
    "tokenize_conversations",
]
