"""Logged transitions: where they come from, and what is refused by name."""

import h5py
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer, RolloutBuffer

from isinglass.agents import LoggedData
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError

SEEN = spaces.Box(-np.inf, np.inf, (2,), np.float32)
WIDE = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))
COUNT = 12
LATER = np.array([0, 1])  # what is observed one step later, less what was


def arrays(action=WIDE, seen=SEEN, count=COUNT, ends=(3, 7, 11), cuts=()):
    """A walk whose next observation is that of the next row, but where an episode ends."""
    seen.seed(0)
    action.seed(0)
    walk = np.array([seen.sample() for _ in range(count + 1)])
    over, cut = np.zeros(count, bool), np.zeros(count, bool)
    over[list(ends)], cut[list(cuts)] = True, True
    return {
        "observations": walk[:-1], "next_observations": walk[1:],
        "actions": np.array([action.sample() for _ in range(count)]),
        "rewards": np.arange(count, dtype=np.float32), "terminals": over, "timeouts": cut,
    }  # fmt: skip


def test_arrays_are_neither_copied_nor_changed():
    given = arrays()
    before = {name: part.copy() for name, part in given.items()}
    data = LoggedData.of(given, (SEEN, WIDE))
    for name, part in before.items():
        assert (given[name] == part).all()
    assert np.shares_memory(data.observations, given["observations"])
    assert len(data) == COUNT
    assert data.mean_return() == pytest.approx(66 / 3)


@pytest.mark.parametrize(
    ("name", "row", "value", "error", "said"),
    [
        ("rewards", 5, np.nan, DomainError, r"rewards that are NaN or infinite .* \(5\)"),
        ("rewards", 5, np.inf, DomainError, r"rewards that are NaN"),
        ("observations", 2, np.nan, DomainError, r"^LoggedData.of: observations .* 1 of 12 rows"),
        ("next_observations", 0, np.inf, DomainError, "next_observations"),
        ("actions", 4, 11.0, DomainError, r"actions outside Box.* \(4\)"),
        ("actions", 4, np.nan, DomainError, "actions that are NaN"),
    ],
)
def test_rows_that_are_wrong_are_named(name, row, value, error, said):
    given = arrays()
    given[name] = given[name].copy()
    given[name][row] = value
    with pytest.raises(error, match=said):
        LoggedData.of(given, (SEEN, WIDE))


def test_many_wrong_rows_are_counted_and_the_first_named():
    given = arrays()
    given["rewards"][3:10] = np.nan
    with pytest.raises(DomainError, match=r"in 7 of 12 rows \(3, 4, 5, 6, 7, …\)"):
        LoggedData.of(given, (SEEN, WIDE))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"terminals": np.full(COUNT, 2)}, DomainError),
        ({"terminals": np.zeros(5)}, ShapeError),
        ({"observations": np.zeros((COUNT, 3))}, ShapeError),
        ({"observations": np.zeros((COUNT - 1, 2))}, ShapeError),
        ({"observations": {"a": np.zeros((COUNT, 2))}}, DomainError),
        ({"observations": [["a", "b"]] * COUNT}, DomainError),
        ({"observations": [[1.0], [1.0, 2.0]]}, DomainError),
        ({"actions": np.zeros(COUNT)}, ShapeError),
        ({"actions": None}, DomainError),
        ({"rewards": np.zeros((COUNT, 2))}, ShapeError),
        ({"rewards": np.zeros(0)}, ShapeError),
        ({"next_masks": np.ones((COUNT, 3), bool)}, ParameterError),  # of a box
    ],
)
def test_what_does_not_fit_is_refused(change, error):
    with pytest.raises(error):
        LoggedData.of(arrays() | change, (SEEN, WIDE))


