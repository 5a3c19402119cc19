"""Codex rollouts that go on elsewhere: compactions, forks, and turns that were taken back."""

import pytest

from assets_tests.pipeline.codex_lines import ASKED, USAGE, called, event, meta, output, read, said
from pipeline.records import REPEATED, Flaw


def test_a_compaction_opens_a_new_window():
    kept = [line["payload"] for line in (said("developer", "Rules."), ASKED, said("user", "Summary: half done."))]
    first, second = read(
        meta(base_instructions={"text": "Be good."}),
        {"type": "turn_context", "payload": {"model": "m-1"}},
        ASKED,
        called("c1"),
        USAGE,
        output("c1"),
        said("assistant", "half done", metadata={"compaction_output": True}),
        USAGE,
        {"type": "compacted", "payload": {"message": "…", "replacement_history": kept}},
        {"type": "turn_context", "payload": {"model": "m-2"}},
        said("assistant", "Done."),
        USAGE,
    )
    assert [message.role[0] for message in first.messages] == list("suat")
    assert [message.content for message in second.messages] == [
        "Be good.",
        "Rules.",
        "Fix it.",
        "Summary: half done.",
        "Done.",
    ]
    assert [place.line for place in second.places] == [1, 9, 9, 9, 11]
    assert [(told.id, told.window, told.model) for told in (first, second)] == [
        ("t-1-0", 0, "m-1"),
        ("t-1-1", 1, "m-2"),
    ]


def test_a_fork_tells_its_parents_part_up_to_the_fork():
    parent = (meta(), ASKED, said("assistant", "One.", ordinal=2), said("user", "After the fork.", ordinal=3))
    base = {"thread_id": "t1", "end_ordinal_exclusive": 3}
    own = (meta("t2", history_base=base), said("user", "Go on."), said("assistant", "Two."))
    (told,) = read(*own, beside=((meta("t0"),), parent))
    assert [message.content for message in told.messages] == ["Fix it.", "One.", "Go on.", "Two."]
    assert [place.file for place in told.places] == ["2.jsonl", "2.jsonl", "0.jsonl", "0.jsonl"]


@pytest.mark.parametrize("thread", ["gone", "t2"])
def test_a_fork_without_its_parent_is_a_reject(thread):
    base = {"thread_id": thread, "end_ordinal_exclusive": 3}
    (reject,) = read(meta("t2", history_base=base), ASKED, said("assistant", "Two."))
    assert reject.reason == "missing_parent"


def test_a_window_that_only_the_parent_spoke_in_is_left_to_the_parent():
    compacted = {"type": "compacted", "ordinal": 2, "payload": {"message": "", "replacement_history": []}}
    parent = (meta(), ASKED, said("assistant", "One."), compacted)
    base = {"thread_id": "t1", "end_ordinal_exclusive": 3}
    (told,) = read(meta("t2", history_base=base), said("user", "Go on."), said("assistant", "Two."), beside=(parent,))
    assert (told.window, [message.content for message in told.messages]) == (1, ["Go on.", "Two."])


def test_what_was_taken_back_is_a_branch_of_its_own():
    first, second = read(
        meta(),
        said("user", "<environment_context>"),
        ASKED,
        said("assistant", "One."),
        USAGE,
        said("developer", "Mode: fast."),
        said("user", "Wrong."),
        said("assistant", "Two."),
        USAGE,
        event("thread_rolled_back", num_turns=1),
        said("user", "Right."),
        said("assistant", "Three."),
        USAGE,
    )
    assert [message.content for message in first.messages][2:] == ["One.", "Mode: fast.", "Wrong.", "Two."]
    assert [message.content for message in second.messages][1:] == ["Fix it.", "One.", "Right.", "Three."]
    assert first.flaws == ()
    assert second.flaws == (Flaw(2, REPEATED),)


def test_an_answer_that_a_compaction_kept_is_learned_where_it_was_given():
    kept = [said("assistant", "One.")["payload"]]
    first, second = read(
        meta(),
        ASKED,
        said("assistant", "One."),
        USAGE,
        {"type": "compacted", "payload": {"message": "", "replacement_history": kept}},
        said("assistant", "Two."),
        USAGE,
    )
    assert first.flaws == ()
    assert [message.content for message in second.messages] == ["One.", "Two."]
    assert second.flaws == (Flaw(0, REPEATED),)
    assert second.places[0].pointer == "/payload/replacement_history/0"


def test_a_thread_that_another_began_is_a_conversation_of_the_same_trace():
    """Of a run: the files of all its threads lie in one trace."""
    helper = (meta("t2", parent_thread_id="t1"), ASKED, said("assistant", "Two."))
    told = read(
        meta(), ASKED, said("assistant", "One."), beside=((meta("t0"), ASKED, said("assistant", "Zero.")), helper)
    )
    assert [(row.id, row.trace_id, row.messages[-1].content, row.origin.parent) for row in told] == [
        ("t-1-0", "t-1", "One.", None),
        ("t-1.2-0", "t-1", "Two.", "t1"),
    ]
