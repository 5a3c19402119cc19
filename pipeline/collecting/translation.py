"""Responses for a server that speaks Chat Completions only: the request one way, the answer the other.

What Chat Completions has no word for is told so that the model loses nothing: a custom tool (`apply_patch`) becomes a
function of one text, `input`; a namespace becomes the beginning of a name. Hosted tools (web search) do not exist there
and are left out; reasoning goes on as `reasoning_content`, which servers take or ignore.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

Json = dict[str, Any]
FREE = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
PASSED = ("model", "temperature", "top_p", "parallel_tool_calls", "user", "metadata", "seed", "stop")
PARTS = {"input_text": "text", "output_text": "text", "text": "text", "reasoning_text": "text"}


def to_chat(request: Mapping[str, Any]) -> Json:
    """The same request in the words of Chat Completions; streamed, and counted."""
    told: Json = {key: request[key] for key in PASSED if request.get(key) is not None}
    told |= {"messages": list(_messages(request)), "stream": True, "stream_options": {"include_usage": True}}
    if tools := [tool for one in _offered(request) for tool in _tools(one)]:
        told["tools"] = tools
        if isinstance(request.get("tool_choice"), str):
            told["tool_choice"] = request["tool_choice"]
    else:
        told.pop("parallel_tool_calls", None)
    if limit := request.get("max_output_tokens"):
        told["max_tokens"] = limit
    if effort := (request.get("reasoning") or {}).get("effort"):
        told["reasoning_effort"] = effort
    return told


def _offered(request: Mapping[str, Any]) -> Iterator[Json]:
    """Tools of the request, and those that come among its items, as in Codex' code mode."""
    yield from request.get("tools") or ()
    for item in _given(request):
        if item.get("type") == "additional_tools":
            yield from item.get("tools") or ()


def _given(request: Mapping[str, Any]) -> Sequence[Json]:
    given = request.get("input") or ()
    return [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given


def _tools(tool: Mapping[str, Any], namespace: str = "") -> Iterator[Json]:
    name = f"{namespace}{tool.get('name', '')}"
    if tool.get("type") == "namespace":
        for one in tool.get("tools") or ():
            yield from _tools(one, f"{name}__")
    elif tool.get("type") in ("function", "custom"):
        wanted = FREE if tool["type"] == "custom" else tool.get("parameters") or {"type": "object", "properties": {}}
        yield {
            "type": "function",
            "function": {"name": name, "description": tool.get("description") or "", "parameters": wanted},
        }


def _messages(request: Mapping[str, Any]) -> Iterator[Json]:
    """Items of one answer become one message: Chat Completions knows no others."""
    if request.get("instructions"):
        yield {"role": "system", "content": request["instructions"]}
    answer: Json | None = None
    for item in _given(request):
        kind = item.get("type", "message")
        if kind in ("reasoning", "function_call", "custom_tool_call") or item.get("role") == "assistant":
            answer = answer or {"role": "assistant", "content": None}
            _answered(answer, kind, item)
            continue
        if answer is not None:
            yield answer
            answer = None
        if kind in ("function_call_output", "custom_tool_call_output"):
            yield {"role": "tool", "tool_call_id": item["call_id"], "content": _content(item.get("output"))}
        elif kind == "agent_message":
            yield {"role": "user", "content": _content(item.get("content"))}
        elif kind == "message":
            role = "system" if item["role"] == "developer" else item["role"]
            yield {"role": role, "content": _content(item.get("content"))}
    if answer is not None:
        yield answer


def _answered(answer: Json, kind: str, item: Mapping[str, Any]) -> None:
    """Add an item to the message of its answer."""
    if kind == "reasoning":
        thought = "\n\n".join(part["text"] for part in item.get("content") or item.get("summary") or ())
        answer["reasoning_content"] = answer.get("reasoning_content", "") + thought
    elif kind == "message":
        answer["content"] = (answer["content"] or "") + str(_content(item.get("content")))
    else:
        custom = kind == "custom_tool_call"
        arguments = msgspec.json.encode({"input": item["input"]}).decode() if custom else item["arguments"]
        space = f"{item['namespace']}__" if item.get("namespace") else ""
        call = {"name": f"{space}{item['name']}", "arguments": arguments}
        answer.setdefault("tool_calls", []).append({"id": item["call_id"], "type": "function", "function": call})


def _content(told: Any) -> str | list[Json]:
    """Text, unless there are images among it."""
    if not isinstance(told, list):
        return told or ""
    if not any(part.get("type") == "input_image" for part in told):
        return "".join(part.get("text", "") for part in told if part.get("type") in PARTS)
    return [
        {"type": "image_url", "image_url": {"url": part["image_url"]}}
        if part.get("type") == "input_image"
        else {"type": "text", "text": part.get("text", "")}
        for part in told
    ]


def from_chat(answer: Mapping[str, Any], request: Mapping[str, Any]) -> Json:
    """The answer in the words of Responses."""
    choice, usage = answer["choices"][0], answer.get("usage") or {}
    cut = choice.get("finish_reason") == "length"
    told, said = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return {
        "id": f"resp_{answer.get('id', '')}",
        "object": "response",
        "created_at": answer.get("created", 0),
        "model": answer.get("model") or request.get("model"),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "error": None,
        "output": list(_items(choice["message"], str(answer.get("id", "")), _names(list(_offered(request))))),
        "usage": {
            "input_tokens": usage.get("prompt_tokens", 0),
            "input_tokens_details": {"cached_tokens": told.get("cached_tokens") or 0},
            "output_tokens": usage.get("completion_tokens", 0),
            "output_tokens_details": {"reasoning_tokens": said.get("reasoning_tokens") or 0},
            "total_tokens": usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0),
        },
    }


