"""Answers of three APIs: put together from server-sent events, and counted.

OpenAI's Chat Completions and Responses and Anthropic's Messages, as their references tell them, with the fields that
other servers add. An answer is whole once its API says so: by a `finish_reason`, by `response.completed` or
`.incomplete`, by `message_stop`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from pipeline.collecting.agent import Api
from pipeline.records import Usage

Json = dict[str, Any]
PATHS: Mapping[str, Api] = {"responses": "responses", "chat/completions": "chat", "messages": "messages"}
ENDS = ("response.completed", "response.incomplete", "response.failed")
ONCE = frozenset({"role", "type", "id", "name", "index", "format"})
"""Fields that are told whole: the others come in pieces."""


class BrokenAnswer(Exception):
    """A stream that ends before its answer does, or tells of an error: `code` is the server's own."""

    def __init__(self, why: str, code: str | None = None):
        super().__init__(why)
        self.code = code


def events(data: bytes) -> Iterator[Json]:
    """The JSON of each server-sent event."""
    for block in data.replace(b"\r\n", b"\n").split(b"\n\n"):
        told = b"\n".join(line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:"))
        if told and told != b"[DONE]":
            try:
                yield msgspec.json.decode(told)
            except msgspec.DecodeError as error:
                raise BrokenAnswer(f"an event is no JSON: {error}") from error


def put_together(api: Api, data: bytes) -> Json:
    """The answer that a stream tells. Raises BrokenAnswer."""
    return {"chat": _chat_answer, "responses": _response, "messages": _message}[api](events(data))


def _response(told: Iterable[Json]) -> Json:
    items: list[Json] = []
    for event in told:
        if event.get("type") == "response.output_item.done":
            items.append(event["item"])
        elif event.get("type") in ENDS:
            return checked("responses", {**event["response"], "output": event["response"].get("output") or items})
        elif event.get("type") == "error":
            raise BrokenAnswer(str(event.get("message")), event.get("code"))
    raise BrokenAnswer("the stream ended before the answer did")


def _chat_answer(told: Iterable[Json]) -> Json:
    answer: Json = {}
    choices: dict[int, Json] = {}
    for chunk in told:
        checked("chat", chunk)
        answer = {**answer, **{key: value for key, value in chunk.items() if value is not None and key != "choices"}}
        for choice in chunk.get("choices") or ():
            held = choices.setdefault(choice.get("index", 0), {"message": {}, "finish_reason": None})
            _merge(held["message"], choice.get("delta") or {})
            held["finish_reason"] = choice.get("finish_reason") or held["finish_reason"]
    if not choices or any(choice["finish_reason"] is None for choice in choices.values()):
        raise BrokenAnswer("the stream ended before the answer did")
    told_choices = [{"index": index, **choice} for index, choice in sorted(choices.items())]
    return {**answer, "object": "chat.completion", "choices": told_choices}


def _message(told: Iterable[Json]) -> Json:
    answer: Json = {}
    blocks: dict[int, Json] = {}
    for event in told:
        kind = event.get("type")
        if kind == "message_start":
            answer = dict(event["message"])
        elif kind == "content_block_start":
            blocks[event["index"]] = dict(event["content_block"])
        elif kind == "content_block_delta":
            _add(blocks.setdefault(event["index"], {}), event["delta"])
        elif kind == "message_delta":
            usage = {key: value for key, value in (event.get("usage") or {}).items() if value is not None}
            answer = {**answer, **event["delta"], "usage": {**(answer.get("usage") or {}), **usage}}
        elif kind == "message_stop":
            return {**answer, "content": [_block(block) for _, block in sorted(blocks.items())]}
        checked("messages", event)
    raise BrokenAnswer("the stream ended before the answer did")


def _add(block: Json, delta: Mapping[str, Any]) -> None:
    """Add a piece of text, of a thought or of a call's arguments; its signature; a citation."""
    for key, value in delta.items():
        if key == "citation":
            block["citations"] = [*(block.get("citations") or ()), value]
        elif key != "type":
            block[key] = (block.get(key) or "") + value


def _block(block: Json) -> Json:
    """With the arguments that came in pieces; text that is no JSON stays as it is."""
    told = block.pop("partial_json", "")
    if told:
        try:
            block["input"] = msgspec.json.decode(told)
        except msgspec.DecodeError:
            block["input"] = told
    return block


def _merge(held: Json, delta: Mapping[str, Any]) -> None:
    """Add a piece to what came before it."""
    for key, value in delta.items():
        if isinstance(value, list) and all(isinstance(part, dict) and "index" in part for part in value):
            _merge_parts(held.setdefault(key, []), value)
        elif isinstance(value, dict) and isinstance(held.get(key), dict):
            _merge(held[key], value)
        elif isinstance(value, str | list) and held.get(key) and key not in ONCE:
            held[key] = held[key] + value
        elif value is not None or key not in held:
            held[key] = value


def _merge_parts(held: list[Json], parts: list[Json]) -> None:
    for part in parts:
        before = next((one for one in held if one["index"] == part["index"]), None)
        if before is None:
            held.append(dict(part))
        else:
            _merge(before, part)


def checked(api: Api, answer: Json) -> Json:
    """The answer, unless it is an error. Raises BrokenAnswer."""
    error = answer.get("error")
    if error or (api == "responses" and answer.get("status") in ("failed", "cancelled")):
        told = error if isinstance(error, dict) else {"message": str(error or answer.get("status"))}
        raise BrokenAnswer(str(told.get("message")), str(told.get("code") or told.get("type") or "") or None)
    return answer


def usage_of(api: Api, answer: Mapping[str, Any]) -> Usage:
    """What the provider counts; zeros where it does not."""
    told = answer.get("usage") or {}
    if api == "messages":
        return _anthropic_usage(told)
    ins, outs = ("prompt", "completion") if api == "chat" else ("input", "output")
    read, written = told.get(f"{ins}_tokens_details") or {}, told.get(f"{outs}_tokens_details") or {}
    return Usage(
        input=told.get(f"{ins}_tokens") or 0,
        cached=read.get("cached_tokens") or 0,
        cache_written=read.get("cache_write_tokens") or 0,
        output=told.get(f"{outs}_tokens") or 0,
        reasoning=written.get("reasoning_tokens") or 0,
    )


def _anthropic_usage(told: Mapping[str, Any]) -> Usage:
    """Anthropic's `input_tokens` leave out what was read from the cache, or written to it."""
    cached, written = told.get("cache_read_input_tokens") or 0, told.get("cache_creation_input_tokens") or 0
    read = (told.get("input_tokens") or 0) + cached + written
    return Usage(input=read, cached=cached, cache_written=written, output=told.get("output_tokens") or 0)


def finish_of(api: Api, answer: Mapping[str, Any]) -> str | None:
    """Why the model stopped, in the words of its API; None if the answer does not say."""
    if api == "chat":
        return (answer.get("choices") or [{}])[0].get("finish_reason")
    if api == "messages":
        return answer.get("stop_reason")
    return (answer.get("incomplete_details") or {}).get("reason") or answer.get("status")


def sse(told: Iterable[Mapping[str, Any]], *, done: bool) -> bytes:
    """Events as a stream tells them."""
    parts = [
        (f"event: {event['type']}\n" if "type" in event else "").encode() + b"data: " + msgspec.json.encode(event)
        for event in told
    ]
    return b"\n\n".join([*parts, *([b"data: [DONE]"] if done else []), b""])
