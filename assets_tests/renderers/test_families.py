"""Every declared family against its official template: goldens, and the traced witness.

What is known of a family stands in `families/<name>.toml`; all that is not named there is as upstream has it, and
nothing is skipped but goldens that go on within a message. In it:

- `equal`: how many goldens are told as upstream tells them, text and ids
- `otherwise`: conversations that we tell otherwise, and why. "joined": upstream tells the same of the joined text
- `refused`, `more`: conversations that only upstream tells, or only we
- `spelled`: how many goldens of arguments given as text upstream refuses or encodes again; we tell the objects
- `apart`: conversations of which the two witnesses say different things, and what differs; `flipped`, of each switch:
  those of which they do so only with the switch flipped, or no longer ("")
- `generated`: of conversations that nobody wrote, see `test_agreement.py`
- `template`: the file of a template that is not in the family's own folder (there are no goldens of it then), or that
  is `corrected` where it is not what tells the goldens
- `untaken`: flags of the official template that the family does not take, and why; `ours`: what only the family takes
- `asked`: flags that the goldens' own words stand for; `prompted`: they all end with the generation prompt
"""

import copy
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pytest

from renderers import (
    FAMILIES,
    Family,
    Kind,
    Message,
    Rendered,
    Renderer,
    Segment,
    TemplateError,
    Tokenizer,
    Verdict,
    create_renderer,
    from_hub,
)
from renderers.tracing.witness import TracedTemplate

NOW = date(2025, 7, 1)
"""The clock of the goldens."""


@pytest.fixture(scope="module")
def told(shared) -> dict[str, dict]:
    return json.loads((shared / "goldens" / "conversations.json").read_text(encoding="utf-8"))


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys(), scope="module")
def family(request) -> Family:
    return request.param


@pytest.fixture
def tokenizer(family, known, source, load) -> Tokenizer:
    tokenizer = copy.copy(load(family.name))
    tokenizer.chat_template = source
    return tokenizer


@pytest.fixture
def rows(shared, family, known) -> list[dict]:
    """Goldens, but for those that go on within the last message."""
    if "template" in known and not known["template"].startswith(f"{family.name}/"):
        return []
    lines = (shared / "goldens" / f"{family.name}.jsonl").read_text(encoding="utf-8").split("\n")
    told = [json.loads(line) for line in lines if line]
    return [row for row in told if "continue_final_message" not in row["kwargs"]]


def joined(messages: list[dict]) -> list[Message]:
    """Messages whose content in parts is one text."""
    told = from_hub(messages)
    return [m if isinstance(m.content, str) else m.but(content="".join(p.text for p in m.content)) for m in told]


def flags_of(family: Family, row: dict, known: dict) -> dict[str, Any]:
    """The flags of a golden that the family knows."""
    own = {name: value for name, value in row["kwargs"].items() if name in family.flags}
    meant = (flags for name, spelled in known.get("asked", {}).items() for flags in [spelled[row["kwargs"][name]]])
    return dated(family, **own, **{name: value for flags in meant for name, value in flags.items()})


def outcome(renderer: Renderer, row: dict, asked: dict, *, prompted: bool) -> str:
    """What became of a golden: "equal", or the key of `known` that must name it."""
    try:
        result = renderer.render(
            asked["messages"],
            asked["tools"],
            add_generation_prompt=row["kwargs"].get("add_generation_prompt", prompted),
            seam=False,
            special_text="parse",
        )
    except TemplateError:
        return "refused"
    if (result.text, result.ids.tolist()) == (row.get("text"), row.get("ids")):
        return "equal"
    if "_args" in row["kwargs"]:
        return "spelled"
    return "otherwise" if "text" in row else "more"


def test_text_and_ids_are_upstreams_but_for_the_deviations(family, tokenizer, rows, told, known):
    found, named = Counter(), {"otherwise": set(), "refused": set(), "more": set()}
    for row in rows:
        renderer = Renderer(family, tokenizer, flags_of(family, row, known))
        became = outcome(renderer, row, told[row["id"]], prompted=known.get("prompted", False))
        if became == "spelled" and row["id"] in known.get("otherwise", ()):
            continue
        found[became] += 1
        if became in named:
            named[became].add(row["id"])
    counts = {name: known.get(name, 0) for name in ("equal", "spelled")}
    assert {name: found[name] for name in counts} == counts
    assert named == {name: set(known.get(name, ())) for name in named}