def _names(tools: Sequence[Mapping[str, Any]], namespace: str | None = None) -> dict[str, Json]:
    """Name in Chat Completions -> how Responses calls the tool."""
    names: dict[str, Json] = {}
    for tool in tools:
        if tool.get("type") == "namespace":
            names |= _names(tool.get("tools") or (), tool["name"])
        elif "name" in tool:
            told = {"name": tool["name"], **({"namespace": namespace} if namespace else {})}
            custom = {"custom": True} if tool.get("type") == "custom" else {}
            names[f"{namespace}__{tool['name']}" if namespace else tool["name"]] = {**told, **custom}
    return names


def _items(message: Mapping[str, Any], answer: str, names: Mapping[str, Json]) -> Iterator[Json]:
    if thought := message.get("reasoning_content") or message.get("reasoning"):
        content = [{"type": "reasoning_text", "text": thought}]
        yield {"type": "reasoning", "id": f"rs_{answer}", "summary": [], "content": content}
    if text := message.get("content"):
        content = [{"type": "output_text", "text": text, "annotations": []}]
        yield {"type": "message", "id": f"msg_{answer}", "role": "assistant", "status": "completed", "content": content}
    for number, call in enumerate(message.get("tool_calls") or ()):
        called, arguments = call["function"]["name"], call["function"].get("arguments") or ""
        known = dict(names.get(called, {"name": called}))
        custom = known.pop("custom", False)
        head = {"id": f"fc_{answer}_{number}", "call_id": call.get("id") or f"call_{answer}_{number}", **known}
        if custom:
            yield {"type": "custom_tool_call", **head, "status": "completed", "input": _free(arguments)}
        else:
            yield {"type": "function_call", **head, "status": "completed", "arguments": arguments}


def _free(arguments: str) -> str:
    """The text of a custom tool; what is no object with an `input` is taken as it is."""
    try:
        told = msgspec.json.decode(arguments)
        return str(told["input"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return arguments


def response_events(response: Mapping[str, Any]) -> Iterator[Json]:
    """A whole answer as the Responses API streams it: each item announced, then told."""
    yield {"type": "response.created", "response": {**response, "status": "in_progress", "output": [], "usage": None}}
    for index, item in enumerate(response["output"]):
        blank = {key: [] if isinstance(value, list) else value for key, value in item.items()}
        yield {"type": "response.output_item.added", "output_index": index, "item": {**blank, "status": "in_progress"}}
        for at, part in enumerate(item.get("content") or ()):
            place = {"item_id": item["id"], "output_index": index, "content_index": at}
            yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
            yield {"type": f"response.{part['type']}.delta", **place, "delta": part["text"]}
            yield {"type": f"response.{part['type']}.done", **place, "text": part["text"]}
            yield {"type": "response.content_part.done", **place, "part": part}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{response['status']}", "response": dict(response)}
