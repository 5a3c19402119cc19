"""Families, a row each, and the choice of a witness for a tokenizer."""

import hashlib
from datetime import date
from typing import Any

from renderers.errors import UnknownFlag, UnknownModel
from renderers.families import (
    deepseek_r1,
    deepseek_v3,
    deepseek_v3_1,
    deepseek_v3_2,
    gemma_3,
    gemma_4,
    glm_4_5,
    glm_5,
    glm_5_1,
    gpt_oss,
    kimi_k2,
    kimi_k2_5,
    kimi_k2_6,
    kimi_k2_thinking,
    llama_3,
    llama_3_1,
    llama_3_2,
    minimax_m2,
    ministral_3,
    mistral_nemo,
    mistral_small_3_2,
    nemotron_3,
    qwen2_5,
    qwen3,
    qwen3_5,
    qwen3_6,
    qwen3_8,
    qwen3_2507,
    qwen3_coder,
    qwen3_vl,
    smollm3,
)
from renderers.renderer import Family, Renderer, Witness
from renderers.tokenizer import Tokenizer
from renderers.tracing.witness import TracedTemplate

FAMILIES = {
    row.name: row
    for row in (
        Family(
            "qwen2.5",
            qwen2_5.TEMPLATE,
            models=(
                "Qwen/Qwen2.5-0.5B-Instruct",
                "Qwen/Qwen2.5-1.5B-Instruct",
                "Qwen/Qwen2.5-3B-Instruct",
                "Qwen/Qwen2.5-7B-Instruct",
                "Qwen/Qwen2.5-14B-Instruct",
                "Qwen/Qwen2.5-32B-Instruct",
                "Qwen/Qwen2.5-72B-Instruct",
            ),
            fingerprints=("cd8e9439f0570856fd70470bf8889ebd8b5d1107207f67a5efb46e342330527f",),
        ),
        Family(
            "qwen3",
            qwen3.TEMPLATE,
            models=(
                "Qwen/Qwen3-0.6B",
                "Qwen/Qwen3-1.7B",
                "Qwen/Qwen3-4B",
                "Qwen/Qwen3-8B",
                "Qwen/Qwen3-14B",
                "Qwen/Qwen3-32B",
                "Qwen/Qwen3-30B-A3B",
                "Qwen/Qwen3-235B-A22B",
            ),
            fingerprints=(
                "a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8",
                "87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5",
            ),
            flags={"enable_thinking": bool},
            switches={"enable_thinking": True},
        ),
        Family(
            "qwen3-2507-instruct",
            qwen3_2507.INSTRUCT,
            models=(
                "Qwen/Qwen3-4B-Instruct-2507",
                "Qwen/Qwen3-30B-A3B-Instruct-2507",
                "Qwen/Qwen3-235B-A22B-Instruct-2507",
            ),
            fingerprints=("64f85b198065d0fba2a81f37e10ed68161ce2c19a754c7100e67e0ca2ee9c326",),
        ),
        Family(
            "qwen3-2507-thinking",
            qwen3_2507.THINKING,
            models=(
                "Qwen/Qwen3-4B-Thinking-2507",
                "Qwen/Qwen3-30B-A3B-Thinking-2507",
                "Qwen/Qwen3-235B-A22B-Thinking-2507",
            ),
            fingerprints=("3802169b2a02b81e6adb7ab4f64f91ff02db753c8c3a64a01c35192d3a61d8d7",),
        ),
        Family(
            "qwen3-vl",
            qwen3_vl.TEMPLATE,
            models=(
                "Qwen/Qwen3-VL-2B-Instruct",
                "Qwen/Qwen3-VL-4B-Instruct",
                "Qwen/Qwen3-VL-8B-Instruct",
                "Qwen/Qwen3-VL-32B-Instruct",
                "Qwen/Qwen3-VL-30B-A3B-Instruct",
                "Qwen/Qwen3-VL-235B-A22B-Instruct",
            ),
            fingerprints=("3636d0f0bd6bef02654cdffdc447b79cb2cef8ab02cc75267345946291a489e4",),
        ),
        Family(
            "qwen3-coder",
            qwen3_coder.TEMPLATE,
            models=("Qwen/Qwen3-Coder-30B-A3B-Instruct", "Qwen/Qwen3-Coder-480B-A35B-Instruct"),
            fingerprints=("d287fb2edf144207f868ae1b282755dc19db2a3f1c5b3a3d57e9e5abffa98392",),
        ),
        Family(
            "qwen3.5",
            qwen3_5.TEMPLATE,
            models=(
                "Qwen/Qwen3.5-4B",
                "Qwen/Qwen3.5-9B",
                "Qwen/Qwen3.5-27B",
                "Qwen/Qwen3.5-35B-A3B",
                "Qwen/Qwen3.5-122B-A10B",
                "Qwen/Qwen3.5-397B-A17B",
            ),
            fingerprints=("a4aee8afcf2e0711942cf848899be66016f8d14a889ff9ede07bca099c28f715",),
            flags={"enable_thinking": bool},
            switches={"enable_thinking": True},
        ),
        Family(
            "qwen3.5-small",
            qwen3_5.SMALL,
            models=("Qwen/Qwen3.5-0.8B", "Qwen/Qwen3.5-2B"),
            fingerprints=("273d8e0e683b885071fb17e08d71e5f2a5ddfb5309756181681de4f5a1822d80",),
            flags={"enable_thinking": bool},
            switches={"enable_thinking": False},
        ),
        Family(
            "qwen3.6",
            qwen3_6.TEMPLATE,
            models=("Qwen/Qwen3.6-27B", "Qwen/Qwen3.6-35B-A3B"),
            fingerprints=("e84f32a23fdda27689f868aa4a1a5621f41133e51a48d7f3efcbea2839574259",),
            flags={"enable_thinking": bool, "preserve_thinking": bool},
            switches={"enable_thinking": True, "preserve_thinking": False},
        ),
        Family(
            "qwen3.8",
            qwen3_8.TEMPLATE,
            models=("Qwen/Qwen3.8-27B",),
            fingerprints=("c3cf9e34abf4f9e36c2d72165aa9c132d3e2a725b6c2586aaa3a8af9d7a81041",),
            flags={"enable_thinking": bool, "preserve_thinking": bool, "reasoning_effort": tuple(qwen3_8.EFFORTS)},
            switches={"enable_thinking": True, "preserve_thinking": True},
        ),
        Family(
            "gemma-3",
            gemma_3.TEMPLATE,
            models=tuple(f"google/gemma-3-{size}-it" for size in ("270m", "1b", "4b", "12b", "27b")),
            fingerprints=("7de1c58e208eda46e9c7f86397df37ec49883aeece39fb961e0a6b24088dd3c4",),
        ),
        Family(
            "llama-3",
            llama_3.TEMPLATE,
            models=("meta-llama/Meta-Llama-3-8B-Instruct", "meta-llama/Meta-Llama-3-70B-Instruct"),
            fingerprints=("ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122",),
        ),
        Family(
            "llama-3.1",
            llama_3_1.TEMPLATE,
            models=(
                "meta-llama/Llama-3.1-8B-Instruct",
                "meta-llama/Llama-3.1-70B-Instruct",
                "meta-llama/Llama-3.1-405B-Instruct",
                "meta-llama/Llama-3.3-70B-Instruct",
            ),
            fingerprints=("e10ca381b1ccc5cf9db52e371f3b6651576caee0a630b452e2816b2d404d4b65",),
            flags={"date_string": str, "tools_in_user_message": bool},
        ),
        Family(
            "llama-3.2",
            llama_3_2.TEMPLATE,
            models=("meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-3B-Instruct"),
            fingerprints=("5816fce10444e03c2e9ee1ef8a4a1ea61ae7e69e438613f3b17b69d0426223a4",),
            flags={"date_string": str, "tools_in_user_message": bool, "today": date},
        ),
        Family(
            "gemma-4",
            gemma_4.TEMPLATE,
            models=("google/gemma-4-E2B-it", "google/gemma-4-E4B-it"),
            fingerprints=("0a2c8073c878ab1da004bee933a998606537bbb62016310352c7285c3f01c5b5",),
            flags={"enable_thinking": bool, "preserve_thinking": bool},
            switches={"enable_thinking": False, "preserve_thinking": False},
        ),
        Family(
            "gpt-oss",
            gpt_oss.TEMPLATE,
            models=("openai/gpt-oss-20b", "openai/gpt-oss-120b"),
            fingerprints=("a4c9919cbbd4acdd51ccffe22da049264b1b73e59055fa58811a99efbd7c8146",),
            flags={"today": date, "reasoning_effort": gpt_oss.EFFORTS, "model_identity": str},
        ),
        Family(
            "mistral-nemo",
            mistral_nemo.TEMPLATE,
            models=("mistralai/Mistral-Nemo-Instruct-2407",),
            fingerprints=("7a29791b46bd731f43fbe4994f23c7b689daaa36c4d0294485fab19825a2ec5d",),
            flags={"number_calls": bool},
        ),
        Family(
            "mistral-small-3.2",
            mistral_small_3_2.TEMPLATE,
            models=("mistralai/Mistral-Small-3.2-24B-Instruct-2506",),
            fingerprints=("2efd97c13c1b767159dd86d477dcfaef9ec3d6e40a98df4fb9d8b9f5d753d438",),
            flags={"number_calls": bool},
        ),
        Family(
            "ministral-3",
            ministral_3.TEMPLATE,
            models=tuple(f"mistralai/Ministral-3-{size}-Instruct-2512" for size in ("3B", "8B", "14B")),
            fingerprints=("141cf8b575fe34f5bed900edc2aebc2aa1516a962c15c08168ed050da8f41c1f",),
        ),
        Family(
            "deepseek-v3",
            deepseek_v3.TEMPLATE,
            models=("deepseek-ai/DeepSeek-V3",),
            fingerprints=("3b8267e54b67df6500f231ffa969955cc9d26b3444a291ced4eb96ca7d3ca1ea",),
        ),
        Family(
            "deepseek-r1",
            deepseek_r1.TEMPLATE,
            models=("deepseek-ai/DeepSeek-R1",),
            fingerprints=("563b1ce7d61d50a9b4c7439a912a1116f095b712df5b5e4d3e1116049874eb64",),
        ),
        Family(
            "deepseek-v3.1",
            deepseek_v3_1.TEMPLATE,
            models=("deepseek-ai/DeepSeek-V3.1",),
            fingerprints=("d9f5f351b276cf9e81d009db08830db7d38e94927aecd09a7beb43e2aafee94e",),
            flags={"thinking": bool, "enable_thinking": bool},
            switches={"thinking": False},
        ),
        Family(
            "deepseek-v3.2",
            deepseek_v3_2.TEMPLATE,
            models=("deepseek-ai/DeepSeek-V3.2",),
            flags={"thinking": bool},
            switches={"thinking": False},
        ),
        Family(
            "kimi-k2",
            kimi_k2.TEMPLATE,
            models=("moonshotai/Kimi-K2-Instruct",),
            fingerprints=("66683f1602095315a26e5f6682f905790325c83ba8c9693147d0e31761cb7759",),
            flags={"number_calls": bool},
        ),
        Family(
            "kimi-k2-thinking",
            kimi_k2_thinking.TEMPLATE,
            models=("moonshotai/Kimi-K2-Thinking",),
            fingerprints=("e7a23c1222430255aea0174be503c29d08cbe23f3bc6c527199c4892e10791a2",),
            flags={"number_calls": bool},
        ),
        Family(
            "kimi-k2.5",
            kimi_k2_5.TEMPLATE,
            models=("moonshotai/Kimi-K2.5",),
            fingerprints=("9e5d37e08bd1a243a59ccfa513f44b72015342e71c7f17812b4c96e97296e5e6",),
            flags={"thinking": bool, "tools_ts_str": str, "number_calls": bool},
            switches={"thinking": True},
        ),
        Family(
            "kimi-k2.6",
            kimi_k2_6.TEMPLATE,
            models=("moonshotai/Kimi-K2.6",),
            fingerprints=("8bf859698fd4781c0e1e1c63ce74422aab27e53ccc5f47116317c64cda06132f",),
            flags={"thinking": bool, "preserve_thinking": bool, "tools_ts_str": str, "number_calls": bool},
            switches={"thinking": True, "preserve_thinking": False},
        ),
        Family(
            "smollm3",
            smollm3.TEMPLATE,
            models=("HuggingFaceTB/SmolLM3-3B",),
            fingerprints=("0dab472abbdc499c8d82acae3ad6e8404f672d2d50d9df582181daf062f66eb7",),
            flags={"enable_thinking": bool, "today": date, "xml_tools": list, "python_tools": list},
            switches={"enable_thinking": True},
        ),
        Family(
            "glm-4.5",
            glm_4_5.TEMPLATE,
            models=("zai-org/GLM-4.5", "zai-org/GLM-4.5-Air", "zai-org/GLM-4.5-FP8", "zai-org/GLM-4.5-Air-FP8"),
            fingerprints=("44f815868bf02fa458dd2f741a338046f4bf45f398eb6d067766726b9d96cce3",),
            flags={"enable_thinking": bool},
            switches={"enable_thinking": True},
        ),
        Family(
            "glm-4.7-flash",
            glm_5.TEMPLATE,
            models=("zai-org/GLM-4.7-Flash",),
            fingerprints=("d63ad536c3c81880043e22ec7fd08db42b4d8fb7c89c7138bc562bfa25281375",),
            flags={"enable_thinking": bool, "clear_thinking": bool},
            switches={"enable_thinking": True, "clear_thinking": True},
        ),
        Family(
            "glm-5",
            glm_5.TEMPLATE,
            models=("zai-org/GLM-5",),
            fingerprints=("45a1d5635afd3d8e08a28866e72fc8395d2a7ec30989fd0bdaec6dd45a99eff0",),
            flags={"enable_thinking": bool, "clear_thinking": bool},
            switches={"enable_thinking": True, "clear_thinking": True},
        ),
        Family(
            "glm-5.1",
            glm_5_1.GLM_5_1,
            models=("zai-org/GLM-5.1",),
            fingerprints=("ba00052efe3823084faf8e3bd4e32b41cce2a8e9ee8bcff2080106cb2648943e",),
            flags={"enable_thinking": bool, "clear_thinking": bool},
            switches={"enable_thinking": True, "clear_thinking": True},
        ),
        Family(
            "glm-5.2",
            glm_5_1.GLM_5_2,
            models=("zai-org/GLM-5.2",),
            fingerprints=("172dc74a35e1752df75ecfb2b2cf9326d2852bb1379868ebeec9571654489679",),
            flags={"enable_thinking": bool, "clear_thinking": bool, "reasoning_effort": ("high", "max")},
            switches={"enable_thinking": True, "clear_thinking": True},
        ),
        Family(
            "minimax-m2",
            minimax_m2.M2,
            models=("MiniMaxAI/MiniMax-M2",),
            fingerprints=("6197838b2be771351d457d9f715ff8e0c0861b7c2d1b1d6ce2acab25ced9d530",),
            flags={"model_identity": str},
        ),
        Family(
            "minimax-m2.7",
            minimax_m2.M2_7,
            models=("MiniMaxAI/MiniMax-M2.7",),
            fingerprints=("893d908f7b5cc65fdde270dcae5ea1a99647c6a7ce572ae874a57b7160069566",),
            flags={"model_identity": str},
        ),
        Family(
            "nemotron-3-nano",
            nemotron_3.NANO,
            models=("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-FP8"),
            fingerprints=("ab7813c3abdd9cb655905a410728b26c7884eca45ddfab8d9f931553485a7862",),
            flags={"enable_thinking": bool, "truncate_history_thinking": bool},
            switches={"enable_thinking": True, "truncate_history_thinking": True},
        ),
        Family(
            "nemotron-3-super",
            nemotron_3.SUPER,
            fingerprints=("575fb74f54ed264df9047d0ecce3c98938aae953fb4f50356675706264cbb68a",),
            flags={"enable_thinking": bool, "truncate_history_thinking": bool, "low_effort": bool},
            switches={"enable_thinking": True, "truncate_history_thinking": True},
        ),
        Family(
            "nemotron-3-ultra",
            nemotron_3.ULTRA,
            fingerprints=("82753bef5cedc4932c1ed509b5c9a12be680fd86d1adb65bc3f7398d11c8eebc",),
            flags={"enable_thinking": bool, "truncate_history_thinking": bool, "medium_effort": bool},
            switches={"enable_thinking": True, "truncate_history_thinking": True},
        ),
    )
}


