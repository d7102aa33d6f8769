"""Attention with a local line: its limits, against a plain loop, and what it foretells."""

from __future__ import annotations

import pytest
import torch

from isinglass.errors import ShapeError
from isinglass.units import Categorical, Gaussian, Mixed
from isinglass.world import LocalLinear, PathPlanner, Prediction, RealModel, WorldColumns


def data(
    count: int = 40, size: int = 3, outputs: int = 2, seed: int = 0
) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, size, generator=generator, dtype=torch.float64)
    values = torch.randn(count, outputs, generator=generator, dtype=torch.float64)
    return points, values, torch.rand(size, generator=generator, dtype=torch.float64) + 0.5


def plain_read(read: LocalLinear, query: torch.Tensor) -> torch.Tensor:
    """The constant of one weighted ridge line, by its normal equations."""
    weights = torch.softmax(-0.5 * ((query - read.points) * read.rates).square().sum(-1), 0)
    scale = read.points.std(0, correction=0)
    design = torch.cat([torch.ones(len(read.points), 1), (read.points - query) / scale], 1)
    ridge = float(read.ridge) * torch.eye(design.shape[1], dtype=torch.float64)
    ridge[0, 0] = 0.0
    normal = design.mT @ (weights[:, None] * design) + ridge
    found = torch.linalg.solve(normal, design.mT @ (weights[:, None] * read.values))[0]
    return found.clamp(read.values.amin(0), read.values.amax(0))


@pytest.mark.parametrize("ridge", [1e-2, 1.0])
def test_read_out_is_the_constant_of_the_weighted_line(ridge: float) -> None:
    points, values, rates = data()
    read = LocalLinear(points, values, rates, ridge)
    queries = data(7, seed=1)[0]
    wanted = torch.stack([plain_read(read, query) for query in queries])
    torch.testing.assert_close(read(queries)[0], wanted, rtol=1e-7, atol=1e-7)


def test_at_an_infinite_ridge_it_is_plain_attention() -> None:
    points, values, rates = data()
    queries = data(7, seed=1)[0]
    attended = torch.softmax(
        -0.5 * ((queries[:, None] - points) * rates).square().sum(-1), -1
    ) @ values  # fmt: skip
    torch.testing.assert_close(LocalLinear(points, values, rates, 1e12)(queries)[0], attended)


def test_what_is_linear_is_read_exactly_between_the_points() -> None:
    points, _, rates = data(60)
    slopes = torch.tensor([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]], dtype=torch.float64)
    read = LocalLinear(points, points @ slopes + 1, rates, 0.0)
    queries = 0.3 * data(9, seed=2)[0]
    torch.testing.assert_close(read(queries)[0], queries @ slopes + 1, rtol=1e-5, atol=1e-5)


def test_left_out_points_do_not_see_themselves() -> None:
    points, values, rates = data()
    read = LocalLinear(points, values, rates, 0.1)
    others = torch.arange(len(points)) != 5
    alone = LocalLinear(points[others], values[others], rates, 0.1)
    scale = points.std(0, correction=0) / points[others].std(0, correction=0)
    assert float((scale - 1).abs().max()) < 0.1  # the ridge counts in units of the spread
    torch.testing.assert_close(
        read.left_out(torch.tensor([5])), alone(points[5:6])[0], rtol=0.05, atol=0.05
    )


def test_fitted_widths_foretell_better_than_attention() -> None:
    points, _, rates = data(200)
    wave = (2 * points[:, :1]).sin() + points[:, 1:2]
    fitted = LocalLinear.fitted(points[:150], wave[:150])
    flat = LocalLinear(points[:150], wave[:150], rates, 1e12)
    errors = [(read(points[150:])[0] - wave[150:]).square().mean() for read in (fitted, flat)]
    assert errors[0] < 0.2 * errors[1]


@pytest.mark.usefixtures("unannotated")
def test_as_many_values_as_points_are_asked_for() -> None:
    with pytest.raises(ShapeError, match="3 points, 2 values"):
        LocalLinear.fitted(torch.zeros(3, 1), torch.zeros(2, 1))


def test_choices_among_real_columns_are_foretold() -> None:
    columns = WorldColumns(Mixed([Gaussian(1), Categorical(2)]), Categorical(2))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(300, generator=generator, dtype=torch.float64)
    light, action = (torch.randint(2, (300,), generator=generator).double() for _ in "12")
    after = torch.stack([x + 0.1 * action, (light + action) % 2], 1)
    rows = torch.stack([x, light, action, light, *after.unbind(1), 0 * x], 1)
    model = RealModel.fitted(columns, rows)
    told = model.predict(torch.tensor([[0.5, 1.0], [0.2, 0.0]]), torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(
        told.next_state, torch.tensor([[0.6, 0.0], [0.2, 0.0]]).double(), atol=0.02, rtol=0
    )
    torch.testing.assert_close(told.reward, torch.tensor([1.0, 0.0]).double(), atol=0.1, rtol=0)
    far = model.predict(torch.tensor([[9.0, 1.0]]), torch.tensor([[1.0]])).nearest
    assert float(far) < model.familiar < float(told.nearest.min())


def test_paths_keep_to_what_was_met_where_asked() -> None:
    """Gold lies where nobody was; a smaller reward where everyone was."""
    columns = WorldColumns(Gaussian(1), Gaussian(1))

    def told(state: torch.Tensor, action: torch.Tensor) -> Prediction:
        after = state + action
        zeros = torch.zeros(len(state), dtype=torch.float64)
        reward = torch.where(after[:, 0] > 2, 10.0, -after[:, 0].abs())
        return Prediction(after, reward, zeros, torch.where(after[:, 0] > 2, -100.0, 0.0))

    ends = {}
    for familiar in (-torch.inf, -10.0):
        planner = PathPlanner(columns, torch.tensor([-1.0]), torch.tensor([1.0]), horizon=8)
        state, generator = torch.tensor([1.0]).double(), torch.Generator().manual_seed(0)
        for _ in range(6):
            action = planner.action(told, state, generator, lowest=-50.0, familiar=familiar)
            state = state + action
        ends[familiar] = float(state)
    assert ends[-torch.inf] > 2
    assert abs(ends[-10.0]) < 0.5
