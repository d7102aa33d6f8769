"""Learning from rewards: towards the exact optimum, resumable, and stopped without loss."""

import os
import signal

import pytest
import torch

from isinglass.errors import FileError
from isinglass.language import LanguageQ, LearningOptions, TabularLanguage, optimum
from isinglass.language.residuals import score, suffix_loss, trajectory_loss
from tests.language.toys import END, LENGTH, WORDS, Tiny, random_table
from tests.seeds import seeded

T = 0.2


def two_threes(rows):
    return [float(row.count(3) >= 2) for row in rows]


def exact(toy, reward):
    """The listed sequences, their probabilities and rewards."""
    every = toy.sequences(END)
    return (
        every,
        LanguageQ(toy, end=END).log_prob(every).detach(),
        torch.tensor(reward(every.lists())),
    )


def best(toy, reward, temperature=T):
    rewards = exact(toy, reward)[2]
    return TabularLanguage.from_energy(
        lambda _: -rewards, WORDS, LENGTH, temperature=temperature, end=END, reference=toy
    )


def test_the_optimum_is_that_of_enumeration():
    toy = random_table()
    _, log_p, rewards = exact(toy, two_threes)
    base = float((log_p.exp() * rewards).sum())
    star = LanguageQ(best(toy, two_threes), toy, T, end=END)
    law = star.log_prob(toy.sequences(END)).exp().detach()
    success, value = optimum(base, T)
    assert abs(float((law * rewards).sum()) - success) < 1e-9
    assert abs(float((law * (rewards - T * (law.log() - log_p))).sum()) - value) < 1e-9
    assert abs(float(star.value(torch.tensor([[0]]))[0, 0].detach()) - value) < 1e-9


@pytest.mark.parametrize("temperature", [1e-4, 0.1, 50.0])
@pytest.mark.parametrize("base", [0.0, 1e-9, 0.5, 1.0])
def test_the_optimum_lies_between_the_base_rate_and_one(base, temperature):
    success, value = optimum(base, temperature)
    assert base - 1e-12 <= success <= 1
    assert base - 1e-12 <= value <= 1 + 1e-12


def test_both_residuals_are_zero_at_the_optimum_for_every_sequence_whoever_drew_it():
    toy, star = random_table(), best(random_table(), two_threes)
    every, _, rewards = exact(toy, two_threes)
    mine, theirs = score(star, every), score(toy, every)
    ratio, one = mine.log_p - theirs.log_p, torch.zeros(len(every), dtype=torch.long)
    assert float(trajectory_loss(ratio, rewards.double(), one, T).detach()) < 1e-18
    values = LanguageQ(star, toy, T, end=END).values(mine, theirs)
    assert float(suffix_loss(ratio, values, rewards.double(), every.chosen, T).detach()) < 1e-18
    off = score(random_table(5), every).log_p - theirs.log_p
    assert float(trajectory_loss(off, rewards.double(), one, T).detach()) > 1e-3


