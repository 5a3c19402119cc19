"""Secrets and personal data: found in every shape and place, replaced without harm, and nothing else is touched."""

import ast
import base64
import json
import os
import random
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pipeline.records import Conversation, Finding, Reject
from pipeline.resources.salt import salt_of
from pipeline.resources.store import Store
from pipeline.scrubbing import scrub
from pipeline.scrubbing.leaves import leaves, rewritten
from pipeline.scrubbing.placeholders import replaced
from pipeline.scrubbing.raw import scrub_lines
from pipeline.scrubbing.secrets import find
from pipeline.targets import SETTINGS, Project, Scrubbing, load_project
from renderers.messages import Message, ToolCall

RANDOM = random.Random(5)
WORD = string.ascii_letters + string.digits
URL = WORD + "-_"
HEX = "0123456789abcdef"
SALT = b"salt"
GITHUB = "ghp_" + "q7Kd92mXw0aLr5TzUv1YbN8cEh3sJf4gPi6o"
STDLIB = Path(os.__file__).parent


def drawn(count: int, letters: str = WORD) -> str:
    return "".join(RANDOM.choice(letters) for _ in range(count))


def key_file(kind: str) -> str:
    lines = "\n".join(drawn(64, WORD + "+/") for _ in range(6))
    return f"-----BEGIN {kind} PRIVATE KEY-----\n{lines}\n-----END {kind} PRIVATE KEY-----"


def token_of_json() -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in CLAIMS)
    return ".".join((*parts, drawn(43, URL)))


CLAIMS = ({"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890", "iat": 1516239022})
SHAPES: dict[str, tuple[str, Callable[[], str]]] = {
    "AWS key id": ("AWS_ACCESS_KEY_ID", lambda: "AKIA" + drawn(16, string.ascii_uppercase + "234567")),
    "AWS secret key": ("AWS_SECRET_ACCESS_KEY", lambda: drawn(40, WORD + "+/")),
    "GitHub": ("GITHUB_TOKEN", lambda: "ghp_" + drawn(36)),
    "GitLab": ("GITLAB_TOKEN", lambda: "glpat-" + drawn(20)),
    "OpenAI": ("OPENAI_API_KEY", lambda: f"sk-proj-{drawn(74, URL)}T3BlbkFJ{drawn(74, URL)}"),
    "Anthropic": ("ANTHROPIC_API_KEY", lambda: f"sk-ant-api03-{drawn(93, URL)}AA"),
    "Hugging Face": ("HF_TOKEN", lambda: "hf_" + drawn(34, string.ascii_letters)),
    "Google key": ("GOOGLE_API_KEY", lambda: "AIza" + drawn(35, URL)),
    "Google OAuth": ("ACCESS_TOKEN", lambda: "ya29." + drawn(100, URL)),
    "Slack bot": ("SLACK_TOKEN", lambda: f"xoxb-{drawn(12, '123456789')}-{drawn(12, '123456789')}-{drawn(24)}"),
    "Slack hook": (
        "SLACK_TOKEN",
        lambda: f"https://hooks.slack.com/services/T{drawn(8, 'ABCDE12345')}/B{drawn(8, 'ABCDE12345')}/{drawn(24)}",
    ),
    "Stripe": ("STRIPE_SECRET", lambda: "sk_live_" + drawn(24)),
    "npm": ("NPM_TOKEN", lambda: "npm_" + drawn(36)),
    "PyPI": ("PYPI_TOKEN", lambda: "pypi-AgEIcHlwaS5vcmc" + drawn(120, URL)),
    "Telegram": ("BOT_TOKEN", lambda: f"{drawn(10, '123456789')}:AA{drawn(33, URL)}"),
    "JWT": ("SESSION_TOKEN", token_of_json),
    "RSA key": ("PRIVATE_KEY", lambda: key_file("RSA")),
    "OpenSSH key": ("PRIVATE_KEY", lambda: key_file("OPENSSH")),
    "database": ("DATABASE_TOKEN", lambda: f"postgres://admin:{drawn(16)}@db.internal:5432/prod"),
    "Weights & Biases": ("WANDB_API_KEY", lambda: drawn(40, HEX)),
    "Langfuse": ("LANGFUSE_SECRET", lambda: "sk-lf-" + "-".join(drawn(n, HEX) for n in (8, 4, 4, 4, 12))),
    "SendGrid": ("SENDGRID_API_KEY", lambda: f"SG.{drawn(22, URL)}.{drawn(43, URL)}"),
    "Discord": ("DISCORD_TOKEN", lambda: f"M{drawn(23)}.{drawn(6)}.{drawn(27)}"),
    "password": ("DB_PASSWORD", lambda: f"{drawn(8)}7{drawn(5, string.ascii_letters)}"),
}
"""What it is -> the name that it is given in code, and one of its kind."""
PLACES: dict[str, Callable[[str, str], str]] = {
    "prose": lambda name, value: f"I found the {name.lower().replace('_', ' ')} {value} in the log, and it works.",
    "code": lambda name, value: f'client = connect(url, {name.lower()}="""{value}""")\n',
    "assignment": lambda name, value: f'{name} = """{value}"""\n',
    ".env": lambda name, value: f"DEBUG=1\n{name}={value}\nPORT=8080\n",
    "JSON": lambda name, value: json.dumps({name.lower(): value, "n": 1}),
    "JSON in JSON": lambda name, value: json.dumps({"body": json.dumps({name.lower(): value})}),
    "URL": lambda name, value: f"curl https://api.example.org/v1/items?{name.lower()}={value}&page=2",
    "header": lambda name, value: f"> Authorization: Bearer {value}\n> Accept: */*",
    "base64": lambda name, value: "printf %s " + base64.b64encode(f"{name}={value}\n".encode()).decode(),
}


