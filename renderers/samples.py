"""A conversation as one row to train on: the ids, and which of them are learned."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from renderers.masking import ROLES, LossPolicy, loss_mask
from renderers.messages import Message
from renderers.renderer import Renderer


class TrainingSample(NamedTuple):
    """One row."""

    token_ids: list[int]
    loss_mask: list[bool]


def build_training_sample(
    renderer: Renderer,
    messages: Sequence[Message] | Sequence[Mapping[str, Any]],
    *,
    role_to_mask: Callable[[Any], bool] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> TrainingSample:
    """A conversation and its loss mask, in one render.

    role_to_mask: whether a message is learned, as it was given; by default what the model wrote is. Whatever it says,
    scaffold is not learned, nor a turn of the model that is not proved or that lost something.
    """
    told = renderer.request(messages).messages
    wanted = [role_to_mask(m) if role_to_mask else t.role == "assistant" for m, t in zip(messages, told, strict=True)]
    kinds = frozenset().union(*(ROLES[message.role] for message, yes in zip(told, wanted, strict=True) if yes))
    rendered = renderer.render(messages, tools)
    asked = np.asarray([*wanted, False], bool)[rendered.message_indices]
    return TrainingSample(rendered.token_ids, (loss_mask(rendered, LossPolicy("asked", kinds)) & asked).tolist())
