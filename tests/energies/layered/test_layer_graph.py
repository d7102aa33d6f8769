"""Which layers are drawn together: as few sets as greed outward finds, the first that is free."""

from isinglass.energies.layered._layer_graph import colors, outward


def test_a_chain_has_two_sets_however_its_layers_are_numbered():
    assert colors(4, [(0, 2), (2, 3), (3, 1)]) == [[0, 3], [2, 1]]


def test_an_layer_joins_the_first_set_that_it_does_not_touch():
    assert colors(4, [(0, 1), (1, 2), (0, 2), (2, 3)]) == [[0, 3], [1], [2]]
    assert colors(3, [(0, 1)]) == [[0, 2], [1]]  # layer 2 is out of reach


def test_layers_as_far_away_as_each_other_come_by_number():
    assert outward(5, [(0, 2), (0, 1), (2, 4), (1, 3)]) == [0, 1, 2, 3, 4]
