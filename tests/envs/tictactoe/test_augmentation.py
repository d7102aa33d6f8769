"""The symmetries of the board: played games, turned, are still played games."""

import numpy as np
import pytest
import torch

from isinglass.agents.replay.transitions import Transitions
from isinglass.envs.tictactoe.augmentation import random_dihedral_augmentation
from isinglass.envs.tictactoe.env import TicTacToe, action_mask
from isinglass.errors import ParameterError
from tests.seeds import numpy_seeded, shifted

BATCH = 400


def played(seed=0):
    """One random transition after another, with the observations as the buffer holds them."""
    env, generator, rows = TicTacToe(seat="random"), numpy_seeded(seed), []
    observation, info = env.reset(seed=shifted(seed))
    while len(rows) < BATCH:
        legal = np.argwhere(info["action_mask"])
        action = legal[generator.integers(len(legal))]
        after, reward, done, _, info = env.step(action)
        rows.append((observation, action, after, info["action_mask"].ravel(), reward, done))
        observation, info = env.reset() if done else (after, info)
    return rows


def batch_of(rows):
    seen, actions, after, masks, rewards, dones = zip(*rows, strict=True)

    def stacked(observations):
        keys = ("propositions", "mask")
        return {key: torch.as_tensor(np.stack([o[key] for o in observations])) for key in keys}

    return Transitions(
        observations=stacked(seen),
        actions=torch.as_tensor(np.stack(actions)),
        next_observations=stacked(after),
        dones=torch.tensor(dones).float()[:, None],
        rewards=torch.tensor(rewards)[:, None],
        next_masks=torch.as_tensor(np.stack(masks)),
    )


def board_of(observations):
    """(batch, x, y): 0 empty, 1 mine, 2 the opponent's."""
    board = np.zeros((BATCH, 3, 3), dtype=int)
    for row, (claims, mask) in enumerate(
        zip(observations["propositions"].numpy(), observations["mask"].numpy(), strict=True)
    ):
        assert not claims[mask == 0].any()
        for x, y, player in claims[mask == 1]:
            board[row, x, y] = 1 + player
    return board


def images(board):
    """Its eight mirror images, by the plain definition."""
    return [np.rot90(side, turns) for side in (board, board.T) for turns in range(4)]


def test_boards_actions_and_masks_turn_together():
    batch = batch_of(played())
    new = random_dihedral_augmentation(batch, numpy_seeded(1))
    before, after = board_of(batch.observations), board_of(new.observations)
    claimed, claims = np.zeros((2, BATCH, 3, 3), dtype=int)
    for row in range(BATCH):
        x, y, player = batch.actions[row]
        claimed[row, x, y] = 3 + player
        x, y, player = new.actions[row]
        claims[row, x, y] = 3 + player
    follows = board_of(batch.next_observations), board_of(new.next_observations)
    masks = [m.next_masks.numpy().reshape(BATCH, 3, 3, 2)[..., 0].astype(int) for m in (batch, new)]
    seen = np.zeros(8, dtype=int)
    pairs = [(before, after), (claimed, claims), follows, masks]
    for row in range(BATCH):
        fits = [
            all((images(old[row])[turn] == now[row]).all() for old, now in pairs)
            for turn in range(8)
        ]
        assert any(fits)
        seen[fits.index(True)] += 1
    assert (seen > 0).all()
    assert new.rewards is batch.rewards
    assert new.dones is batch.dones


def test_what_was_legal_is_legal_on_the_other_board():
    new = random_dihedral_augmentation(batch_of(played(1)), numpy_seeded(2))
    seen = {key: rows.numpy() for key, rows in new.observations.items()}
    legal = action_mask(seen)
    x, y, player = new.actions.numpy().T
    assert legal[np.arange(BATCH), x, y, player].all()
    after = {key: rows.numpy() for key, rows in new.next_observations.items()}
    ended = new.dones.numpy()[:, 0] > 0
    np.testing.assert_array_equal(
        action_mask(after)[~ended].reshape(-1, 18), new.next_masks.numpy()[~ended]
    )


def test_all_eight_are_equally_likely():
    # A knight's move apart from the middle of an edge, no two of the eight coincide: corner and
    # neighboring edge together.
    corner = {"propositions": torch.zeros(8_000, 9, 3).int(), "mask": torch.zeros(8_000, 9)}
    corner["propositions"][:, 0] = torch.tensor([1, 0, 0]).int()
    corner["mask"][:, 0] = 1
    batch = Transitions(
        observations=corner,
        actions=torch.zeros(8_000, 3),
        next_observations=corner,
        dones=torch.zeros(8_000, 1),
        rewards=torch.zeros(8_000, 1),
    )
    new = random_dihedral_augmentation(batch, numpy_seeded(3))
    pair = torch.cat([new.actions, new.observations["propositions"][:, 0]], -1)
    _, counts = pair.unique(dim=0, return_counts=True)
    assert len(counts) == 8
    spread = (8_000 * 1 / 8 * 7 / 8) ** 0.5
    assert (counts - 1_000).abs().max() < 5 * spread


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float32])
def test_types_stay(dtype):
    batch = batch_of(played())
    batch = batch._replace(actions=batch.actions.to(dtype))
    new = random_dihedral_augmentation(batch, numpy_seeded(0))
    assert new.actions.dtype == dtype
    for key, rows in new.observations.items():
        assert rows.dtype == batch.observations[key].dtype


def test_what_is_no_board_is_refused():
    batch = batch_of(played())
    seen = batch.observations
    normalized = {**seen, "propositions": seen["propositions"].float() / 3}
    for wrong in ({"mask": seen["mask"]}, torch.zeros(BATCH, 4), normalized):
        with pytest.raises(ParameterError, match="no boards of TicTacToe"):
            random_dihedral_augmentation(batch._replace(observations=wrong), numpy_seeded(0))
