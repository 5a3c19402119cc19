"""The choice of a witness for a tokenizer."""

import copyreg
import hashlib
import warnings
from datetime import date
from typing import Any

from renderers.callers import outside
from renderers.errors import UnknownFlag, UnknownModel
from renderers.families import FAMILIES
from renderers.loading import AnyTokenizer, load_tokenizer
from renderers.renderer import Family, Renderer, Witness
from renderers.tokenizer import Tokenizer


def create_renderer(
    tokenizer_or_model: AnyTokenizer, renderer: str = "auto", *, today: date | None = None, **flags: Any
) -> Renderer:
    """A renderer for a tokenizer: ours or one of transformers, a folder that holds one, a model's name on the Hub.

    `flags` are the template's own, as `enable_thinking=False`.

    renderer: "auto", "traced" (the tokenizer's own chat template, whatever it is), or a family's name. "auto" is the
    family that tells the same as the tokenizer's chat template; the template itself, traced, where no family does, with
    a warning; the family of the model's exact name, maybe with `@revision`, where there is no template. `today`: what
    templates print that print the date; it is a flag of the families that do, and they refuse to tell without it.

    Raises UnknownModel where nothing can tell this model a conversation, UnknownFlag for a flag that means nothing.
    """
    tokenizer = load_tokenizer(tokenizer_or_model)
    witness = _witness(tokenizer, renderer, today)
    if isinstance(witness, Family):
        if today is not None and "today" in witness.flags:
            flags["today"] = today
        witness.check(flags)
    elif unknown := sorted(flags.keys() - set(witness.flags)):
        known = ", ".join(witness.flags) or "none"
        raise UnknownFlag(f"{witness.name}: its chat template has no flag {unknown[0]!r}; it has: {known}")
    return Renderer(witness, tokenizer, flags)


def _again(tokenizer: Tokenizer, renderer: str, flags: dict[str, Any]) -> Renderer:
    return create_renderer(tokenizer, renderer, **flags)


def _sent(renderer: Renderer) -> Any:
    """How a renderer goes to another process: its tokenizer and its name, of which it is made again there.

    Of a template of one's own only the `Template` can be sent: pickle refuses the closures of its renderer.
    """
    witness, tokenizer, flags = renderer.witness, renderer.tokenizer, dict(renderer.flags)
    if FAMILIES.get(witness.name) is witness and tokenizer is not None:
        return _again, (tokenizer, witness.name, flags)
    own: Any = witness
    if witness.name == "traced" and own.source == tokenizer.chat_template and not own.bare and own.switches is None:
        return _again, (tokenizer, "traced", {"today": own.today, **flags})
    return object.__reduce_ex__(renderer, 4)


copyreg.pickle(Renderer, _sent)


def fingerprint(chat_template: str) -> str:
    """What a chat template is known by."""
    return hashlib.sha256(chat_template.encode()).hexdigest()


def _witness(tokenizer: Tokenizer, renderer: str, today: date | None) -> Witness:
    if renderer in FAMILIES:
        return FAMILIES[renderer]
    if renderer not in ("auto", "traced"):
        raise UnknownModel(f"no renderer {renderer!r}; there are: auto, traced, {', '.join(FAMILIES)}")
    source = tokenizer.chat_template
    told = {print_: row for row in FAMILIES.values() for print_ in row.fingerprints}
    named = {model: row for row in FAMILIES.values() for model in row.models}.get(tokenizer.name.partition("@")[0])
    family = named if source is None else told.get(fingerprint(source))
    if renderer == "auto" and family:
        return family
    if source is None:
        raise UnknownModel(
            f"{tokenizer.name or 'this tokenizer'} brings no chat template, and no family knows it: "
            f"give the tokenizer a chat_template, or name its family: {', '.join(FAMILIES)}"
        )
    if renderer == "auto":
        _warn(tokenizer, named)
    from renderers.tracing.witness import TracedTemplate  # and Jinja, for which who names a family need not wait

    added = {token: token in tokenizer.special for token in tokenizer.added}
    return TracedTemplate(source, special_tokens=tokenizer.special_tokens, added=added, today=today)


def _warn(tokenizer: Tokenizer, named: Family | None) -> None:
    """Say that a template is told as it is, for want of a family that tells the same."""
    other = f": {named.name}, which tells others of this name, tells another" if named else ""
    warnings.warn(
        f"no family tells the chat template of {tokenizer.name or 'this tokenizer'}{other}; it is traced, and reads no "
        f'completions. Say renderer="traced" if that is meant, or name a family',
        stacklevel=outside(),
    )
