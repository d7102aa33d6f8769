"""Fixtures that several rooms share."""

import jaxtyping
import pytest


@pytest.fixture
def unannotated():
    """As for a user: no shape is checked but by isinglass itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