def test_the_gradient_is_that_of_reinforce_with_a_penalty_and_a_baseline():
    """−∇ Σ (R − T log π/π_ref − b) log π, b the mean: 1/2T of that of the residual."""
    toy, reference = random_table(), random_table(1)
    found = LanguageQ(toy, end=END).sample([[0]] * 40, LENGTH, seeded())
    rewards = torch.tensor(two_threes(found.lists())).double()
    mine, theirs = score(toy, found).log_p, score(reference, found).log_p
    ratio = mine - theirs
    groups = torch.zeros(40, dtype=torch.long)
    (a,) = torch.autograd.grad(
        trajectory_loss(ratio, rewards, groups, T), toy.table, retain_graph=True
    )
    gain = (rewards - T * ratio.sum(1)).detach()
    plain = -((gain - gain.mean()) * mine.sum(1)).mean()
    (b,) = torch.autograd.grad(plain, toy.table)
    torch.testing.assert_close(a, 2 * T * b, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_a_toy_comes_near_the_optimum_by_defaults():
    toy = random_table()
    learner = LanguageQ(random_table(), toy, T, end=END)
    learner.fit(
        [[0]], two_threes, steps=200, max_tokens=LENGTH, progress=False, generator=seeded(1)
    )
    every, _, _ = exact(toy, two_threes)
    law = learner.log_prob(every).detach()
    star = LanguageQ(best(toy, two_threes), end=END).log_prob(every).detach()
    assert float((law.exp() * (law - star)).sum()) < 0.1


@pytest.mark.parametrize(
    "settings", [{}, {"residual": "suffix"}, {"replay": 0}, {"learning_rate": 0.05}]
)
def test_rewards_become_more_under_every_setting(settings):
    learner = LanguageQ(random_table(), temperature=T, end=END)
    report = learner.fit(
        [[0]],
        two_threes,
        steps=25,
        max_tokens=LENGTH,
        progress=False,
        generator=seeded(2),
        **settings,
    )
    first, last = report["reward"][0], sum(report["reward"][-5:]) / 5
    assert last > first + 0.2
    assert report.base_rate is not None
    assert report["share"][-1] > report["share"][0]


def test_prompts_of_any_length_learn_together():
    learner = LanguageQ(Tiny().eval(), temperature=T, end=2)
    report = learner.fit(
        [[0], [0, 5], [1, 5, 6, 7]], lambda rows: [float(7 in row[-3:]) for row in rows],
        LearningOptions(batch=24, max_tokens=5), steps=30, progress=False, generator=seeded(3),
    )  # fmt: skip
    assert sum(report["reward"][-5:]) / 5 > report.base_rate + 0.2


def test_the_reference_and_the_modes_of_the_model_stay_as_they_were():
    model = Tiny().train()
    learner = LanguageQ(model, temperature=T, end=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learner.fit([[0]], lambda rows: [float(3 in row) for row in rows], steps=2, max_tokens=4,
                progress=False, generator=seeded(4))  # fmt: skip
    assert model.training
    for name, tensor in learner.reference.function.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def run(path, steps, stop_after=None):
    learner = LanguageQ(random_table(), random_table(), T, end=END)

    class Stop(Exception):
        pass

    def on_step(row):
        if row["step"] == stop_after:
            raise Stop

    try:
        learner.fit(
            [[0]], two_threes, steps=steps, max_tokens=LENGTH, progress=False, on_step=on_step,
            checkpoint=path, resume=True, generator=seeded(5),
        )  # fmt: skip
    except Stop:
        return None
    return learner.model.table.detach()


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path):
    whole = run(tmp_path / "whole.safetensors", 15)
    assert run(tmp_path / "part.safetensors", 15, stop_after=12) is None
    assert torch.equal(run(tmp_path / "part.safetensors", 15), whole)


def test_a_run_that_is_done_is_made_longer(tmp_path):
    """It counts on, keeps what it learned, replays what it drew, and does not warm up again."""
    path = tmp_path / "run.safetensors"
    found, judges, taken = [], [], []
    for steps in (20, 20, 50):
        judges.append(LanguageQ(random_table(), random_table(), T, end=END))
        report = judges[-1].fit(
            [[0]], two_threes, steps=steps, max_tokens=LENGTH, progress=False, checkpoint=path,
            resume=len(found) > 0, generator=seeded(5), on_step=lambda row: taken.append(row),
        )  # fmt: skip
        found.append(report)
    first, same, longer = found
    assert same.history == first.history
    assert torch.equal(judges[1].model.table, judges[0].model.table)
    assert longer.history[:20] == first.history
    assert [row["step"] for row in taken] == list(range(1, 51))
    assert longer["rollouts"][20] == first["rollouts"][-1] + 64
    assert longer.base_rate == first.base_rate
    ends = [sum(report["objective"][-5:]) / 5 for report in (first, longer)]
    assert min(longer["objective"][20:]) > longer["objective"][0] + 0.1
    assert ends[1] > ends[0] - 0.05


def test_a_longer_run_does_not_warm_up_again(tmp_path):
    from isinglass.language import learner as module

    judge = LanguageQ(random_table(), random_table(), T, end=END)
    options = LearningOptions(max_tokens=LENGTH, cooling=0.5)

    def run(steps):
        return module.Learner(
            judge, judge.reference, [torch.tensor([0])], module.RewardOf(two_threes, judge),
            options, steps, seeded(5),
        )  # fmt: skip

    short, longer = run(4), run(100)
    temperatures = []
    for learner in (short, longer):
        if learner is longer:
            learner.load(short.state())
        for _ in range(4):
            learner.cool()
            temperatures.append(learner.temperature)
            learner.history.append({})
    assert temperatures == [2 * T, T, T, T, T, T, T, T]


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    run(path, 2)
    learner = LanguageQ(random_table(), random_table(), 2 * T, end=END)
    with pytest.raises(FileError, match=r"temperature = 0\.2"):
        learner.fit([[0]], two_threes, steps=2, max_tokens=LENGTH, checkpoint=path, resume=True)
    with pytest.raises(FileError, match="resume=True"):
        learner.fit([[0]], two_threes, steps=2, max_tokens=LENGTH, checkpoint=path)


def test_ctrl_c_keeps_what_was_learned():
    learner = LanguageQ(random_table(), temperature=T, end=END)

    def on_step(row):
        if row["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    report = learner.fit([[0]], two_threes, steps=50, max_tokens=LENGTH, progress=False,
                         on_step=on_step, generator=seeded(6))  # fmt: skip
    assert report.stopped == "interrupted"
    assert len(report.history) == 3
    assert not torch.equal(learner.model.table, random_table().table)
    assert learner.model.table.isfinite().all()


def test_evaluation_agrees_with_enumeration():
    toy = random_table()
    _, log_p, rewards = exact(toy, two_threes)
    base = float((log_p.exp() * rewards).sum())
    judge = LanguageQ(random_table(), toy, T, end=END)
    found = judge.evaluate([[0]], two_threes, rollouts=600, max_tokens=LENGTH, base_rate=base,
                           generator=seeded(7))  # fmt: skip
    assert abs(found.reward - base) < 5 * (base * (1 - base) / 600) ** 0.5
    assert found.kl == 0
    assert found.optimum == optimum(base, T)[1]


def test_the_learning_rate_is_found_where_a_step_goes_as_far_as_wanted():
    from isinglass.language import learner as module

    judge = LanguageQ(random_table(), random_table(), T, end=END)
    options = LearningOptions(max_tokens=LENGTH, change=0.3, cooling=0.0)
    run = module.Learner(
        judge,
        judge.reference,
        [torch.tensor([0])],
        module.RewardOf(two_threes, judge),
        options,
        10**6,
        seeded(8),
    )
    run.begin()
    moved = []
    for _ in range(25):
        run.step(None)
        moved.append(run.moved)
    assert 0.1 < sum(moved[-10:]) / 10 < 0.9


def test_replay_keeps_the_newest_with_what_the_reference_says():
    from isinglass.language import SequenceReplay
    from isinglass.language import learner as module

    judge = LanguageQ(random_table(), random_table(1), T, end=END)
    options = LearningOptions(max_tokens=LENGTH, batch=8)
    run = module.Learner(
        judge,
        judge.reference,
        [torch.tensor([0])],
        module.RewardOf(two_threes, judge),
        options,
        1,
        seeded(9),
    )
    batches = [run.draw(judge.model)[0] for _ in range(4)]
    replay = SequenceReplay(20)
    for batch in batches:
        replay.add(batch)
    assert len(replay) == 20
    assert (
        replay.held.sequences.lists() == [row for b in batches for row in b.sequences.lists()][-20:]
    )
    theirs = score(judge.reference, replay.held.sequences)
    torch.testing.assert_close(replay.held.scores.log_p, theirs.log_p)


def test_replayed_sequences_come_with_others_of_their_prompt_and_each_as_often():
    from isinglass.language import Rollouts, Scores, SequenceReplay, Sequences

    groups = torch.tensor([7] * 5 + [1] * 30 + [4] * 15)
    ones = torch.ones(50, dtype=torch.long)
    rows = Sequences(torch.arange(50)[:, None].repeat(1, 2), ones, 2 * ones)
    scores = Scores(torch.zeros(50, 1), torch.zeros(50, 1))
    replay = SequenceReplay(50)
    replay.add(Rollouts(rows, scores, torch.zeros(50), groups))
    drawn = replay.draw(40_000, seeded(10))
    assert torch.equal(groups[drawn.sequences.tokens[:, 0]], drawn.groups)
    assert (drawn.groups.view(-1, 8) == drawn.groups.view(-1, 8)[:, :1]).all()
    counts = drawn.sequences.tokens[:, 0].bincount(minlength=50)
    # eight at a time from one prompt: the variance of a count is at most eight times that of one
    assert ((counts - 800).abs() < 5 * (8 * 800) ** 0.5).all()
