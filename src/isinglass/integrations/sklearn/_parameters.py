"""Checks of what the estimator of tables was told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isinglass._support.validation import (
    check_at_least_zero,
    check_choice,
    check_count,
    check_flag,
    check_positive,
    check_weight,
)
from isinglass.errors import ParameterError
from isinglass.learning.covariance_em import COVARIANCES

__all__ = ["check_parameters"]


def check_parameters(model: Any) -> None:
    """Refuses parameters of a ``HopfieldBoltzmannMachine`` that are out of range.

    Raises:
        ParameterError: If one is.
    """
    if isinstance(model.n_memories, str) and model.n_memories != "auto":
        raise ParameterError(f"n_memories = {model.n_memories!r}", "Say 'auto', or a number")
    if not isinstance(model.n_memories, str):
        check_count("n_memories", model.n_memories)
    check_choice("covariance", model.covariance, ("auto", *COVARIANCES))
    check_count("max_iter", model.max_iter)
    check_count("n_init", model.n_init)
    check_at_least_zero("tol", model.tol)
    check_weight("pseudo_count", model.pseudo_count)
    check_positive("least_spread", model.least_spread)
    check_choice("handle_unknown", model.handle_unknown, ("error", "missing"))
    check_flag("warm_start", model.warm_start)
    check_flag("verbose", model.verbose)
    if not isinstance(model.columns, Mapping | str | None):
        raise ParameterError(
            f"columns of type {type(model.columns).__name__}",
            "Give a dictionary from columns to kinds",
        )
