"""Everything the pipeline can refuse.

PipelineError
├── SettingsError     tracemill.yaml or the environment: names file, key and cure
├── PromptFileError   a prompt batch file that cannot be read: names file, line and field
├── TraceError        a trace that cannot be told; becomes a Reject. `reason` is the code, the message says where
├── StoreError        a partition that is missing, or that another version wrote
├── TokenizerUnavailable   a target's tokenizer cannot be had here
├── EndpointRefused   the model's server will answer nobody: no key, no price for a budget; names the cure
├── SamplingError     a server that fails, or answers with what is no completion
│   └── OverlongPrompt   a prompt that leaves no room for a completion
└── PublicationRefused     the audit has not passed for exactly these rows
"""


class PipelineError(Exception):
    """Base of every refusal in this package."""


class SettingsError(PipelineError, ValueError):
    """A setting in tracemill.yaml or the environment that cannot be used."""


class PromptFileError(PipelineError, ValueError):
    """A prompt batch file that cannot be read."""


class TraceError(PipelineError, ValueError):
    """A trace that cannot be told."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason


class StoreError(PipelineError, LookupError):
    """A partition that is missing, or that another version wrote."""


class TokenizerUnavailable(PipelineError, LookupError):
    """The tokenizer that a target names cannot be had here."""


class EndpointRefused(PipelineError):
    """The model's server will answer nobody."""


class SamplingError(PipelineError):
    """A server that fails, or answers with what is no completion."""


class OverlongPrompt(SamplingError):
    """A prompt that leaves no room for a completion."""


class PublicationRefused(PipelineError):
    """The audit has not passed for exactly these rows."""