def test_joined_content_is_told_as_upstream_tells_one_text(family, tokenizer, told, known):
    declared, traced = witnesses(family, tokenizer)
    for name in (name for name, why in known.get("otherwise", {}).items() if why == "joined"):
        messages, tools = told[name]["messages"], told[name]["tools"]
        assert declared.render(messages, tools).text == traced.render(joined(messages), tools).text, name


def test_both_witnesses_agree(family, tokenizer, told, known):
    """On text, ids, what is sampled of which message and as what kind, proofs, and lost fields."""
    for switch in (None, *family.switches):
        flags = {} if switch is None else {switch: not family.switches[switch]}
        pair, found = witnesses(family, tokenizer, **flags), {}
        for name, asked in told.items():
            messages, tools = joined_or_none(asked["messages"]), asked["tools"]
            try:
                prompted = not messages or messages[-1].role != "assistant"
                one, other = (r.render(messages, tools, add_generation_prompt=prompted) for r in pair)
            except TemplateError:
                continue
            if differs := ", ".join(differences(one, other)):
                found[name] = differs
        apart = known.get("apart", {}) | known.get("flipped", {}).get(switch, {})
        assert found == {name: what for name, what in apart.items() if what}, flags


def witnesses(family: Family, tokenizer: Tokenizer, **flags: bool) -> tuple[Renderer, Renderer]:
    declared = create_renderer(tokenizer, family.name, **dated(family, **flags))
    return declared, create_renderer(tokenizer, "traced", today=NOW, **flags)


def dated(family: Family, **flags: Any) -> dict[str, Any]:
    """Flags, and the day for families that ask for it."""
    return {"today": NOW, **flags} if "today" in family.flags else flags


def joined_or_none(messages: list[dict]) -> list[Message]:
    media = any(isinstance(m.get("content"), list) and any(p["type"] != "text" for p in m["content"]) for m in messages)
    return [] if media else joined(messages)


def differences(one: Rendered, other: Rendered) -> Iterator[str]:
    if one.text != other.text or not np.array_equal(one.ids, other.ids):
        yield "text"
        return
    either = proved(one) | proved(other)
    mine, theirs = sampled(one, either), sampled(other, either)
    if [place for place, _ in mine] != [place for place, _ in theirs]:
        yield "sampled"
    elif not all(map(alike, mine, theirs)):
        yield "kinds"
    if set(one.stream.lost) != set(other.stream.lost):
        yield "lost"
    if proved(one) != proved(other):
        yield "proved"


def proved(result: Rendered) -> set[int]:
    return {proof.message for proof in result.stream.proofs if proof.verdict is Verdict.PROVED}


def sampled(result: Rendered, messages: set[int]) -> list[tuple[tuple[int, int | None], Segment]]:
    """Every sampled token of these messages: where it stands, its message, what it is."""
    owned = ((k, result.segments[owner]) for k, owner in enumerate(result.owners))
    return [((k, s.message), s) for k, s in owned if s.kind.sampled and s.message in messages]


def alike(one: tuple[object, Segment], other: tuple[object, Segment]) -> bool:
    """Whether two segments are of one kind. Where the words around reasoning end, the traced witness has to guess."""
    kinds = {one[1].kind, other[1].kind}
    return len(kinds) == 1 or (one[1].literal and Kind.REASONING in kinds)


def test_every_flag_of_the_official_template_is_taken_or_named(family, source, known):
    template = TracedTemplate(source, special_tokens={"bos_token": "", "eos_token": ""})
    made = set(re.findall(r"\{%-?\s*(?:set|macro)\s+(\w+)", source) + re.findall(r"\bfor\s+(\w+)", source))
    taken = set(family.flags) - ({"today"} if template.dated else set())
    assert set(template.flags) - made - taken == set(known.get("untaken", ()))
    assert {flag for flag in taken if flag not in source} == set(known.get("ours", ()))


def test_the_row_knows_the_official_template(family, source, known):
    if "corrected" in known:
        assert not family.fingerprints
    else:
        assert hashlib.sha256(source.encode()).hexdigest() in family.fingerprints