@pytest.fixture
def conversation() -> Conversation:
    arguments = '{"command": ["env"],  "note": "caf\\u00e9 ' + GITHUB + '"}'
    return Conversation(
        id="c",
        trace_id="t",
        prompt_id="p",
        window=0,
        format="pi",
        metadata={"path": "/home/jsmith/work"},
        messages=(
            Message("user", "Print it."),
            Message("assistant", "", reasoning=f"It is {GITHUB}.", tool_calls=(ToolCall("run", arguments, "1"),)),
            Message("tool", f"TOKEN={GITHUB}\nHOME=/home/jsmith", tool_call_id="1"),
        ),
    )


def cleaned(row: Conversation, **settings: object) -> Conversation | Reject:
    (only,) = scrub([row], Scrubbing.model_validate(settings), salt=SALT)
    return only


def clean(text: str) -> str:
    return replaced(text, find([text])[0], SALT)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_secret_is_found_wherever_it_stands(shape, place):
    name, make = SHAPES[shape]
    RANDOM.seed(f"{shape} {place}")
    secrets = [make() for _ in range(10)]
    texts = [PLACES[place](name, secret) for secret in secrets]
    clean = [replaced(text, hits, SALT) for text, hits in zip(texts, find(texts), strict=True)]
    for secret, text, after in zip(secrets, texts, clean, strict=True):
        held = text.split()[-1] if place == "base64" else secret.partition("@")[0]
        assert held not in after, (text, after)
        assert "REDACTED_" in after
    assert not any(find(clean)), "what is clean stays so"


@pytest.mark.parametrize("password", ["MyS3cretWord", "mYz9Nt497Mtcgj", "Thermos44tat", "Somewh3re"])
def test_a_password_may_begin_as_a_placeholder_does(password):
    assert password not in clean(f"DB_PASSWORD={password}\n")


@pytest.mark.parametrize("word", ["my-api-key-1", "your_token_123", "test1234", "the_key_goes_here_1", "xxxxxxxx"])
def test_a_placeholder_is_no_secret(word):
    assert clean(f"API_TOKEN={word}\n") == f"API_TOKEN={word}\n"


def test_a_clean_file_is_not_touched():
    files = [path for path in STDLIB.rglob("*.py") if "site-packages" not in path.parts]
    largest = sorted(files, key=lambda path: path.stat().st_size)[-60:]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in largest]
    found = {path.name: hits for path, hits in zip(largest, find(texts), strict=True) if hits}
    assert found == {}


