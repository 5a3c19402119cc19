"""Going on from ids: servers, and models in this process."""

from pipeline.sampling.dialects import (
    Dialect,
    ask_completions,
    ask_sglang,
    ask_vllm,
    read_completions,
    read_sglang,
    read_vllm,
)

DIALECTS = {
    "vllm": Dialect("/inference/v1/generate", ask_vllm, read_vllm),
    "sglang": Dialect("/generate", ask_sglang, read_sglang),
    "completions": Dialect("/v1/completions", ask_completions, read_completions),
}
