"""Shared by the tests of agents."""

import jaxtyping
import pytest


@pytest.fixture
def plain_annotations():
    """As a user has them: without the check of every annotation that the tests put in front."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