def test_code_still_parses():
    secret = SHAPES["OpenAI"][1]()
    code = (
        f'KEY = "{secret}"\nHOME = "/home/jsmith"\nPEM = """{key_file("RSA")}"""\nprint(KEY, password="{drawn(9)}8x")\n'
    )
    after = clean(code)
    assert after != code
    ast.parse(after)


def test_the_same_secret_has_the_same_placeholder_everywhere(conversation):
    row = cleaned(conversation)
    assert isinstance(row, Conversation)
    told = msgspec.json.encode(row).decode()
    assert GITHUB not in told
    assert "jsmith" not in told
    placeholder = str(row.messages[1].reasoning).removeprefix("It is ").removesuffix(".")
    assert placeholder.startswith("REDACTED_github_pat_")
    assert placeholder in str(row.messages[2].content)
    assert row.scrub.done == "replaced"
    assert row.scrub.found == {"user": 2, "github_pat": 3}


def test_arguments_stay_as_they_were_spelled(conversation):
    row = cleaned(conversation)
    before, after = (r.messages[1].tool_calls[0].arguments for r in (conversation, row))
    placeholder = json.loads(after)["note"].removeprefix("café ")
    assert after.replace(f"café {placeholder}", "caf\\u00e9 " + GITHUB) == before


def test_another_salt_gives_another_placeholder(conversation):
    rows = [next(iter(scrub([conversation], Scrubbing(), salt=salt))) for salt in (b"one", b"two")]
    assert rows[0] != rows[1]


def test_names_of_a_project_are_found_too(conversation):
    row = cleaned(conversation, identity=["Print"])
    assert str(row.messages[0].content).startswith("REDACTED_identity_")


def test_authors_in_what_git_prints_are_replaced():
    log = "commit 1f\nAuthor: Jo Smith <jo@smith.example.net>\n\n    Fix\n\nCo-authored-by: Al <al@x.org>\n"
    assert "@" not in clean(log)
    assert clean("Write to me@example.org") == "Write to me@example.org"


@pytest.mark.parametrize(
    "text",
    [
        "jsmith@jos-laptop:~/work$ ls",
        "[jo@jos-laptop work]$ ls",
        "(venv) jo@jos-laptop.example.net:/srv$ ls",
        "Linux jos-laptop 6.1.0-18-amd64 #1 SMP Debian",
        "Darwin jos-laptop.local 23.4.0 Darwin Kernel Version 23.4.0",
        'PATH=/bin\nexport HOSTNAME="jos-laptop"\nLANG=C',
    ],
)
def test_a_machines_name_is_replaced_where_shells_print_it(text):
    assert "jos-laptop" not in clean(text)
    assert "REDACTED_host" in clean(text)


@pytest.mark.parametrize(
    "text",
    [
        "root@85cf1c7f7e63:/work# ls",
        "user@localhost:~$ ls",
        "HOSTNAME=localhost",
        "git@github.com:owner/name.git",
        "Linux kernel 5.10 is out",
        "Linux 85cf1c7f7e63 6.1.0-18-amd64 #1 SMP",
    ],
)
def test_a_machine_of_no_one_in_particular_keeps_its_name(text):
    assert clean(text) == text


def test_a_row_can_be_reported_or_rejected_instead(conversation):
    reported = cleaned(conversation, mode="report")
    assert reported.messages == conversation.messages
    assert (reported.scrub.done, reported.scrub.found) == ("reported", {"user": 2, "github_pat": 3})
    rejected = cleaned(conversation, mode="reject")
    assert isinstance(rejected, Reject)
    assert rejected.reason == "secret"
    assert "message 1" in rejected.detail
    assert GITHUB not in rejected.detail


def test_a_row_without_secrets_stays_the_same_row(conversation):
    row = msgspec.structs.replace(conversation, messages=(Message("user", "Hello."),), metadata={})
    for mode in ("replace", "reject", "report"):
        assert msgspec.structs.replace(cleaned(row, mode=mode), scrub=row.scrub) == row
    assert cleaned(row, mode="off").scrub.done == "nothing"


