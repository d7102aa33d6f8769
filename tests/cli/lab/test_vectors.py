"""The page's JavaScript computes what the library computes, to 1e-5."""

import numpy as np
import pytest
import torch
from benchmarks.lab.tictactoe import make_agent
from benchmarks.lab.transformer import Heads, accuracy, draw

from isinglass import ClassicalHopfield, DenseMemory, ModernHopfield, SingleSite
from isinglass.agents import FreeEnergyQ
from isinglass.cli.lab.attending import transformer_data
from isinglass.cli.lab.digits import enlarged, lab_digits, standardize
from isinglass.cli.lab.nets import weights
from isinglass.cli.lab.playing import player_data
from isinglass.cli.lab.thoughts import learned
from isinglass.cli.think.boards import propositions
from isinglass.dynamics import Langevin
from isinglass.envs import play_match
from isinglass.envs.tictactoe.board import TicTacToeGame, perfect_opponent
from isinglass.thinking import PuzzleThinker, SmallestGroup
from tests.seeds import seeded

CLOSE = {"atol": 1e-5, "rtol": 0}


def close(found, expected):
    torch.testing.assert_close(torch.tensor(found).double(), expected.double(), **CLOSE)


def test_digits_are_enlarged_and_standardized_alike(javascript):
    images = lab_digits().images[:7]
    expected = standardize(enlarged(images))
    found = javascript(
        """(() => { const images = new Float64Array(7 * 784);
        input.forEach((image, i) => images.set(lab.core.enlarge(image, 8, 28), i * 784));
        return lab.core.standardize(images, 784); })()""",
        (images / 16).tolist(),
    )
    close(found["mean"], expected.mean)
    close(found["scale"], torch.tensor(expected.scale))
    close(found["patterns"], expected.patterns.flatten())


@pytest.mark.parametrize("beta", [1.0, 40.0, 1000.0])
def test_the_modern_net(javascript, beta):
    generator = seeded(1)
    patterns = torch.randn(20, 12, generator=generator).double()
    state = torch.randn(12, generator=generator).double()
    memory = ModernHopfield(patterns, beta)
    found = javascript(
        "lab.core.modern(Float64Array.from(input.patterns), input.state, input.beta)",
        {"patterns": patterns.flatten().tolist(), "state": state.tolist(), "beta": beta},
    )
    close(found["energy"], memory(state))
    close(found["weights"], memory.association(state))
    close(found["reading"], memory.cccp_update(state))


def test_a_langevin_step(javascript, monkeypatch):
    generator = seeded(2)
    patterns, noise = torch.randn(5, 6, generator=generator), torch.randn(6, generator=generator)
    memory, state = ModernHopfield(patterns, 3.0), torch.randn(6, generator=generator)
    for temperature in (0.0, 0.3):
        monkeypatch.setattr(
            "isinglass.dynamics.kernels.langevin.normal_like", lambda *_: noise.clone()
        )
        kernel = Langevin(step_size=0.5)
        expected, _ = kernel.step(memory, kernel.init(memory, state), temperature, generator)
        found = javascript(
            "lab.core.langevin(input.state, input.reading, 0.5, input.T, input.noise)",
            {
                "state": state.tolist(),
                "reading": memory.cccp_update(state).tolist(),
                "T": temperature,
                "noise": noise.tolist(),
            },
        )
        close(found, expected.position)


def test_the_generator_is_uniform_and_normal(javascript):
    """Means and variances within five standard errors; the same seed draws the same."""
    many = 20_000
    found = javascript(
        """(() => { const draw = lab.core.generator(7), normals = lab.core.normals(draw, input);
        return { uniform: normals.map(() => draw.uniform()), normals,
                 again: lab.core.normals(lab.core.generator(7), 5) }; })()""",
        many,
    )
    uniform, normal = torch.tensor(found["uniform"]), torch.tensor(found["normals"])
    assert abs(uniform.mean() - 1 / 2) < 5 * (1 / 12 / many) ** 0.5
    assert abs(normal.mean()) < 5 * many**-0.5
    assert abs(normal.var() - 1) < 5 * (2 / many) ** 0.5
    assert found["again"] == found["normals"][:5]