@pytest.mark.parametrize("wrong", [-1, 3, 0.5], ids=["below", "above", "no whole number"])
@pytest.mark.parametrize(
    "space", [spaces.Discrete(3), spaces.MultiDiscrete([3, 3]), spaces.MultiBinary(2)], ids=str
)
def test_actions_that_are_none_are_refused(space, wrong):
    given = arrays(space)
    assert len(LoggedData.of(given, (SEEN, space))) == COUNT
    given["actions"] = given["actions"].astype(float)
    given["actions"][6] = wrong
    with pytest.raises(DomainError, match=r"\(6\)"):
        LoggedData.of(given, (SEEN, space))


def test_the_names_of_others_are_known_and_what_is_lacking_is_said():
    given = arrays()
    same = {
        "obs": given["observations"], "next_obs": given["next_observations"],
        "actions": given["actions"], "rewards": given["rewards"][:, None],
        "dones": given["terminals"][:, None].astype(np.float32),
    }  # fmt: skip
    assert (LoggedData.of(same, (SEEN, WIDE)).terminated == given["terminals"]).all()
    with pytest.raises(ParameterError, match="without rewards"):
        LoggedData.of({k: v for k, v in same.items() if k != "rewards"}, (SEEN, WIDE))


def test_next_observations_are_those_of_the_next_row():
    given = arrays(ends=(3, 11), cuts=(7,))
    whole = LoggedData.of(given, (SEEN, WIDE))
    del given["next_observations"]
    data = LoggedData.of(given, (SEEN, WIDE))
    assert len(data) == COUNT - 1  # what came after the cut nobody knows
    rows = np.delete(np.arange(COUNT), 7)
    going = ~data.terminated
    assert (data.next_observations[going] == whole.next_observations[rows][going]).all()
    assert (data.rewards == rows).all()
    assert data.truncated.nonzero()[0].tolist() == [6]  # the row before goes on no further


def test_returns_do_not_go_over_what_is_not_one_episode():
    given = arrays(ends=())
    order = np.r_[0:5, 8:12, 5:8]
    shuffled = {name: part[order] for name, part in given.items()}
    del shuffled["timeouts"]
    data = LoggedData.of(shuffled, (SEEN, WIDE))
    assert data.ends.nonzero()[0].tolist() == [4, 8, 11]


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize("given", [None, 3, "no file", [1, 2], {}, LoggedData, np.zeros(3)])
def test_data_of_no_known_kind_are_refused(given):
    with pytest.raises((ParameterError, FileError)):
        LoggedData.of(given, (SEEN, WIDE))


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize(
    "given", [None, SEEN, (SEEN,), (SEEN, 3), (SEEN, WIDE, WIDE), (SEEN, spaces.Box(-1, np.inf))]
)
def test_spaces_that_are_none_are_refused(given):
    with pytest.raises(ParameterError):
        LoggedData.of(arrays(), given)


def test_data_of_other_spaces_are_refused():
    data = LoggedData.of(arrays(), (SEEN, WIDE))
    with pytest.raises(ParameterError, match="data with actions in Box"):
        LoggedData.of(data, (SEEN, spaces.Discrete(3)))


def filled(buffer, steps, scale=lambda actions: actions, masks=None):
    """Fills a buffer of two environments; observations say which and when."""
    count = buffer.n_envs
    buffer.action_space.seed(0)
    for step in range(steps):
        seen = np.array([[env, step] for env in range(count)], np.float32)
        action = scale(np.array([buffer.action_space.sample() for _ in range(count)]))
        cut = step % 5 == 4
        infos = [{"TimeLimit.truncated": cut} for _ in range(count)]
        if masks is not None:
            infos = [info | {"action_mask": masks} for info in infos]
        done = np.array([cut, step % 3 == 2 or cut])[:count]
        if isinstance(buffer.observation_space, spaces.Dict):
            seen, after = {"at": seen}, {"at": seen + LATER}
        else:
            after = seen + LATER
        buffer.add(seen, after, action, np.full(count, float(step)), done, infos)
    return buffer


