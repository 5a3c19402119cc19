"""Files of settings as they are read, and what is wrong with them: the field, the cure, and the line."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import SettingsError


def read_yaml(path: Path) -> tuple[Any, yaml.Node | None]:
    """What a file says, and where. Raises SettingsError where it is no YAML, or says a word twice."""
    try:
        told = path.read_text(encoding="utf-8-sig")
        said, node = yaml.safe_load(told), yaml.compose(told, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is no YAML: {error}") from error
    _no_word_twice(node, path)
    return said, node


def _no_word_twice(node: yaml.Node | None, path: Path) -> None:
    """YAML readers take the last of two, and forget the other."""
    inside, seen = [node], set[int]()
    while inside:
        one = inside.pop()
        if not isinstance(one, yaml.CollectionNode) or id(one) in seen:
            continue
        seen.add(id(one))
        if not isinstance(one, yaml.MappingNode):
            inside += one.value
            continue
        lines: dict[str, int] = {}
        for key, value in one.value:
            line = key.start_mark.line + 1
            if (word := str(key.value)) in lines:
                raise SettingsError(f"{path}: {word}: line {lines[word]} has it, too; say it once (line {line})")
            lines[word] = line
            inside.append(value)


CURES = {
    "missing": "it must be set",
    "model_type": "settings are wanted, `name: value`; leave it out if there are none",
    "dict_type": "settings are wanted, `name: value`",
    "tuple_type": "a list is wanted, [one, two]",
}
"""In place of pydantic's words for Python's types."""


def faults(error: ValidationError, model: type[BaseModel], node: yaml.Node | None = None) -> str:
    """What is wrong with settings of this model: each field, the cure, and its line."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'the file'}: {_cure(one, model)}{_line(node, one['loc'])}"
        for one in error.errors()
    )


def _cure(one: Mapping[str, Any], model: type[BaseModel]) -> str:
    if one["type"] != "extra_forbidden":
        return CURES.get(one["type"], str(one["msg"]).removeprefix("Value error, "))
    *above, name = one["loc"]
    known = list(_names(model, above))
    near = get_close_matches(str(name), known, n=1)
    cure = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"no such setting; {cure}"


def _names(model: type[BaseModel], above: list[Any]) -> Iterator[str]:
    """The settings that there are in a place."""
    models = [model]
    for part in above:
        if fields := [one.model_fields[part] for one in models if part in one.model_fields]:
            models = [found for field in fields for found in _models(field.annotation)]
    for one in models:
        yield from one.model_fields


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _line(node: yaml.Node | None, place: Sequence[Any]) -> str:
    """Of the deepest word of a place that the file has."""
    line = None
    for part in place:
        below = _below(node, part)
        if below is None:
            break
        line, node = below
    return f" (line {line})" if line else ""


def _below(node: yaml.Node | None, part: Any) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark.line + 1, value) for key, value in node.value if key.value == str(part)), None)
    return None
