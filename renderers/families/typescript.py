"""Tools as TypeScript, in the way of gpt-oss's template: every blank of it, those that leak from its source too."""

from collections.abc import Iterator, Mapping
from typing import Any

from renderers.arguments import mapping
from renderers.messages import tojson

Schema = Mapping[str, Any]
WORDS = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean"}


def signature(function: Schema) -> str:
    """A function, declared."""
    return "".join(_declared(function))


def _declared(function: Schema) -> Iterator[str]:
    parameters = function.get("parameters") or {}
    if "description" in function:
        yield f"// {function['description']}\n"
    yield f"type {function['name']} = "
    if not parameters.get("properties"):
        yield "() => any;\n\n"
        return
    yield "(_: {\n"
    for name, schema in ((name, mapping(found)) for name, found in parameters["properties"].items()):
        yield f"// {schema['description']}\n" if schema.get("description") else ""
        yield f"{_optional(name, parameters)}: {_type(schema)}{_default(schema)},\n"
    yield "}) => any;\n\n"


def _optional(name: str, within: Schema) -> str:
    return name if name in (within.get("required") or ()) else f"{name}?"


def _default(schema: Schema) -> str:
    if "default" not in schema:
        return ""
    plain = schema.get("enum") or schema.get("oneOf")
    comma = "" if schema.get("oneOf") and not schema.get("enum") else ", "
    return f"{comma}// default: {schema['default'] if plain else tojson(schema['default'])}"


def _type(schema: Schema) -> str:
    kind = schema.get("type")
    if kind == "array":
        return _array(schema) + " | null" * bool(schema.get("nullable"))
    if isinstance(kind, list) and kind:
        return " | ".join(kind)
    if schema.get("oneOf"):
        return " | \n".join(_type(variant) + _remarks(variant) for variant in schema["oneOf"])
    if kind == "string" and schema.get("enum"):
        return " | ".join(f'"{value}"' for value in schema["enum"])
    if kind == "string":
        return "string" + " | null" * bool(schema.get("nullable"))
    return _object(schema) if kind == "object" else WORDS.get(str(kind), "any")


def _array(schema: Schema) -> str:
    items = schema.get("items")
    if not items:
        return "any[]"
    plain = str(items.get("type")) in WORDS
    inner = WORDS[items["type"]] if plain else _type(items)
    return "any[]" if inner == "object | object" or len(inner) > 50 else f"{inner}[]"


def _remarks(variant: Schema) -> str:
    said = f"// {variant['description']}" if variant.get("description") else ""
    return said + (" " * 20 + f"// default: {tojson(variant['default'])}" if "default" in variant else "")


def _object(schema: Schema) -> str:
    if not schema.get("properties"):
        return "object"
    leak = "\n" + " " * 16
    told = (f"{_optional(name, schema)}: {leak}{_type(inner)}" for name, inner in schema["properties"].items())
    return "{\n" + ", ".join(told) + "}"
