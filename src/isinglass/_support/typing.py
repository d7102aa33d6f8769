"""Shape annotations: jaxtyping's own where it is already loaded, inert stand-ins otherwise.

``import isinglass`` must need nothing beyond torch, numpy and safetensors, so jaxtyping is
never imported from here at run time. The test suite imports it first and installs its import
hook, and from then on every annotated shape is checked at every call.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool, Float, Int, Num
else:

    class _Unchecked:
        def __class_getitem__(cls, item: object) -> object:
            return item

    class Bool(_Unchecked):
        """Stands in for ``jaxtyping.Bool`` where that is not installed."""

    class Float(_Unchecked):
        """Stands in for ``jaxtyping.Float`` where that is not installed."""

    class Int(_Unchecked):
        """Stands in for ``jaxtyping.Int`` where that is not installed."""

    class Num(_Unchecked):
        """Stands in for ``jaxtyping.Num`` where that is not installed."""


__all__ = ["Bool", "Float", "Int", "Num"]
