"""A scripted model: says what a script says, in order, to whoever asks over HTTP.

`ScriptedModel(replies)` serves OpenAI's Responses and Chat Completions and Anthropic's Messages, as JSON or as
server-sent events, on a port of the loopback: one reply a request, whichever of the three is asked. What was asked is
kept in `requests`: what an agent really sent, and `headers`. Instead of replies in a row, a function may choose one for
each request.

    with ScriptedModel((Reply(text="Hello."),)) as model:
        run_agent(base_url=model.url)
    assert model.requests[0]["input"]
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from uuid import uuid4

import msgspec

Event = Mapping[str, Any]
CREATED = 1_700_000_000
PIECE = 64
"""Characters of text in one event."""


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model says to one request."""

    reasoning: str = ""
    text: str = ""
    calls: tuple[dict[str, dict[str, Any] | str], ...] = ()
    """Parallel tool calls, `{name: arguments}` each, the name with its namespace if it has one (`functions.exec`). Text
    instead of arguments is the input of a custom tool."""
    cut: bool = False
    """It stopped at the output limit."""
    tokens: int = 1000
    """Input tokens that it says it has read: what makes an agent compact its history."""
    status: int = 200
    """Of HTTP; from 400 on an error is said, and nothing else."""
    headers: dict[str, str] = {}
    broken: bool = False
    """The connection ends in the middle of the stream."""
    delay: float = 0.0
    """Seconds before it says anything."""


class ScriptedModel:
    """The server. Asked once more than it has replies, it answers 410, and the agent gives up."""

    def __init__(self, replies: Sequence[Reply] | Callable[[dict[str, Any]], Reply]):
        self.replies = replies
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.spoken = threading.Event()
        """Set when the last reply has been sent."""
        self._turn = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: dict[str, Any], headers: Mapping[str, str]) -> tuple[int, Reply] | None:
        """The number of this request, from 1, and the reply to it; None when the script is at its end."""
        with self._turn:
            self.requests.append(request)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            asked = len(self.requests)
            if callable(self.replies):
                return asked, self.replies(request)
        return (asked, self.replies[asked - 1]) if asked <= len(self.replies) else None

    def said(self, asked: int) -> None:
        """A reply was sent."""
        if not callable(self.replies) and asked == len(self.replies):
            self.spoken.set()


