"""Weights, gradients and optimizer in parts, one for each process: for a model that no single device can train.

A layer is put together for as long as it calculates, forward and back, and its gradients are added up on the way back
into each process's part (Rajbhandari et al. 2020, "ZeRO", stage 3; Zhao et al. 2023, "PyTorch FSDP"). Outside of the
layers nothing knows of it: what is saved is whole, and loads on any number of processes.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seqloom.errors import ConfigError

SUMS = "set_gradient_divide_factor", "set_force_sum_reduction_for_comms"
"""What adds gradients up as they are, which PyTorch did not always have."""


def require_support() -> None:
    """Refuses to begin what this PyTorch cannot do.

    Raises:
        ConfigError: if it is too old.
    """
    from torch.distributed.fsdp import FSDPModule

    if not all(hasattr(FSDPModule, name) for name in SUMS):
        raise ConfigError(f"training.shard needs a newer PyTorch than {torch.__version__}: pip install -U torch")


def shard(model: nn.Module, layers: Sequence[nn.Module], device: torch.device) -> None:
    """Leaves each process its part of a model that all hold; each of its ``layers`` is put together by itself."""
    # It takes a second to import, and others need none of it.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for module in (*layers, model):
        fully_shard(module, mesh=mesh)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # losses are sums
            module.set_force_sum_reduction_for_comms(True)
    register_fsdp_forward_method(model, "loss")


def is_part(tensor: Tensor) -> bool:
    """Whether the rest of a tensor is elsewhere."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor, or the tensor."""
    part: Tensor = tensor.to_local() if is_part(tensor) else tensor  # type: ignore[attr-defined]
    return part


def part_like(whole: Tensor, like: Tensor) -> Tensor:
    """Of ``whole`` the part that this process holds of ``like``, on its device; or all of it."""
    if not is_part(like):
        return whole
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def gathered(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """The tensors put together, where ``keep`` on the processor, else dropped one by one; all processes have to call.

    Those that are not in parts are passed on.
    """
    found = {}
    for name, tensor in tensors.items():
        if not is_part(tensor):
            found[name] = tensor
            continue
        whole = tensor.full_tensor()  # type: ignore[attr-defined]
        if keep:
            found[name] = whole.detach().cpu()
    return found


def norm_of(gradients: Sequence[Tensor]) -> Tensor:
    """The norm of all gradients as one vector."""
    norm = torch.stack(torch._foreach_norm([local(each) for each in gradients])).norm()
    if is_part(gradients[0]):
        squared = norm.square()
        dist.all_reduce(squared)
        return squared.sqrt()
    return norm
