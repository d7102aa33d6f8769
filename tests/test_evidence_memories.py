"""What the figures on recalled images, stored digits and few examples are made with."""

import pytest
import torch

pytest.importorskip("benchmarks", reason="the harness is in the repository alone")
pytest.importorskip("sklearn", reason="needs scikit-learn")
pytest.importorskip("rich", reason="needs rich")

from benchmarks.evidence import classical_nets, dense_classifier, few_shot, stored_digits
from benchmarks.evidence.image_sets import data_file, spins

from isinglass import ClassicalHopfield
from isinglass.errors import FileError
from isinglass.integrations.sklearn import DenseMemoryClassifier
from tests.cases import spins as random_spins
from tests.seeds import seeded


def test_images_are_divided_at_their_median_or_at_a_level():
    images = torch.rand(3, 10, 10, generator=seeded(0))
    assert (spins(images, 10).sum(-1) == 0).all()  # as many black as white
    expected = torch.where(images.flatten(1) > 0.3, 1.0, -1.0)
    assert torch.equal(spins(images, 10, level=0.3), expected)
    assert spins(images, 4).shape == (3, 16)


def test_missing_data_say_where_they_are_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("ISINGLASS_DATA", str(tmp_path))
    with pytest.raises(FileError, match="name the folder with some/file"):
        data_file("some", "file.npz")


def test_a_mixture_is_known_from_a_pattern():
    patterns = random_spins(6, 2001)
    mixed = (patterns[0] - patterns[3] + patterns[5]).sign()
    five = (patterns[0] + patterns[1] - patterns[2] + patterns[3] + patterns[4]).sign()
    found = classical_nets.mixtures(torch.stack([mixed, -five, patterns[1]]), patterns)
    assert found[:2].tolist() == [1.0, 1.0]
    assert found[2] < 0.7  # a pattern shares ¾ of its units with a mixture of it and two others


def test_random_starts_end_in_one_kind_of_place(monkeypatch):
    patterns = random_spins(3, 400).float()
    monkeypatch.setattr(classical_nets, "stored", lambda name: patterns)
    found = classical_nets.states(classical_nets.Hebb(), "any", 3, seeded(1))
    kinds = ("pattern", "negative", "mixture", "other")
    assert sum(found[kind] for kind in kinds) == pytest.approx(1.0)
    # Three patterns have four mixtures with their negatives: no more than those.
    assert found["mixture"] > 0
    assert found["different mixtures"] <= 4
    assert found["different others"] <= found["other"] * classical_nets.STARTS


def test_sleep_ends_where_patterns_are_held_best():
    patterns = random_spins(18, 60)
    awake = ClassicalHopfield(patterns)
    asleep = classical_nets.slept(patterns, seeded(2))
    held = (awake.stability() > 0).all(-1).sum(), (asleep.stability() > 0).all(-1).sum()
    assert held[1] > held[0]
    assert asleep.dreams > 0
    assert torch.equal(asleep.patterns, patterns)


def test_the_load_at_which_half_is_recalled_is_on_a_line(monkeypatch):
    monkeypatch.setattr(classical_nets, "LOADS", [0.1, 0.2, 0.4])

    def found(*shares):
        return {
            f"capacity/9/rule/{load}": {"recalled": share}
            for load, share in zip(classical_nets.LOADS, shares, strict=True)
        }

    assert classical_nets.half(found(1.0, 0.75, 0.25), 9, "rule") == "0.300"
    assert classical_nets.half(found(1.0, 1.0, 0.5), 9, "rule") == "> 0.4"
    assert classical_nets.basin({"recalled": [1.0, 0.95, 0.5, 1.0, 0, 0, 0, 0]}) == "10%"


ASKED = [
    (name, task)
    for name, method in stored_digits.METHODS.items()
    for task in ("lower half hidden", "20 % flipped", "noise, σ = 1")
    if stored_digits.TASKS[task][0] in method.kinds
]


@pytest.mark.parametrize(("name", "task"), ASKED)
def test_every_memory_recalls_a_few_random_digits(name, task):
    """Four random patterns of 784: half of one is 392 bits, no flips take its nearest away."""
    patterns = random_spins(4, 784).float()
    asked = stored_digits.Asked(name, patterns, seed=0)
    targets, cues, found = asked.recalled(task, 2)
    kind, share = stored_digits.TASKS[task]
    if kind == "flipped":
        # 1,568 units: five standard deviations
        assert abs((cues != targets).double().mean() - share) < 5 * (share / 1568) ** 0.5
    if not name.startswith("Subset"):  # which gives a mean of two
        assert torch.equal(found, targets)
    record = stored_digits.Asked(name, patterns, seed=0).measure(task, 2)
    assert record["exact"] == float((found == targets).all(-1).double().mean())
    assert asked.cost(2)["bytes"] > 0


def test_prototypes_are_known_by_their_likeness_and_by_how_few_decide():
    images = torch.rand(30, 12, generator=seeded(5)).numpy()
    model = DenseMemoryClassifier(4, degree=3, max_iter=1, random_state=0)
    model.fit(images, [0, 1, 2] * 10)
    label = torch.tensor([0.5, -0.5, -0.5])
    prototype = torch.cat([model.inputs(images)[7], label])
    model.energy_.memories.data[:] = prototype  # four times the same example
    found = dense_classifier.described(model, images, images[:5])
    assert found["likeness"] == pytest.approx(1.0, abs=1e-5)
    assert found["memories an answer rests on"] == pytest.approx(4.0, abs=1e-4)
    model.energy_.memories.data[1:] *= 1e-3
    found = dense_classifier.described(model, images, images[:5])
    assert found["memories an answer rests on"] == pytest.approx(1.0, abs=1e-4)
    assert found["memories"][0] == pytest.approx(prototype.tolist(), abs=1e-3)


def test_classes_are_read_as_by_hand():
    generator = seeded(3)
    keys = torch.nn.functional.normalize(torch.randn(6, 8, generator=generator), dim=-1)
    queries = torch.nn.functional.normalize(torch.randn(40, 8, generator=generator), dim=-1)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    found = {how: few_shot.named(how, keys, labels, queries, 5.0) for how in few_shot.READS}
    for row, query in enumerate(queries):
        weights = [torch.exp(5 * key @ query) for key in keys]
        shares = [weights[2 * c] + weights[2 * c + 1] for c in range(3)]
        assert found["memory"][row] == max(range(3), key=lambda c: shares[c])
        near = max(range(6), key=lambda k: float(keys[k] @ query))
        assert found["nearest"][row] == labels[near]
        means = [(keys[2 * c] + keys[2 * c + 1]) / 2 for c in range(3)]
        assert found["class means"][row] == min(
            range(3), key=lambda c: float((means[c] - query).norm())
        )


def test_the_read_out_that_is_trained_is_the_memory_that_is_used():
    generator = seeded(4)
    encoder = few_shot.Encoder(channels=4)
    keys, queries = (
        torch.nn.functional.normalize(torch.randn(n, 8, generator=generator), dim=-1)
        for n in (5, 7)
    )
    memory = few_shot.memory_of(keys, torch.arange(5), float(encoder.log_beta.detach().exp()))
    log_share = few_shot.by_memory(encoder, keys, queries)
    torch.testing.assert_close(log_share.exp(), memory.read(queries))
    log_share.sum().backward()
    assert encoder.log_beta.grad is not None


def test_classes_far_apart_are_always_named():
    states = torch.eye(8)[:, None].expand(8, 20, 8)
    found = few_shot.shots(states, ways=5, examples=2, beta=10.0, tests=3)
    assert all(found[how] == [1.0, 0.0] for how in few_shot.READS)
