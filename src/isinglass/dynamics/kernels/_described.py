"""Kernels as JSON values, for the state dict of what is sampled by them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, cast

import torch
from torch import Tensor

from isinglass._support.registry import name_of, subclasses_by_name
from isinglass.core.kernel import Kernel
from isinglass.errors import ParameterError

__all__ = ["describe_kernel", "kernel_of"]


def describe_kernel(kernel: Kernel) -> dict[str, Any]:
    """Returns the kind of a kernel, and its settings where it is a dataclass.

    Examples:
        >>> import isinglass as ig
        >>> describe_kernel(ig.MALA(0.1))
        {'kind': 'MALA', 'step_size': 0.1, 'mass': None}
    """
    settings = [field for field in fields(kernel) if field.init] if is_dataclass(kernel) else []
    values = {field.name: getattr(kernel, field.name) for field in settings}
    plain = {n: v.tolist() if isinstance(v, Tensor) else v for n, v in values.items()}
    return {"kind": name_of(type(kernel)), **plain}


def kernel_of(said: dict[str, Any]) -> Kernel:
    """Builds the kernel that :func:`describe_kernel` has described, among those imported.

    Raises:
        ParameterError: If no dataclass of its kind, with these settings, is imported.

    Examples:
        >>> kernel_of({"kind": "HMC", "leaps": 7, "mass": [1.0, 2.0]}).leaps
        7
    """
    kind = subclasses_by_name(cast("type[Kernel]", Kernel)).get(said["kind"])
    settings = {name: value for name, value in said.items() if name != "kind"}
    if settings.get("mass") is not None:
        settings["mass"] = torch.tensor(settings["mass"], dtype=torch.float64)
    found = f"a state of sampler = {said}, which is no kernel that is imported"
    remedy = "Import its class before, and build the energy with that sampler"
    if kind is None or not is_dataclass(kind):
        raise ParameterError(found, remedy)
    try:
        return cast("Any", kind)(**settings)
    except TypeError as error:
        raise ParameterError(found, remedy) from error