@pytest.mark.parametrize("steps", [5, 8, 19])
@pytest.mark.parametrize("once", [False, True], ids=["twice", "once"])
@pytest.mark.parametrize("kind", [ReplayBuffer, MaskedReplayBuffer])
def test_a_buffer_is_read_oldest_first_one_environment_after_the_other(kind, once, steps):
    buffer = filled(
        kind(16, SEEN, spaces.Discrete(3), "cpu", n_envs=2, optimize_memory_usage=once,
             handle_timeout_termination=not once), steps,
    )  # fmt: skip
    data = LoggedData.of(buffer)
    kept = min(steps, 8) - (once and steps >= 8)
    known = np.arange(steps - kept, steps)
    assert (data.observations[:, 0] == np.repeat([0, 1], kept)).all()
    assert (data.observations[:, 1] == np.tile(known, 2)).all()
    assert (data.next_observations == data.observations + LATER).all()
    assert (data.rewards == data.observations[:, 1]).all()
    cut = known % 5 == 4
    if not once:
        assert (data.terminated[kept:] == ((known % 3 == 2) & ~cut)).all()
    assert data.truncated[kept - 1] or data.terminated[kept - 1]


def test_dictionaries_are_read_too():
    seen = spaces.Dict({"at": SEEN})
    buffer = filled(DictReplayBuffer(9, seen, spaces.MultiBinary(2), "cpu", n_envs=2), 4)
    data = LoggedData.of(buffer)
    assert data.observations["at"].shape == (8, 2)
    assert data.ends.nonzero()[0].tolist() == [3, 6, 7]


def test_masks_of_a_buffer_are_kept():
    flags = np.array([True, False, True])
    data = LoggedData.of(
        filled(MaskedReplayBuffer(9, SEEN, spaces.Discrete(3), "cpu"), 4, masks=flags)
    )
    assert (data.next_masks == flags).all()


def test_scaled_actions_of_a_buffer_are_told_from_unscaled_ones():
    low, high = WIDE.low, WIDE.high
    scaled = filled(
        ReplayBuffer(20, SEEN, WIDE, "cpu"), 20, lambda a: 2 * (a - low) / (high - low) - 1
    )
    by_hand = filled(ReplayBuffer(20, SEEN, WIDE, "cpu"), 20)
    assert abs(by_hand.actions).max() > 1
    one, other = LoggedData.of(scaled).actions, LoggedData.of(by_hand).actions
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert other.max() > 2


def test_buffers_that_hold_nothing_or_no_next_observation_are_refused():
    with pytest.raises(ParameterError, match="empty"):
        LoggedData.of(ReplayBuffer(9, SEEN, WIDE, "cpu"))
    with pytest.raises(ParameterError, match="RolloutBuffer"):
        LoggedData.of(RolloutBuffer(9, SEEN, WIDE, "cpu"))


class Episode:
    """What an episode of Minari has."""

    def __init__(self, length, cut):
        at = np.arange(length + 1, dtype=np.float32)
        self.observations = np.stack([at, -at], -1)
        self.actions = np.arange(length) % 3
        self.rewards = np.ones(length)
        self.terminations = (np.arange(length) == length - 1) & (not cut)
        self.truncations = (np.arange(length) == length - 1) & cut


class DataSet:
    """What a data set of Minari has."""

    observation_space, action_space = SEEN, spaces.Discrete(3)

    def __init__(self, *episodes):
        self.episodes = episodes

    def iterate_episodes(self):
        return iter(self.episodes)


def test_a_data_set_of_minari_is_read_with_its_spaces():
    data = LoggedData.of(DataSet(Episode(4, False), Episode(3, True)))
    assert len(data) == 7
    assert data.mean_return() == 3.5
    assert data.terminated.nonzero()[0].tolist() == [3]
    assert data.truncated.nonzero()[0].tolist() == [6]
    assert data.next_observations[3, 0] == 4
    with pytest.raises(ParameterError, match="without episodes"):
        LoggedData.of(DataSet())


