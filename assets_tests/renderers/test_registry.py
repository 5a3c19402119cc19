"""Which witness a tokenizer gets, and what is refused with its cure."""

import copy
import pickle
from datetime import date

import pytest

import renderers
from renderers import FAMILIES, Message, Request, UnknownFlag, UnknownModel, create_renderer
from renderers.renderer import Family, Renderer
from renderers.tokenizer import Tokenizer

ASKED = Request((Message("user", "?"),))
TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}{% if loud %}!{% endif %}"


@pytest.fixture
def with_template(tiny_json):
    def tokenizer(chat_template: str | None, name: str = "") -> Tokenizer:
        return Tokenizer.from_json(tiny_json, chat_template=chat_template, name=name)

    return tokenizer


def test_a_known_template_is_told_by_its_family(load):
    assert create_renderer(load("qwen3")).name == "qwen3"


def test_an_unknown_template_is_traced_with_a_warning(with_template):
    with pytest.warns(UserWarning, match=r"no family tells the chat template of this tokenizer; it is traced"):
        renderer = create_renderer(with_template(TEMPLATE))
    assert not isinstance(renderer.witness, Family)
    assert renderer.stream(ASKED).text == "[user] ?"


def test_a_known_template_is_traced_on_request(load):
    assert not isinstance(create_renderer(load("qwen3"), "traced").witness, Family)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "Qwen/Qwen3-8B@895c8d171bc03c30e113cd7a28c02494b5e068b7"])
def test_a_model_without_a_template_is_known_by_its_name(with_template, name):
    assert create_renderer(with_template(None, name)).name == "qwen3"


def test_a_template_of_ones_own_comes_before_the_models_name(with_template):
    with pytest.warns(UserWarning, match=r"of Qwen/Qwen3-8B: qwen3, which tells others of this name") as warned:
        renderer = create_renderer(with_template(TEMPLATE, "Qwen/Qwen3-8B"))
    assert not isinstance(renderer.witness, Family)
    assert warned[0].filename == __file__


@pytest.mark.parametrize("renderer", ["traced", "qwen3"])
def test_what_is_chosen_by_hand_gives_no_warning(with_template, renderer, recwarn):
    create_renderer(with_template(TEMPLATE, "Qwen/Qwen3-8B"), renderer)
    assert not recwarn


def test_a_family_can_be_named(with_template):
    assert create_renderer(with_template(None), "qwen3").name == "qwen3"


@pytest.mark.parametrize("renderer", ["auto", "traced"])
def test_nothing_to_tell_with_is_refused_with_the_cure(with_template, renderer):
    with pytest.raises(UnknownModel, match=r"some/model.*chat_template.*qwen3"):
        create_renderer(with_template(None, "some/model"), renderer)


def test_a_renderer_that_is_none_is_refused_with_those_there_are(with_template):
    with pytest.raises(UnknownModel, match=r"'qwen33'.*auto, traced, .*qwen3"):
        create_renderer(with_template(None), "qwen33")


@pytest.mark.parametrize("flags", [{"enable_thinkin": True}, {"enable_thinking": "yes"}])
def test_a_flag_that_means_nothing_is_refused_when_the_renderer_is_made(with_template, flags):
    with pytest.raises(UnknownFlag, match="enable_thinking"):
        create_renderer(with_template(None), "qwen3", **flags)


def test_a_traced_template_names_its_flags(with_template):
    assert create_renderer(with_template(TEMPLATE), "traced", loud=True).stream(ASKED).text == "[user] ?!"
    with pytest.raises(UnknownFlag, match=r"'quiet'.*loud"):
        create_renderer(with_template(TEMPLATE), "traced", quiet=True)


def test_the_requests_own_flags_come_before_the_renderers(example):
    renderer = Renderer(FAMILIES["qwen3"], example, {"enable_thinking": False})
    asked = Request(ASKED.messages, generating=True)
    assert "<think>" in renderer.stream(asked).text
    loud = Request(ASKED.messages, flags={"enable_thinking": True}, generating=True)
    assert "<think>" not in renderer.stream(loud).text


def test_dicts_and_messages_render_alike(example):
    renderer = create_renderer(example, "qwen3")
    ids = renderer.render_ids([{"role": "user", "content": "Hi"}], add_generation_prompt=True)
    assert ids == renderer.render_ids([Message("user", "Hi")], add_generation_prompt=True)
    assert renderer.tokenizer.decode(ids) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_a_row_is_found_by_its_own_name():
    assert all(name == row.name for name, row in FAMILIES.items())
    prints = [print_ for row in FAMILIES.values() for print_ in row.fingerprints]
    models = [model for row in FAMILIES.values() for model in row.models]
    assert len(prints) == len(set(prints))
    assert len(models) == len(set(models))
    assert all(row.flags[switch] is bool for row in FAMILIES.values() for switch in row.switches)


def test_public_names_are_there_and_sorted():
    assert all(hasattr(renderers, name) for name in renderers.__all__)
    assert len(set(renderers.__all__)) == len(renderers.__all__)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("qwen3", {"enable_thinking": False}),
        ("traced", {"enable_thinking": False}),
        ("smollm3", {"today": date(2025, 7, 1)}),
    ],
)
def test_a_renderer_goes_to_other_processes_as_it_is(load, name, flags):
    """And whatever it was used for before, as with `spawn`, Ray or `datasets.map(num_proc=…)`."""
    here = create_renderer(load("qwen3"), name, **flags)
    prompt = here.render_ids(ASKED.messages, add_generation_prompt=True)
    said = here.tokenizer.encode_batch(["Yes.<|im_end|>"], added=True)[0]
    bridged = here.bridge(prompt, said, ASKED.messages, messages=ASKED.messages)
    for there in (pickle.loads(pickle.dumps(here)), copy.deepcopy(here)):
        assert (there.name, there.flags) == (here.name, here.flags)
        assert there.render_ids(ASKED.messages, add_generation_prompt=True) == prompt
        assert there.bridge(prompt, said, ASKED.messages, messages=ASKED.messages) == bridged
        if name != "traced":
            assert there.parse_response(said) == here.parse_response(said)


def test_of_a_template_of_ones_own_the_words_go_to_other_processes(example):
    own = renderers.get_template("phi-4")
    assert isinstance(own, renderers.Template)
    renderer, there = Renderer(own.family, example), pickle.loads(pickle.dumps(own))
    assert there == own
    assert there.family.tell(ASKED).text == renderer.stream(ASKED).text
    assert copy.deepcopy(renderer).stream(ASKED).text == renderer.stream(ASKED).text
    with pytest.raises((AttributeError, pickle.PicklingError), match="local object"):
        pickle.dumps(renderer)