def _handler(model: ScriptedModel) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the name is the base class's
            """Nothing on the terminal."""

        def do_POST(self) -> None:
            api = APIS.get(self.path.partition("?")[0])
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answered = model.answer(request, self.headers) if api else None
            if api is None or answered is None:
                self.send_error(HTTPStatus.GONE, "the script is at its end")
                return
            asked, reply = answered
            time.sleep(reply.delay)
            events = list(api(reply, asked, request["model"])) if reply.status < HTTPStatus.BAD_REQUEST else []
            if request.get("stream") and events:
                self.stream(events[: len(events) // 2] if reply.broken else events)
                if api is chat and not reply.broken:
                    self.wfile.write(b"data: [DONE]\n\n")
            elif events:
                self.tell(reply, whole(events))
            else:
                self.tell(reply, {"error": {"message": "scripted", "type": "scripted", "code": None}})
            model.said(asked)

        def stream(self, events: Sequence[Event]) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for event in events:
                kind = f"event: {event['type']}\n" if "type" in event else ""
                self.wfile.write(f"{kind}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode())

        def tell(self, reply: Reply, answer: Event) -> None:
            self.send_response(reply.status)
            for name, value in {"content-type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(answer, ensure_ascii=False).encode())

    return Handler


def chat(reply: Reply, asked: int, model: str) -> Iterator[Event]:
    """The reply as Chat Completions stream it."""

    def chunk(delta: Event, finish: str | None = None) -> Event:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    head = {"id": f"chatcmpl-{asked}", "object": "chat.completion.chunk", "created": CREATED, "model": model}
    yield chunk({"role": "assistant", "content": ""})
    for field, value in (("reasoning_content", reply.reasoning), ("content", reply.text)):
        yield from (chunk({field: piece}) for piece in _pieces(value))
    for index, (name, arguments) in enumerate(_calls(reply)):
        call = {"index": index, "id": f"call_{asked}_{index}", "type": "function"}
        yield chunk({"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]})
        for piece in _pieces(_json(arguments)):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, "length" if reply.cut else "tool_calls" if reply.calls else "stop")
    told, said = reply.tokens, _tokens(reply)
    usage = {"prompt_tokens": told, "completion_tokens": said, "total_tokens": told + said}
    yield {**head, "choices": [], "usage": usage}


def whole(events: Sequence[Event]) -> Event:
    """What a stream tells, as its API says it at once."""
    if "response" in events[-1]:
        return events[-1]["response"]
    return _message(events) if events[-1].get("type") == "message_stop" else _completion(events)


def _completion(chunks: Sequence[Event]) -> Event:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: dict[int, dict[str, Any]] = {}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        for field in choice["delta"].keys() & {"content", "reasoning_content"}:
            message[field] = (message.get(field) or "") + choice["delta"][field]
        for piece in choice["delta"].get("tool_calls", ()):
            call = calls.setdefault(piece["index"], {**piece, "function": {"arguments": "", **piece["function"]}})
            call["function"]["arguments"] += piece["function"]["arguments"]
    finish = chunks[-2]["choices"][0]["finish_reason"]
    said = {**message, **({"tool_calls": list(calls.values())} if calls else {})}
    return {**chunks[-1], "object": "chat.completion", "choices": [{"message": said, "finish_reason": finish}]}


def responses(reply: Reply, asked: int, model: str) -> Iterator[Event]:
    """The reply as the Responses API streams it: each item announced, its text in pieces, then whole."""
    whole = {"id": f"resp_{asked}", "object": "response", "created_at": CREATED, "model": model}
    yield {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}}
    items = list(_items(reply, asked))
    for index, item in enumerate(items):
        blank = {key: [] if isinstance(value, list) else value for key, value in item.items()}
        yield {"type": "response.output_item.added", "output_index": index, "item": {**blank, "status": "in_progress"}}
        for at, part in enumerate(item.get("content", ())):
            place = {"item_id": item["id"], "output_index": index, "content_index": at}
            yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
            for piece in _pieces(part["text"]):
                yield {"type": f"response.{part['type']}.delta", **place, "delta": piece}
            yield {"type": f"response.{part['type']}.done", **place, "text": part["text"]}
            yield {"type": "response.content_part.done", **place, "part": part}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    status, why = ("incomplete", {"reason": "max_output_tokens"}) if reply.cut else ("completed", None)
    told, said = reply.tokens, _tokens(reply)
    usage = {"input_tokens": told, "output_tokens": said, "total_tokens": told + said}
    end = {**whole, "status": status, "incomplete_details": why, "output": items, "usage": usage}
    yield {"type": f"response.{status}", "response": end}


def messages(reply: Reply, asked: int, model: str) -> Iterator[Event]:
    """The reply as the Messages API streams it: a block after the other, each in pieces. Claude Code's sessions live by
    ids, so they are never the same."""
    head = {"id": f"msg_{uuid4().hex}", "type": "message", "role": "assistant", "model": model, "content": []}
    usage = {"input_tokens": reply.tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    told = {**head, "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
    yield {"type": "message_start", "message": told}
    for index, (block, deltas) in enumerate(_blocks(reply, asked)):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield from ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        yield {"type": "content_block_stop", "index": index}
    stop = "max_tokens" if reply.cut else "tool_use" if reply.calls else "end_turn"
    ended = {"stop_reason": stop, "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {**usage, "output_tokens": _tokens(reply)}}
    yield {"type": "message_stop"}


def _blocks(reply: Reply, asked: int) -> Iterator[tuple[Event, list[Event]]]:
    if reply.reasoning:
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(reply.reasoning)]
        signed = {"type": "signature_delta", "signature": f"signature-{asked}"}
        yield {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]
    if reply.text:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in _pieces(reply.text)]
    for name, arguments in _calls(reply):
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in _pieces(_json(arguments))]
        yield {"type": "tool_use", "id": f"toolu_{uuid4().hex}", "name": name, "input": {}}, deltas


def _message(events: Sequence[Event]) -> Event:
    blocks: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "content_block_start":
            blocks.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            for field, value in event["delta"].items():
                if field != "type":
                    blocks[-1][field] = blocks[-1].get(field, "") + value
    for block in blocks:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block.pop("partial_json", "{}"))
    return {**events[0]["message"], "content": blocks, **events[-2]["delta"], "usage": events[-2]["usage"]}


def _items(reply: Reply, asked: int) -> Iterator[dict[str, Any]]:
    if reply.reasoning:
        thought = [{"type": "reasoning_text", "text": reply.reasoning}]
        yield {"type": "reasoning", "id": f"rs_{asked}", "summary": [], "content": thought}
    if reply.text:
        said = [{"type": "output_text", "text": reply.text, "annotations": []}]
        yield {"type": "message", "id": f"msg_{asked}", "role": "assistant", "status": "completed", "content": said}
    for index, (name, arguments) in enumerate(_calls(reply)):
        namespace, _, bare = name.rpartition(".")
        call = {"id": f"fc_{asked}_{index}", "call_id": f"call_{asked}_{index}", "name": bare, "status": "completed"}
        if namespace:
            call["namespace"] = namespace
        if isinstance(arguments, str):
            yield {"type": "custom_tool_call", **call, "input": arguments}
        else:
            yield {"type": "function_call", **call, "arguments": _json(arguments)}


def _calls(reply: Reply) -> Iterator[tuple[str, dict[str, Any] | str]]:
    for call in reply.calls:
        yield from call.items()


def _json(arguments: dict[str, Any] | str) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))


def _tokens(reply: Reply) -> int:
    """About as many as a tokenizer would count."""
    said = [reply.reasoning, reply.text, *(_json(arguments) for _, arguments in _calls(reply))]
    return 1 + sum(map(len, said)) // 4


APIS: Mapping[str, Callable[[Reply, int, str], Iterator[Event]]] = {
    "/v1/responses": responses,
    "/v1/chat/completions": chat,
    "/v1/messages": messages,
}
