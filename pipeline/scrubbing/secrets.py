"""Where secrets and personal data stand in a text.

Secrets are found by `kingfisher` (its own rules, and the few of `rules.yaml`), in decoded text: in JSON, an escaped
line break glues its `n` to the word behind it. Personal data is what tells who recorded: names of home directories,
authors' addresses in git's output, machines' names in prompts, and whatever the project lists.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kingfisher_sdk import Scanner

RULES = Path(__file__).with_name("rules.yaml")
PLACEHOLDER = "REDACTED"
BORDER = b"\n\x1e\n"
"""Between texts that are scanned together: no rule reads across it."""
NOBODY = re.compile(
    "admin|agent|alice|all|app|bob|circleci|codespace|coder|default|dev|developer|docker|ec2-user|eve|example|foo|gitpod|"
    "guest|jovyan|linuxbrew|me|name|node|public|root|runner|sandbox|shared|test|testuser|ubuntu|user|username|users|"
    "vagrant|vscode|workspace|you|your-?name",
    re.IGNORECASE,
)
"""Users of no one in particular: images, documentation, examples."""
NOWHERE = re.compile(r"localhost|[0-9a-f]{12}|[0-9.]+|[a-z0-9-]+\.local(?:host|domain)", re.IGNORECASE)
"""Machines of no one in particular: containers are called by their ids."""
WORDLESS = re.compile(
    r"^(?:x+|\*+|\.+|(?:my|the|some)[-_].*|(?:your|example|dummy|fake|test|changeme|placeholder).*)$", re.IGNORECASE
)
"""What stands where a secret would."""


class Hit(NamedTuple):
    """Characters of a text that must not leave."""

    start: int
    end: int
    kind: str
    """Word characters only: it becomes part of the placeholder."""


@cache
def scanner() -> "Scanner":
    """One a process: compiling the rules takes seconds the first time on a machine, then they are cached."""
    from kingfisher_sdk import Rules, Scanner

    return Scanner(Rules([RULES]))


@cache
def rules_version() -> str:
    """Changes whenever other rules apply."""
    return f"{version('kingfisher-secret-scanner')}-{blake2b(RULES.read_bytes(), digest_size=4).hexdigest()}"


def find(texts: Sequence[str], identity: Sequence[str] = ()) -> list[list[Hit]]:
    """What must not leave, in each text, in order and without overlap. `identity`: names that tell who recorded."""
    found: list[list[Hit]] = [[] for _ in texts]
    if listed := "|".join(map(re.escape, identity)):
        found = [[Hit(m.start(), m.end(), "identity") for m in re.finditer(listed, text)] for text in texts]
    for index, hit in _scanned(texts):
        found[index].append(hit)
    return [_apart(hits) for hits in found]


def _scanned(texts: Sequence[str]) -> Iterator[tuple[int, Hit]]:
    """All texts in one scan: a call costs more than a short text does."""
    data = [text.encode("utf-8", "surrogatepass") for text in texts]
    starts = list(accumulate((len(one) + len(BORDER) for one in data), initial=0))[:-1]
    for finding in scanner().scan(BORDER.join(data)):
        start, end = finding.location["start_offset"], finding.location["end_offset"]
        index = bisect_right(starts, start) - 1
        start, end = start - starts[index], end - starts[index]
        if end <= len(data[index]) and _leaks(finding.rule_id, finding.secret):
            before = len(data[index][:start].decode("utf-8", "surrogatepass"))
            inside = len(data[index][start:end].decode("utf-8", "surrogatepass"))
            kind = re.sub(r"\W", "_", finding.rule_id.partition(".")[2])
            yield index, Hit(before, before + inside, kind)


def _leaks(rule: str, secret: str) -> bool:
    """What is only named a secret must look like one: letters and digits. A home and a machine must be somebody's."""
    if secret.startswith(PLACEHOLDER) or (rule == "tracemill.user" and NOBODY.fullmatch(secret)):
        return False
    if rule.startswith("tracemill.host") and (NOBODY.fullmatch(secret) or NOWHERE.fullmatch(secret)):
        return False
    mixed = any(map(str.isdigit, secret)) and any(map(str.isalpha, secret))
    return not rule.startswith("tracemill.named") or (mixed and not WORDLESS.fullmatch(secret))


def _apart(hits: list[Hit]) -> list[Hit]:
    """Hits in order; of those that overlap, the one that begins first and reaches farthest, made to reach over all."""
    apart: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        if apart and hit.start < apart[-1].end:
            apart[-1] = apart[-1]._replace(end=max(apart[-1].end, hit.end))
        else:
            apart.append(hit)
    return apart
