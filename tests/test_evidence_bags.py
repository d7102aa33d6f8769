"""What the figures on bags, on immune repertoires and on objects cut out by a box are made with."""

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("benchmarks", reason="the harness is in the repository alone")
pytest.importorskip("sklearn", reason="needs scikit-learn")
pytest.importorskip("rich", reason="needs rich")
pytest.importorskip("skimage", reason="needs scikit-image")

from benchmarks.evidence import bags as bag_sets
from benchmarks.evidence import box_cut, repertoires, repertoires_model
from benchmarks.evidence.box_cut_objects import OBJECTS, scene, scene_of
from benchmarks.evidence.repertoires_data import (
    LETTERS,
    MOTIF,
    NOTHING,
    Rung,
    encoded,
    read,
    simulated,
)
from benchmarks.evidence.repertoires_kmers import KmerRegression, frequencies, kmers
from benchmarks.evidence.repertoires_model import RepertoireNetwork, side_by_side

from isinglass.errors import FileError, ParameterError
from tests.seeds import numpy_seeded


def text(row):
    return "".join(LETTERS[code] for code in row if code != NOTHING)


def test_sequences_are_their_codes():
    found = encoded(np.array(["ACDY", "W", "SFENSFEN"]))
    assert found.dtype == np.uint8
    assert [text(row) for row in found] == ["ACDY", "W", "SFENSFEN"]
    with pytest.raises(ParameterError, match="'AXC'"):
        encoded(np.array(["AAA", "AXC"]))


def test_repertoires_are_read_from_a_folder(tmp_path):
    rows = pd.DataFrame({"rep": [2, 1, 2], "cdr3_aa": ["ACD", "WY", "S"], "v": 0})
    rows.to_csv(tmp_path / "immuneml_quickstart_sequences.csv.gz", index=False)
    with pytest.raises(FileError, match=r"labels\.csv\.gz is missing"):
        read(tmp_path, "immuneML")
    labels = pd.DataFrame({"rep": [1, 2], "signal_disease": [True, False]})
    labels.to_csv(tmp_path / "immuneml_quickstart_labels.csv.gz", index=False)
    found = read(tmp_path, "immuneML")
    assert [[text(row) for row in bag] for bag in found.bags] == [["WY"], ["ACD", "S"]]
    assert found.labels.tolist() == [1, 0]


def test_simulated_bags_have_the_motif_at_the_rate():
    rung = Rung(0.02, 2000, 2, 2)
    with_motif, without = (
        [MOTIF in text(row) for row in simulated(rung, index, 5)] for index in (1, 0)
    )
    # By chance 2,000 · 12.5 places / 20⁴ is 0.16: not over five in one draw of many thousands.
    assert 40 <= sum(with_motif) <= 45
    assert sum(without) <= 5
    lengths = (simulated(rung, 1, 5) != NOTHING).sum(1)
    assert (lengths.min(), lengths.max()) == (10, 20)
    np.testing.assert_array_equal(simulated(rung, 1, 5), simulated(rung, 1, 5))
    assert (simulated(rung, 3, 5) != simulated(rung, 1, 5)).any()


def test_kmers_are_counted_as_by_hand():
    bag = encoded(np.array(["SFENSFE", "AC", "YSFEN"]))
    found = kmers(bag, 3)
    told = [[repertoires.spelled(c, 3) for c in row if c >= 0] for row in found]
    assert told == [["SFE", "FEN", "ENS", "NSF", "SFE"], [], ["YSF", "SFE", "FEN"]]
    shares = frequencies([bag], 3).toarray()[0]
    assert shares.sum() == pytest.approx(1)
    assert shares.max() == pytest.approx(3 / 8)  # SFE
    assert repertoires.holds(bag, "FEN").tolist() == [True, False, True]


def test_kmers_of_few_bags_say_which_are_which():
    rung = Rung(0.1, 200, 40, 40)
    labels = np.arange(40) % 2
    model = KmerRegression(0).fit([simulated(rung, i, 1) for i in range(40)], labels)
    found = model.decision_function([simulated(rung, 100 + i, 1) for i in range(40)])
    assert ((found > np.median(found)) == labels).mean() > 0.9


