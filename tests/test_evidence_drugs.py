"""Molecules are read from SMILES, and scaffolds are held out whole."""

import numpy as np
import pytest

pytest.importorskip("rdkit")

from benchmarks.evidence.drugs import MOST, Molecules, split

from isinglass.errors import DomainError


def test_what_cannot_be_read_is_dropped_and_what_is_read_is_counted():
    molecules = Molecules.of(["c1ccccc1CCO", "no molecule", "c1ccccc1N", "CCO"])
    assert molecules.kept.tolist() == [True, False, True, True]
    assert molecules.atoms.tolist() == [9, 7, 3]
    assert molecules.scaffolds[0] == molecules.scaffolds[1] != molecules.scaffolds[2]
    # Two carbons and an oxygen, each with its neighbors at radius 0 and 1: six fragments.
    assert np.expm1(molecules.fragments[2]).sum() == pytest.approx(6)


def test_smiles_of_which_none_can_be_read_are_refused():
    with pytest.raises(DomainError, match="none of 2 SMILES can be read"):
        Molecules.of(["?", "!"])


def test_scaffolds_are_held_out_whole():
    scaffolds = np.arange(400) % 40
    molecules = Molecules(np.zeros((400, 1)), np.ones(400), scaffolds, np.ones(400, bool))
    labels = np.zeros((400, 1), int)
    train, test = split(molecules, labels, "scaffold", 0)
    assert not set(scaffolds[train]) & set(scaffolds[test])
    assert len(test) == 40
    train, test = split(molecules, labels, "random", 0)
    assert not set(train) & set(test)
    assert len(test) == 40


def test_of_many_all_actives_are_learned_from():
    n = 2 * MOST
    labels = (np.arange(n) % 10 == 0).astype(int)[:, None]
    nothing = Molecules(np.zeros((n, 1)), np.ones(n), np.arange(n), np.ones(n, bool))
    train, test = split(nothing, labels, "random", 1)
    assert len(train) == MOST
    rest = np.setdiff1d(np.arange(n), np.concatenate([train, test]))
    assert labels[rest].sum() == 0
