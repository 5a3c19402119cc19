"""Trains the demo's tokenizer: `python -m assets_tests.recording.train_tokenizer [folder]`.

A byte-level BPE vocabulary of 8,192 ids, cut into words as Qwen3 cuts them and with Qwen3's control tokens, so that the
family `qwen3` renders with it. It is learned from what every machine with Python has: the sources of the standard
library, and the language reference in `pydoc_data` (PSF licence; nothing but a vocabulary comes of them). The same
release of Python gives the same file, byte for byte; the one that is shipped was learned from Python 3.11.7.
The chat template beside it is written by hand.
"""

import json
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

EXAMPLE = Path(__file__).parents[2] / "pipeline/example/tokenizer"
SIZE = 8192
"""Ids in all, control tokens included."""
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
ORDINARY = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
]
"""Added tokens that a decoder keeps when it skips special ones."""
UNWANTED = re.compile("X{3}|/ro{2}t")
"""What no vocabulary need know: the library's marks of the unfinished, and a path of somebody's machine."""
CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": None,
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "additional_special_tokens": SPECIAL[1:],
    "clean_up_tokenization_spaces": False,
    "model_max_length": 32768,
}


def texts() -> Iterator[str]:
    """The standard library's modules, and its prose as often as balances them."""
    library = Path(sysconfig.get_path("stdlib"))
    for module in sorted(library.glob("*.py")):
        yield UNWANTED.sub("", module.read_text(encoding="utf-8"))
    yield from [(library / "pydoc_data/topics.py").read_text(encoding="utf-8").replace("\\n", "\n")] * 4


def train() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False, trim_offsets=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    tokenizer.decoder = decoders.ByteLevel()
    learned = trainers.BpeTrainer(
        vocab_size=SIZE - len(SPECIAL) - len(ORDINARY),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), learned)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in ORDINARY])
    return tokenizer


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(train().to_str() + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else EXAMPLE)