@pytest.mark.parametrize("pooling", ["Hopfield", "mean"])
def test_blocks_give_what_the_whole_bag_does(pooling, monkeypatch):
    rung = Rung(0.1, 60, 2, 2)
    bags = [simulated(rung, 0, 2), simulated(rung, 1, 2)[:37]]
    network = RepertoireNetwork(pooling).eval()
    with torch.no_grad():
        whole = network(*side_by_side(bags))
        monkeypatch.setattr(repertoires_model, "BLOCK", 11)
        torch.testing.assert_close(network(*side_by_side(bags)), whole)
        alone = [float(network(*side_by_side([bag]))) for bag in bags]
    assert whole.tolist() == pytest.approx(alone, abs=1e-5)


def test_an_embedding_is_the_most_that_a_filter_finds():
    encoder = repertoires_model.SequenceEncoder(kernels=3, width=5)
    row = encoded(np.array(["SFENK"]))
    around = torch.tensor([[NOTHING] * 2 + row[0].tolist() + [NOTHING] * 2])
    weight = encoder.filters.weight.unflatten(1, (5, NOTHING))
    found = []
    for t in range(5):
        seen = [weight[:, j, c] for j, c in enumerate(around[0, t : t + 5]) if c != NOTHING]
        found.append(sum(seen) + encoder.filters.bias)
    expected = torch.stack(found).amax(0).relu()
    torch.testing.assert_close(encoder(torch.from_numpy(row))[0], expected)


@pytest.mark.slow
def test_a_motif_in_one_of_ten_is_learned_and_read_from_the_attention():
    rung = Rung(0.1, 200, 200, 60)
    bags = [simulated(rung, i, 3) for i in range(200)]
    labels = np.arange(200) % 2
    network = repertoires_model.learned(bags, labels, "Hopfield", 0, steps=150, sample=200)
    asked = [simulated(rung, 1000 + i, 3) for i in range(60)]
    scores = repertoires_model.scores(network, asked)
    assert ((scores > np.median(scores)) == np.arange(60) % 2).mean() > 0.9
    told = repertoires.looked_at(network, asked[1::2], MOTIF)
    assert told["motif"] == MOTIF
    assert told["witnesses"] > 5 * told["by chance"]


def test_weights_of_a_bag_are_a_distribution():
    bag = simulated(Rung(0.1, 50, 1, 1), 1, 0)
    weights = repertoires_model.weights(RepertoireNetwork().eval(), bag)
    assert weights.shape == (50,)
    assert weights.sum() == pytest.approx(1, abs=1e-5)


def disk(size=90, radius=22):
    """A green disk on red ground, with noise."""
    rows, columns = np.mgrid[:size, :size]
    truth = (rows - size // 2) ** 2 + (columns - size // 2) ** 2 < radius**2
    image = np.where(truth[..., None], [40, 160, 60], [170, 50, 40])
    noise = numpy_seeded(4).normal(size=image.shape, scale=8)
    return (image + noise).clip(0, 255).astype(np.uint8), truth


def test_lines_across_the_box_are_bags():
    asked = scene_of(*disk())
    bags, labels = box_cut.bags_of(asked)
    assert set(labels) == {0, 1}
    known = {tuple(row) for row in asked.features.tolist()}
    assert all({tuple(row) for row in bag.tolist()} <= known for bag in bags)
    # No line outside the box meets the disk: green is where a is below zero, not above.
    shares = np.array([(bag[:, 1] < 0).mean() for bag in bags])
    assert shares[labels == 0].max() < 0.2
    assert (shares[labels == 1] > 0).mean() > 0.9  # the box is loose by two pixels
    top, left, bottom, right = asked.box
    assert asked.truth[top:bottom, left:right].sum() == asked.truth.sum()
    assert asked.inside.sum() == (bottom - top) * (right - left)


@pytest.mark.slow
def test_what_differs_from_all_outside_is_cut_out():
    asked = scene_of(*disk())
    found = box_cut.by_bags(asked, seed=0, n_estimators=1)
    assert box_cut.overlap(box_cut.cleaned(found), asked.truth) > 0.9
    assert box_cut.overlap(box_cut.by_superpixels(asked), asked.truth) > 0.6
    assert box_cut.overlap(box_cut.best(asked), asked.truth) > 0.9


def test_grabcut_cuts_out_a_disk():
    pytest.importorskip("cv2", reason="needs OpenCV")
    asked = scene_of(*disk())
    assert box_cut.overlap(box_cut.by_grabcut(asked, seed=0), asked.truth) > 0.9


def test_overlap_and_cleaning_are_as_by_hand():
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:4, 1:4] = True
    mask[2, 2] = False
    mask[5, 7] = True
    clean = box_cut.cleaned(mask)
    assert clean.sum() == 9
    assert not clean[5, 7]
    assert box_cut.overlap(mask, clean) == pytest.approx(8 / 10)
    assert not box_cut.cleaned(np.zeros((3, 3), dtype=bool)).any()
    for kept in (mask, ~mask, clean):
        np.testing.assert_array_equal(box_cut.from_edges(box_cut.edges(kept), kept.shape), kept)


