"""Where a trace says which tool was offered: its line and the JSON pointer to the spec, for people who ask."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pipeline.converting.rows import rows_of
from pipeline.errors import TraceError
from pipeline.records import Place, Trace, TraceFile

SPECIFIED = frozenset({"description", "parameters", "input_schema", "inputSchema", "format"})
"""What a spec has beside its name, and a call has not."""
LISTS = ("tools", "functions")
"""What a list is called that some formats write as JSON text."""


def declared(trace: Trace, tool: Mapping[str, Any]) -> Place | None:
    """The first place whose spec says the same of the tool, else the first that names it; None where none does."""
    function = tool.get("function", tool)
    named: Place | None = None
    for place, value in _values(trace):
        for pointer, spec in _specs(value, "", ""):
            if _name(spec) != function.get("name"):
                continue
            found = Place(place.file, place.line, place.pointer + pointer, place.time)
            if spec.get("description") == function.get("description"):
                return found
            named = named or found
    return named


def _values(trace: Trace) -> Iterator[tuple[Place, Any]]:
    """Every line of the session, then what the recorder saw being asked."""
    for file in (*trace.files, *_requests(trace)):
        try:
            yield from ((place, value) for place, value in rows_of(file) if not isinstance(value, TraceError))
        except TraceError:
            continue


def _requests(trace: Trace) -> Iterator[TraceFile]:
    for number, exchange in enumerate(trace.exchanges):
        yield TraceFile(f"exchanges/{number}/request", exchange.request)


def _specs(value: Any, pointer: str, namespace: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Tool specs in a JSON value, their names with their namespaces."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _specs(one, f"{pointer}/{index}", namespace)
    elif isinstance(value, dict):
        if isinstance(value.get("name"), str) and SPECIFIED & value.keys() and value.get("type") != "namespace":
            yield pointer, {**value, "namespace": namespace}
        inner = value["name"] if value.get("type") == "namespace" else namespace
        for key, one in value.items():
            told = _text(one) if key in LISTS and isinstance(one, str) else one
            found = _specs(told, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", inner)
            yield from found if told is one else ((f"{pointer}/{key}", spec) for _, spec in found)


def _name(spec: Mapping[str, Any]) -> str:
    within = spec["namespace"]
    return f"{within}__{spec['name']}" if within and within != "functions" else spec["name"]


def _text(told: str) -> Any:
    try:
        return msgspec.json.decode(told)
    except msgspec.DecodeError:
        return None