def create_renderer(
    tokenizer: Tokenizer, renderer: str = "auto", *, today: date | None = None, **flags: Any
) -> Renderer:
    """A renderer for a tokenizer. `flags` are the template's own, as `enable_thinking=False`.

    renderer: "auto", "traced" (the tokenizer's own chat template, whatever it is), or a family's name. "auto" is the
    family that tells the same as the tokenizer's chat template; the template itself, traced, where no family does; the
    family of the model's name where there is no template. `today`: what templates print that print the date; it is a
    flag of the families that do, and they refuse to tell without it.

    Raises UnknownModel where nothing can tell this model a conversation, UnknownFlag for a flag that means nothing.
    """
    witness = _witness(tokenizer, renderer, today)
    if isinstance(witness, Family):
        if today is not None and "today" in witness.flags:
            flags["today"] = today
        witness.check(flags)
    elif unknown := sorted(flags.keys() - set(witness.flags)):
        known = ", ".join(witness.flags) or "none"
        raise UnknownFlag(f"{witness.name}: its chat template has no flag {unknown[0]!r}; it has: {known}")
    return Renderer(witness, tokenizer, flags)


def fingerprint(chat_template: str) -> str:
    """What a chat template is known by."""
    return hashlib.sha256(chat_template.encode()).hexdigest()


def _witness(tokenizer: Tokenizer, renderer: str, today: date | None) -> Witness:
    if renderer in FAMILIES:
        return FAMILIES[renderer]
    if renderer not in ("auto", "traced"):
        raise UnknownModel(f"no renderer {renderer!r}; there are: auto, traced, {', '.join(FAMILIES)}")
    source = tokenizer.chat_template
    known = {print_: row for row in FAMILIES.values() for print_ in row.fingerprints}
    named = {model: row for row in FAMILIES.values() for model in row.models}
    family = named.get(tokenizer.name) if source is None else known.get(fingerprint(source))
    if renderer == "auto" and family:
        return family
    if source is None:
        raise UnknownModel(
            f"{tokenizer.name or 'this tokenizer'} brings no chat template, and no family knows it: "
            f"give the tokenizer a chat_template, or name its family: {', '.join(FAMILIES)}"
        )
    added = {token: token in tokenizer.special for token in tokenizer.added}
    return TracedTemplate(source, special_tokens=tokenizer.special_tokens, added=added, today=today)
