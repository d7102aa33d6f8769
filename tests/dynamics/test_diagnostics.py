"""Diagnosis of chains whose mixing is known."""

import math
import sys

import pytest
import torch

import isinglass as ig
from isinglass.dynamics import diagnose, record
from isinglass.errors import DomainError, MissingExtraError, ParameterError, ShapeError
from tests.cases import deep

pytest.importorskip("arviz")


def autoregressive(rho: float, draws: int, chains: int, generator) -> torch.Tensor:
    """x ← ρx + √(1 − ρ²) noise, from its stationary distribution."""
    noise = torch.randn(draws, chains, dtype=torch.float64, generator=generator)
    found = [noise[0]]
    for row in noise[1:]:
        found.append(rho * found[-1] + math.sqrt(1 - rho**2) * row)
    return torch.stack(found)


def test_an_autoregression_has_the_sample_size_of_theory(generator):
    report = diagnose(autoregressive(0.6, 5000, 8, generator))
    expected = 5000 * 8 * (1 - 0.6) / (1 + 0.6)
    assert abs(report.bulk_size[0] / expected - 1) < 0.15
    assert abs(report.autocorrelation_time[0] / 4 - 1) < 0.15
    error = 1 / math.sqrt(expected)
    assert abs(report.standard_error[0] / error - 1) < 0.15
    assert abs(report.mean[0]) < 5 * error
    lags = report.autocorrelation[:4, 0]
    torch.testing.assert_close(lags, 0.6 ** torch.arange(4).double(), rtol=0, atol=0.03)
    assert report.mixed
    assert report.complaints == []


def test_chains_apart_or_slow_or_still_are_complained_of(generator):
    mixed = autoregressive(0.0, 1000, 4, generator)
    apart = mixed + torch.arange(4.0)
    slow = autoregressive(0.999, 1000, 4, generator)
    report = diagnose(torch.stack([mixed, apart, slow, torch.ones(1000, 4)], -1), list("abcd"))
    assert not report.mixed
    assert {line[0] for line in report.complaints} == set("bcd")
    assert report.r_hat[1] > 1.2
    assert report.tail_size[2] < 100
    assert math.isnan(report.r_hat[3])
    assert "d: the draws do not vary, so nothing is known of mixing" in report.complaints
    text = str(report)
    assert "not mixed" in text
    assert "4 chains of 1000 draws" in text
    assert [axes.get_ylabel() for axes in report.plot().axes[::2]] == list("abcd")


def test_one_chain_says_that_it_is_one(generator, recwarn):
    report = diagnose(torch.randn(2000, 1, generator=generator))
    assert report.complaints == [
        "R-hat needs two chains or more: one cannot tell whether it has mixed"
    ]
    assert str(report).startswith("1 chain of 2000 draws: not mixed")
    assert not recwarn.list


def test_what_a_kernel_does_is_recorded(generator):
    machine = deep()
    start = machine.extend(torch.zeros(5, 3).double())
    energies = record(
        ig.BlockGibbs(), machine, start, steps=300, temperature=1.0, generator=generator
    )
    assert energies.shape == (300, 5)
    assert diagnose(energies).names == ("energy",)
    units = record(
        ig.BlockGibbs(), machine, start, steps=200, temperature=1.0, generator=generator,
        quantity=lambda state: state[:, :2],
    )  # fmt: skip
    report = diagnose(units)
    assert report.draws.shape == (200, 5, 2)
    assert report.names == ("0", "1")


def test_bad_draws_are_named(generator, unannotated):
    draws = torch.randn(20, 3, generator=generator)
    for wrong in (draws[:3], draws[0], draws[:, :0]):
        with pytest.raises(ShapeError):
            diagnose(wrong)
    with pytest.raises(ShapeError, match="names"):
        diagnose(draws, ["a", "b"])
    draws[3, 1] = math.nan
    with pytest.raises(DomainError, match="NaN"):
        diagnose(draws)
    machine = deep()
    with pytest.raises(ParameterError, match="steps"):
        record(
            ig.BlockGibbs(), machine, machine.extend(torch.zeros(2, 3).double()), steps=0,
            temperature=1.0,
        )  # fmt: skip


def test_without_arviz_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(MissingExtraError, match="diagnostics"):
        diagnose(torch.randn(10, 2))