NETS = {
    "lab.core.classical": ClassicalHopfield,
    "lab.core.dense(3)": DenseMemory,
    "lab.core.exponential(1)": lambda patterns: DenseMemory(patterns, interaction="exp"),
}


@pytest.mark.parametrize("net", NETS)
def test_nets_of_spins(javascript, net):
    """Energy and fields of any state, and all the states and energies of a recall."""
    patterns = torch.randn(9, 20, generator=seeded(3)).sign().double()
    memory = NETS[net](patterns)
    cue = torch.randn(20, generator=seeded(4)).sign().double()
    found = javascript(
        f"""(() => {{ const net = {net}, X = Float64Array.from(input.patterns), v = input.cue;
        const o = lab.core.overlaps(X, v);
        return {{ energy: net.worth(o, 20), fields: v.map((_, i) => net.field(X, o, v, i)),
                 recalled: lab.core.recall(net, X, v, 50) }}; }})()""",
        {"patterns": patterns.flatten().tolist(), "cue": cue.tolist()},
    )
    close(found["energy"], memory(cue))
    close(found["fields"], memory.local_field(cue))
    recalled = memory.recall(cue[None], kernel=SingleSite())
    close(found["recalled"]["state"], recalled.state[0])
    close(found["recalled"]["energies"][-1], recalled.energy[0])
    assert found["recalled"]["energies"] == sorted(found["recalled"]["energies"], reverse=True)


SEARCH = """(() => {
const network = lab.core.puzzle.network(input.size, input.groups);
const search = lab.core.puzzle.search(network, input.givens, 2), thoughts = [];
for (;;) {
  const { value, done } = search.next();
  if (done) return { thoughts, ...value };
  if (value.kind === "guess") thoughts.push([value.unit, value.depth - 1, true]);
  if (value.kind === "retraction") thoughts.push([value.unit, value.depth, false]);
} })()"""


@pytest.mark.parametrize(
    "cells",
    [
        "0000420000000034",
        "0000000000000000",
        "1200003400000000",
        "040000130200000640000002003050010000",
        "520006000000000701300000000000400800600000050000000000041800000000030020008700000",
    ],
)
def test_every_guess_and_retraction_of_a_puzzle(javascript, cells):
    side = round(len(cells) ** 0.5)
    network = learned(side)
    board = torch.tensor([int(cell) for cell in cells]).view(1, side, side)
    givens = propositions(board)
    expected = PuzzleThinker(network, SmallestGroup()).think(givens, solutions=2)[0]
    groups = network.members.tolist()
    given = {"size": side**3, "groups": groups, "givens": givens[0].tolist()}
    found = javascript(SEARCH, given)
    thoughts = [
        [thought.proposition, thought.depth, thought.guessed] for thought in expected.thoughts
    ]
    assert found["thoughts"] == thoughts
    if expected.solution is None:
        assert (found["found"], expected.status) == (0, "contradictory")
        return
    assert (found["complete"] and found["found"] == 1) == expected.unique
    assert [value == 2 for value in found["solution"]] == expected.solution.tolist()


def test_the_energy_of_a_puzzle(javascript):
    network = learned(4)
    states = torch.rand(20, 64, generator=seeded(5)) < 0.3
    found = javascript(
        """(() => { const network = lab.core.puzzle.network(64, input.groups);
        return input.states.map((s) => lab.core.puzzle.energy(network, s.map((v) => 2 * v)));
        })()""",
        {"groups": network.members.tolist(), "states": states.int().tolist()},
    )
    assert found == network.energy(states).tolist()