def test_broken_json_is_searched_as_text():
    value = {"arguments": '{"note": "' + GITHUB}
    assert list(leaves(value)) == [value["arguments"]]
    assert rewritten(value, str.upper) == {"arguments": value["arguments"].upper()}


def test_a_project_has_a_salt_of_its_own(tmp_path, monkeypatch):
    one, other = salt_of(tmp_path / "one"), salt_of(tmp_path / "other")
    assert one != other
    assert salt_of(tmp_path / "one") == one
    assert (tmp_path / "one" / "salt").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("TRACEMILL_SALT", "team")
    assert salt_of(tmp_path / "one") == b"team"


def leaking(project: Project, mode: str) -> Project:
    """The project with a secret that a command printed in one of its sessions."""
    session = project.prompts / "sessions" / "pi_tasks" / "plain_answer.jsonl"
    lines = session.read_text(encoding="utf-8").split("\n")
    spoiled = [
        line.replace('"text":"', f'"text":"TOKEN={GITHUB} ') if '"role":"user"' in line else line for line in lines
    ]
    assert spoiled != lines
    session.write_text("\n".join(spoiled), encoding="utf-8")
    settings = (project.folder / SETTINGS).read_text(encoding="utf-8")
    (project.folder / SETTINGS).write_text(f"scrub: {{mode: {mode}}}\n{settings}", encoding="utf-8")
    return load_project(project.folder)


@pytest.mark.parametrize("mode", ["replace", "report", "reject", "off"])
def test_no_secret_is_published(project, materialize, mode):
    project = leaking(project, mode)
    run = materialize(project, "pi_tasks", raise_on_error=False)
    published = [path.read_bytes() for path in (project.folder / "dataset").rglob("*.parquet")]
    assert run.success == bool(published) == (mode in ("replace", "reject"))
    store = Store(project.data)
    told = b"".join(msgspec.json.encode(row) for row in store.read("conversations", "pi_tasks", Conversation))
    assert (GITHUB.encode() in told) == (mode in ("report", "off"))
    rejected = [reject.reason for reject in store.rejects("conversations", "pi_tasks")]
    assert ("secret" in rejected) == (mode == "reject")
    if mode == "report":
        errors = [
            found.detail for found in store.read("audits/qwen3", "pi_tasks", Finding) if found.severity == "error"
        ]
        assert errors == ["holds github_pat (1): set `scrub.mode` to replace or reject in tracemill.yaml"]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_secret_is_left_in_a_raw_session(shape: str):
    name, draw = SHAPES[shape]
    secret = draw()
    told = PLACES["code"](name, secret)
    call = {"type": "function_call", "arguments": json.dumps({"command": told}), "kept": "zażółć \U0001f600"}
    lines = [json.dumps(call).encode() + b"\n", told.encode(), b'{"text":"nothing"}\r\n', json.dumps(told).encode()]
    found: Counter[str] = Counter()
    scrubbed = list(scrub_lines(lines, salt=SALT, found=found))
    assert found.total() >= 2
    assert scrubbed[2] is lines[2]
    cleaned = json.loads(scrubbed[0])
    assert scrubbed[0].endswith(b"\n")
    assert cleaned["kept"] == call["kept"]
    assert secret not in json.loads(cleaned["arguments"])["command"]
    assert secret.encode() not in scrubbed[1]
    assert secret not in json.loads(scrubbed[3])


def test_a_recorded_session_without_secrets_stays_as_it_is_byte_for_byte(shared: Path):
    for file in sorted((shared / "traces").rglob("*.jsonl"))[:20]:
        lines = file.read_bytes().splitlines(keepends=True)
        found: Counter[str] = Counter()
        scrubbed = list(scrub_lines(lines, salt=SALT, found=found))
        changed = sum(was is not now for was, now in zip(lines, scrubbed, strict=True))
        assert bool(changed) == bool(found)


def test_bytes_that_are_no_text_come_back_as_they_were():
    lines = [b"\xff\xfe\x00\n", b'{"a": NaN}\n', b"[" * 5000, b""]
    assert list(scrub_lines(lines, salt=SALT)) == lines
