"""What stands where a secret stood.

A placeholder says what it was, and is the same wherever the same thing stood, but for another project's salt:
`REDACTED_github_pat_3f9a2c1b`. It is one word, so code still parses and JSON stays valid.
"""

import hmac
from collections.abc import Sequence

from pipeline.scrubbing.secrets import PLACEHOLDER, Hit


def replaced(text: str, hits: Sequence[Hit], salt: bytes) -> str:
    """The text with a placeholder for each hit."""
    parts, at = [], 0
    for start, end, kind in hits:
        digest = hmac.new(salt, text[start:end].encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:8]
        parts += text[at:start], f"{PLACEHOLDER}_{kind}_{digest}"
        at = end
    return "".join((*parts, text[at:]))