def test_the_player_s_free_energies(javascript):
    """Q of every cell, π and V, in positions of a few games, as FreeEnergyQ has them."""
    game, agent = TicTacToeGame(), shipped_agent()
    generator, boards = np.random.default_rng(0), [game.start(1)]
    for _ in range(6):
        legal = game.legal(boards[-1])
        move = generator.choice(legal[0].nonzero()[0], 1)
        boards.append(game.play(boards[-1], move)[0])
    seen = torch.from_numpy(game.observe(np.concatenate(boards)))
    allowed = torch.from_numpy(game.legal(np.concatenate(boards)))
    network, temperature = agent.policy.q_net, agent.policy.temperature
    with torch.no_grad():
        cells = torch.arange(9).repeat(len(seen))
        rows = seen.repeat_interleave(9, 0)
        expected = agent.policy.action_values(rows, cells[:, None]).view(-1, 9)
    assert network.head.keys.out_features == 4
    found = javascript(
        """(() => { const net = lab.unpackPlayer(input.player);
        return input.seen.map((bits, i) => { const q = lab.core.freeEnergyQ(net, bits);
        return { q, ...lab.core.softPolicy(q, input.allowed[i], net.temperature) }; }); })()""",
        {
            "player": player_data(),
            "seen": seen.flatten(1).tolist(),
            "allowed": allowed.tolist(),
        },
        ("core", "socket", "play"),
    )
    masked = expected.masked_fill(~allowed, -torch.inf)
    close([each["q"] for each in found], expected)
    close([each["policy"] for each in found], torch.softmax(masked / temperature, -1))
    close(
        [each["value"] for each in found], temperature * torch.logsumexp(masked / temperature, -1)
    )


@pytest.mark.slow
def test_the_player_plays_well():
    """It lost 125 of 1,000 games to perfect play and 93 of 10,000 to random play: five σ above."""
    game, agent = TicTacToeGame(), shipped_agent()
    perfect = play_match(game, agent, perfect_opponent, games=1_000)
    assert perfect.losses <= 125 + 5 * (1_000 * 0.125 * 0.875) ** 0.5
    random = play_match(game, agent, "random", games=1_000)
    assert random.losses <= 9.3 + 5 * 9.3**0.5


def shipped_agent() -> FreeEnergyQ:
    agent, held = make_agent(), weights("tictactoe")
    temperature = float(held.pop("temperature"))
    agent.q_net.load_state_dict(held)
    agent.policy.temperature = temperature
    return agent


@pytest.mark.parametrize("temperature", [0.05, 1.0, 20.0])
def test_the_transformer_and_its_heads(javascript, temperature):
    """Logits and weights as torch has them; each head is the modern net of its keys at β/T."""
    model = shipped_transformer().double()
    rows = draw(1, seeded(6))[:, :20]
    with torch.no_grad():
        logits, weights = model(rows, temperature)
    found = javascript(
        """(() => { const net = lab.unpackTransformer(input.net);
        const { logits, layers } = lab.core.transformer(net, input.row, input.T), at = 19;
        const heads = layers.map((heads) => heads.map(({ queries, keys, weights }) => {
          const rows = Float64Array.from(keys.flatMap((key) => [...key]));
          return { query: queries[at], keys: keys, weights: weights[at],
                   energy: lab.core.modern(rows, queries[at], input.beta).energy }; }));
        return { logits, heads }; })()""",
        {
            "net": transformer_data(),
            "row": rows[0].tolist(),
            "T": temperature,
            "beta": 12**-0.5 / temperature,
        },
        ("core", "socket", "attend"),
    )
    close(found["logits"], logits[0])
    for layer, heads in enumerate(found["heads"]):
        for head, told in enumerate(heads):
            keys = torch.tensor(told["keys"]).double()
            memory = ModernHopfield(keys, 12**-0.5 / temperature)
            query = torch.tensor(told["query"]).double()
            close(told["weights"], memory.association(query))
            close(told["energy"], memory(query))
            close(told["weights"], weights[layer][0, head, 19])


def test_the_transformer_foretells_what_repeats():
    assert accuracy(shipped_transformer(), seeded(7)) > 0.97


def shipped_transformer() -> Heads:
    model = Heads()
    model.load_state_dict(weights("transformer"))
    return model