@pytest.mark.slow
def test_outlines_lie_in_their_photographs():
    for name in OBJECTS:
        found = scene(name)
        share = found.truth[found.inside].mean()
        assert 0.4 < share < 0.8, name
        assert (found.truth & ~found.inside).sum() == 0
        assert box_cut.overlap(box_cut.best(found), found.truth) > 0.8, name


def test_settings_are_chosen_on_other_photographs():
    found = {
        f"{name}/bags, {choice}": {"cleaned": 0.0} for name in OBJECTS for choice in box_cut.CHOICES
    }
    for name, (photograph, _) in OBJECTS.items():
        best = "scaling 1" if photograph == "coffee" else "dropout 0"
        found[f"{name}/bags, {best}"]["cleaned"] = 1.0 if photograph == "coffee" else 0.1
    assert box_cut.chosen(found, "cup") == "dropout 0"
    assert box_cut.chosen(found, "head") == "scaling 1"


def test_random_numbers_come_from_the_seed():
    bags = [simulated(Rung(0.1, 30, 8, 8), i, 0) for i in range(8)]
    states = [
        repertoires_model.learned(bags, np.arange(8) % 2, "mean", seed, steps=2, sample=20)
        for seed in (0, 0, 1)
    ]
    first, again, other = (state.read.weight for state in states)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_likeness_is_that_of_the_nearest_instance():
    drawn = numpy_seeded(1)
    known, asked = ([drawn.normal(3, 2, (n, 4)) for n in (2, 5, 1)] for _ in range(2))
    found = bag_sets.Likeness(0.3).fit(known).transform(asked)
    rows = np.concatenate(known)
    scale = rows.std(0)
    apart = ((rows[:, None] - rows) ** 2 / scale**2).sum(-1).mean()
    for b, bag in enumerate(asked):
        for k, instance in enumerate(rows):
            nearest = min(((x - instance) ** 2 / scale**2).sum() for x in bag)
            assert found[b, k] == pytest.approx(np.exp(-nearest / (0.3 * apart)))
    assert found.shape == (3, 8)


@pytest.mark.slow
@pytest.mark.parametrize("method", bag_sets.METHODS)
def test_each_method_finds_the_instance_that_decides(method):
    drawn, labels = numpy_seeded(2), np.arange(60) % 2
    bags = [drawn.normal(size=(drawn.integers(3, 8), 4)) for _ in labels]
    for bag, label in zip(bags, labels, strict=True):
        bag[0, 0] += 9 * label
    scores = bag_sets.chances(method, bags[:40], labels[:40], bags[40:], seed=0)
    right, wrong = scores[labels[40:] == 1], scores[labels[40:] == 0]
    assert (right[:, None] > wrong).mean() > 0.8
