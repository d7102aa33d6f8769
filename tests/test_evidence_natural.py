"""The natural gradient that LanguageQ is measured beside."""

import copy

import pytest
import torch

pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("benchmarks", reason="the harness is in the repository alone")

from benchmarks.evidence.natural_gradient import NaturalGradient, linear_layers, slopes_of

from isinglass.language import LanguageQ, LearningOptions
from isinglass.language.residuals import score
from isinglass.language.rewards import RewardOf
from tests.seeds import seeded
from tests.test_evidence_rewarded import tiny

SETTINGS = LearningOptions(batch=32, replay_batch=16, max_tokens=6, average=0.5, change=1.5)


def learner(steps=6) -> NaturalGradient:
    judge = LanguageQ(tiny().model)
    judge.reference = copy.deepcopy(judge.model).requires_grad_(False)
    reward = RewardOf(lambda rows: [float(3 in row) for row in rows], judge)
    prompts = judge.prompts([[0]])
    made = NaturalGradient(judge, judge.reference, prompts, reward, SETTINGS, steps, seeded(1))
    made.begin()
    return made


def test_slopes_are_those_of_single_sequences():
    made = learner()
    model, rollouts = made.judge.model, made.draw(made.judge.model)[0].rows(torch.arange(3))
    modules = linear_layers(model)
    log_p, slopes = slopes_of(model, modules, rollouts)
    for row in range(3):
        one = score(model, rollouts.rows(torch.tensor([row])).sequences).log_p.sum()
        plain = torch.autograd.grad(one, [module.weight for module in modules])
        expected = torch.cat([part.flatten() for part in plain])
        torch.testing.assert_close(slopes[row], expected, atol=1e-5, rtol=1e-3)
        assert float(log_p[row]) == pytest.approx(float(one.detach()), abs=1e-4)


def test_steps_bring_reward_and_go_no_farther_than_asked():
    made = learner(steps=12)
    base = sum(made.base) / len(made.base)
    for _ in range(12):
        made.step(None)
    made.finish()
    found = made.judge.sample([[0]] * 256, 6, seeded(2))
    assert sum(3 in row for row in found.lists()) / 256 > base + 0.1


def test_what_is_not_linear_stays():
    made = learner()
    before = {name: tensor.clone() for name, tensor in made.judge.model.state_dict().items()}
    made.step(None)
    for name, tensor in made.judge.model.state_dict().items():
        inside = "proj" in name
        assert torch.equal(tensor, before[name]) != inside, name