def written(path, parts):
    with h5py.File(path, "w") as file:
        for name, part in parts.items():
            file[name] = part
    return path


def test_files_of_d4rl_and_of_minari_are_read(tmp_path):
    given = arrays()
    path = written(tmp_path / "d4rl.hdf5", given | {"infos/qpos": np.zeros(3)})
    data = LoggedData.of(path, (SEEN, WIDE))
    assert (data.actions == given["actions"]).all()
    parts = {}
    for number in range(11):
        for name, part in vars(Episode(number + 1, number % 2 == 1)).items():
            parts[f"episode_{number}/{name}"] = part
    data = LoggedData.of(str(written(tmp_path / "main.hdf5", parts)), (SEEN, spaces.Discrete(3)))
    assert len(data) == 66
    assert (data.ends.nonzero()[0] == np.cumsum(np.arange(1, 12)) - 1).all()  # 2 before 10


def test_files_that_are_none_or_of_other_spaces_are_refused(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        LoggedData.of(tmp_path / "none.hdf5", (SEEN, WIDE))
    (tmp_path / "text.hdf5").write_text("no numbers")
    with pytest.raises(FileError, match="holds no logged transitions"):
        LoggedData.of(tmp_path / "text.hdf5", (SEEN, WIDE))
    path = written(tmp_path / "less.hdf5", {"observations": np.zeros((3, 2))})
    with pytest.raises(FileError, match="without actions"):
        LoggedData.of(path, (SEEN, WIDE))
    path = written(tmp_path / "odd.hdf5", {"episode_x/rewards": np.zeros(3)})
    with pytest.raises(FileError):
        LoggedData.of(path, (SEEN, WIDE))
    path = written(tmp_path / "fine.hdf5", arrays())
    with pytest.raises(ShapeError, match="data of this space"):
        LoggedData.of(path, (spaces.Box(-1, 1, (3,)), WIDE))
    with pytest.raises(ShapeError):
        LoggedData.of(path, (SEEN, spaces.Discrete(3)))
    with pytest.raises(ParameterError, match="without spaces"):
        LoggedData.of(path)


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize("name", ["observations", "actions"])
def test_rows_of_different_lengths_are_refused(name):
    arrays = {
        "observations": np.zeros((3, 2)), "actions": np.zeros(3, dtype=int),
        "rewards": np.zeros(3), "terminals": np.ones(3),
    }  # fmt: skip
    arrays[name] = [[0, 1], [0, 1, 2], [0]]
    with pytest.raises(ShapeError, match="different lengths"):
        LoggedData.of(arrays, (spaces.Box(-1, 1, (2,)), spaces.Discrete(2)))


@pytest.mark.parametrize("name", ["rewards", "actions"])
def test_columns_of_other_lengths_are_told_without_next_observations_too(name):
    log = {"observations": np.zeros((5, 2)), "actions": np.zeros(5, int), "rewards": np.zeros(5)}
    log |= {"terminals": np.ones(5), name: log[name][:4]}
    spaces_ = spaces.Box(-1, 1, (2,)), spaces.Discrete(3)
    with pytest.raises(ShapeError, match=r"arrays of \[4, 5\] rows"):
        LoggedData.of(log, spaces_)


def test_a_misspelt_column_is_told_and_others_may_be_there():
    log = {"observations": np.zeros((5, 2)), "actions": np.zeros(5, int), "rewards": np.zeros(5)}
    log |= {"terminals": np.ones(5), "infos/qpos": np.zeros((5, 3))}
    spaces_ = spaces.Box(-1, 1, (2,)), spaces.Discrete(3)
    assert len(LoggedData.of(log, spaces_)) == 5
    with pytest.raises(ParameterError, match="Name it 'next_observations'"):
        LoggedData.of(log | {"next_observation": np.ones((5, 2))}, spaces_)
