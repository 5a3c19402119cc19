"""A writer that is killed, at each of its steps and at any moment, leaves the old partition or the new one."""

import subprocess
import sys
from pathlib import Path

import pytest

WRITERS = """
import os, random, signal, sys, time
from pathlib import Path
from pipeline.records import Prompt, Reject
from pipeline.resources.store import Store

store, how, seed = Store(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])

def rows(word, many):
    for n in range(many):
        yield Prompt(id=str(n), prompt=f"{word} {n}")
        if n % 10 == 0:
            yield Reject(id=str(n), stage="prompts", reason=word, detail="-")

def write(word):
    store.write("prompts", "b", rows(word, 300 if word == "old" else 500), code_version=word)

def check():
    word = store.manifest("prompts", "b").code_version
    found, gone = list(store.read("prompts", "b", Prompt)), list(store.rejects("prompts", "b"))
    assert (len(found), len(gone)) == {"old": (300, 30), "new": (500, 50)}[word]
    assert {row.prompt.split()[0] for row in found} == {row.reason for row in gone} == {word}
    return word

def die_at(step):
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock", "shutil.rmtree"):
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

def child(body):
    pid = os.fork()
    if pid == 0:
        body()
        os._exit(0)
    return pid

def steps():
    found, step, died = [], 1, True
    while died:
        write("old")
        pid = child(lambda: (die_at(step), write("new")))
        died = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        found.append(check())
        step += 1
    return found

def moments():
    found, chance = [], random.Random(seed)
    write("new")
    began = time.monotonic()
    write("old")
    took = time.monotonic() - began
    while len(found) < 60 or (len({*found}) < 2 and len(found) < 600):
        pid = child(lambda: [write(word) for _ in range(100) for word in ("new", "old")])
        time.sleep(chance.uniform(0, 4 * took))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        found.append(check())
    return found

print(*{"steps": steps, "moments": moments}[how]())
"""


@pytest.mark.parametrize("how", ["steps", "moments"])
def test_a_writer_killed_at_any_moment_leaves_the_old_partition_or_the_new_one(tmp_path: Path, how: str):
    script = [sys.executable, "-c", WRITERS, str(tmp_path), how, "7"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = done.stdout.split()
    assert set(found) == {"old", "new"}
    assert len(found) > 15
    assert how == "moments" or (found[0], found[-1]) == ("old", "new")
