"""The weights of a model folder, put into a model that is new."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from seqloom.errors import ModelFolderError
from seqloom.tasks.folder import WEIGHTS, ModelFolder

ModelT = TypeVar("ModelT", bound=nn.Module)


def require_fit(model: nn.Module, folder: ModelFolder) -> None:
    """ModelFolderError if the weights of ``folder`` are not those of such a model, which may be on the meta device."""
    own = dict(model.named_parameters())
    wrong = [
        f"{name} is {'missing' if name in own else 'unknown'}"
        if name not in own or name not in folder.weights
        else f"{name} has shape {list(folder.weights[name].shape)}, expected {list(own[name].shape)}"
        for name in sorted(own.keys() | folder.weights.keys())
        if name not in own or name not in folder.weights or own[name].shape != folder.weights[name].shape
    ]
    if wrong:
        raise ModelFolderError(f"{folder.path / WEIGHTS}: does not fit config.json: {'; '.join(wrong[:5])}")


def loaded(build: Callable[[], nn.Module], folder: ModelFolder) -> nn.Module:
    """The model that ``build`` makes, with the weights of ``folder``; no room is made for weights that it has not.

    Raises:
        ModelFolderError: if the weights are not those of such a model.
    """
    with torch.device("meta"):
        require_fit(build(), folder)
    return filled(build(), folder)


def filled(model: ModelT, folder: ModelFolder) -> ModelT:
    """``model`` with the weights of ``folder``, which fit, ready to be used."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(folder.weights[name])
    return model.eval()
