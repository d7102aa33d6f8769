# ruff: noqa: E501 - a case a line
"""A load that says nothing gives the results of the module that wrote the state, or is refused.

Every argument of every public module stands here: with two values of it, or among those that
change nothing, that the keys or shapes of the state show, or that are tensors themselves.
"""

import inspect
import re
from collections import OrderedDict

import pytest
import torch
from torch import nn

import isinglass as ig
from isinglass.core.described import Described
from isinglass.core.kernel import Memoryless
from isinglass.energies import DenseCouplings, GridCouplings, SparseCouplings
from isinglass.energies.hopfield.dense_classifier import FeedForwardTwin
from isinglass.energies.hopfield.interactions import Exponential, Power
from isinglass.energies.hopfield.retrieval_layer import RetrievalLayer
from isinglass.energies.hopfield.storage_rules import Hebb, Storkey
from isinglass.errors import IsinglassError, ParameterError
from isinglass.thinking import ConstraintNetwork, RuleMemory, Vocabulary
from tests.cases import double

PATTERNS, SPINS = double(6, 4), double(6, 4).sign()
REALS = double(5, 4, seed=1)
TOKENS = double(2, 3, 4, seed=1)
BITS = (double(5, 4, seed=1) > 0).double()
SHARED = torch.ones(2, 3, 3, 2, dtype=torch.bool)
HARD = ["mother(X,Z), mother(Z,Y) -> aunt(X,Y)"]


def memory(**said):
    return ig.SparseHopfield(PATTERNS, **said)


def dense(**said):
    return ig.DenseMemory(SPINS, **said)


def machine(*kinds):
    return ig.Harmonium(kinds, [(0, 1)], scale=1.0)


def triangle(*pairs):
    return ig.Harmonium([ig.Bernoulli(2)] * 3, pairs, scale=1.0)


def deep(*pairs):
    return ig.DeepBoltzmann([ig.Bernoulli(2)] * 3, pairs, scale=1.0)


def layer(**said):
    return ig.nn.Hopfield(4, num_heads=2, **said)


def bare(**said):
    return ig.nn.Hopfield(4, num_heads=2, **dict.fromkeys(AFFINE, False), **said)


def attention(**said):
    return ig.nn.StochasticAttention(4, **{"num_heads": 2, "batch_first": True, **said})


def block(**said):
    given = {"memories": 4, "steps": 3, "step_size": 2.0, **said}
    return ig.nn.EnergyTransformerBlock(4, 2, **given)


def tokens(**said):
    return ig.nn.TokenEnergy(4, 2, 2, **{"memories": 3, **said})


def boltzmann(unit, **said):
    joined = double(4, 4) + double(4, 4).mT
    return ig.BoltzmannMachine(unit, joined.fill_diagonal_(0), **said)


def relations(**said):
    return RuleMemory(Vocabulary(["mother", "aunt"]), HARD, **said)


def of_words(*words):
    return RuleMemory(Vocabulary(words), [f"{words[0]}(X,Z), {words[0]}(Z,Y) -> {words[1]}(X,Y)"])


def thought(made):
    return made.conclude(["mother(X,Z), mother(Z,Y)"])


def call(made):
    return made(REALS)


def temperature(made):
    return made.temperature


def labels(made):
    return made.labels(REALS[:, :3])


def free(made):
    return made.free_energy(BITS)


def visible(made):
    return made.free_energy(BITS[:, :2])


def joint(made):
    return made(BITS[:, [0, 1, 2, 3, 0, 1]])


def related(made):
    return made(TOKENS, TOKENS, SHARED)


def attend(made):
    generator = torch.Generator().manual_seed(0)
    return made(TOKENS, TOKENS, TOKENS, generator=generator)[0]


def sets(made):
    return made(TOKENS)


def drive(made):
    return made.grad(REALS.sign())


def step(made):
    return made.cccp_update(REALS.sign())


class Still(Memoryless):
    """A kernel that is no dataclass: what would build it is not known."""

    def transition(self, energy, state, temperature, generator):
        return state


def sampled(sampler):
    return ig.DeepEnergy(nn.Sequential(nn.Linear(4, 1), nn.Softplus()), 4, sampler=sampler)


def walked(made):
    generator, kernel = torch.Generator().manual_seed(0), made.default_sampler()
    return ig.run(kernel, made, REALS, steps=2, temperature=1.0, generator=generator)


AFFINE = [f"normalize_{name}_affine" for name in ig.nn.hopfield.options.PATTERNS]
#: Class and argument, how a module is made of a value, two values, and what is computed.
CASES = [
    (ig.ModernHopfield, "beta", lambda v: ig.ModernHopfield(PATTERNS, v), (1.0, 3.0), call),
    (ig.ModernHopfield, "constants", lambda v: ig.ModernHopfield(PATTERNS, constants=v), (False, True), call),
    (ig.ModernHopfield, "constants", lambda v: ig.ModernHopfield(PATTERNS, constants=v), (True, False), call),
    (ig.SparseHopfield, "beta", lambda v: memory(beta=v), (1.0, 3.0), call),
    (ig.SparseHopfield, "alpha", lambda v: memory(alpha=v), (1.0, 2.0), call),
    (ig.SparseHopfield, "constants", lambda v: memory(constants=v), (True, False), call),
    (ig.SubsetHopfield, "beta", lambda v: ig.SubsetHopfield(PATTERNS, v), (1.0, 3.0), call),
    (ig.SubsetHopfield, "subset", lambda v: ig.SubsetHopfield(PATTERNS, subset=v), (2, 3), call),
    (ig.SubsetHopfield, "constants", lambda v: ig.SubsetHopfield(PATTERNS, constants=v), (True, False), call),
    (ig.ClassicalHopfield, "rule", lambda v: ig.ClassicalHopfield(SPINS, v), (Hebb(), Storkey()), drive),
    (ig.DenseMemory, "degree", lambda v: dense(degree=v), (3, 4), call),
    (ig.DenseMemory, "rectified", lambda v: dense(rectified=v), (True, False), call),
    (ig.DenseMemory, "interaction", lambda v: dense(interaction=v), ("power", "exp"), call),
    (ig.DenseMemory, "interaction", lambda v: dense(interaction=v), (Exponential(2.0), Exponential(1.0)), call),
    (ig.DenseClassifier, "degree", lambda v: ig.DenseClassifier(3, 1, 5, degree=v, std=1.0), (3, 4), labels),
    (ig.DenseClassifier, "rectified", lambda v: ig.DenseClassifier(3, 1, 5, rectified=v, std=1.0), (True, False), labels),
    (ig.DenseClassifier, "interaction", lambda v: ig.DenseClassifier(3, 1, 5, interaction=v, std=1.0), (Power(3), Power(3, scale=2.0)), labels),
    (FeedForwardTwin, "classifier", lambda v: FeedForwardTwin(ig.DenseClassifier(4, 1, 5, v, std=1.0)), (3, 4), call),
    (ig.HeteroMemory, "memory", lambda v: ig.HeteroMemory(v(PATTERNS), PATTERNS), (ig.ModernHopfield, ig.SparseHopfield), call),
    (ig.HeteroMemory, "memory", lambda v: ig.HeteroMemory(memory(alpha=v), PATTERNS), (1.0, 2.0), call),
    (RetrievalLayer, "memory", lambda v: memory(alpha=v).attend(), (1.0, 2.0), call),
    (RetrievalLayer, "steps", lambda v: memory().attend(steps=v), (1, 3), call),
    (ig.HopfieldBoltzmann, "visible", lambda v: ig.HopfieldBoltzmann(v, 3, scale=1.0), (ig.Bernoulli(4), ig.Gaussian(4)), free),
    (ig.HopfieldBoltzmann, "memories", lambda v: ig.HopfieldBoltzmann(ig.Bernoulli(4), v, 6 // v, scale=1.0), (2, 3), free),
    (ig.HopfieldBoltzmann, "groups", lambda v: ig.HopfieldBoltzmann(ig.Bernoulli(4), 6 // v, v, scale=1.0), (2, 3), free),
    (ig.HopfieldBoltzmann, "draws", lambda v: ig.HopfieldBoltzmann(ig.Bernoulli(4), 3, draws=v), (1, 2), temperature),
    (ig.HopfieldBoltzmann, "beta", lambda v: ig.HopfieldBoltzmann(ig.Bernoulli(4), 3, beta=v, scale=1.0), (1.0, 2.0), free),
    (ig.RBM, "visible", lambda v: ig.RBM(v, ig.Bernoulli(3), scale=1.0), (ig.Bernoulli(4), ig.Gaussian(4)), free),
    (ig.RBM, "hidden", lambda v: ig.RBM(ig.Bernoulli(4), v, scale=1.0), (ig.Bernoulli(3), ig.Spin(3)), free),
    (ig.Harmonium, "layers", lambda v: machine(ig.Bernoulli(4), v), (ig.Bernoulli(3), ig.Spin(3)), free),
    (ig.Harmonium, "couplings", lambda v: triangle(*v), (((0, 1), (1, 2)), ((0, 1), (0, 2))), joint),
    (ig.DeepBoltzmann, "layers", lambda v: ig.DeepBoltzmann([ig.Bernoulli(4), v], scale=1.0), (ig.Bernoulli(3), ig.Spin(3)), free),
    (ig.DeepBoltzmann, "couplings", lambda v: deep(*v), (((0, 1), (1, 2)), ((0, 1), (0, 2))), visible),
    (ig.Marginal, "harmonium", lambda v: ig.RBM(ig.Bernoulli(4), v, scale=1.0).marginal(), (ig.Bernoulli(3), ig.Spin(3)), lambda m: m(BITS)),
    (ig.Marginal, "temperature", lambda v: ig.RBM(ig.Bernoulli(4), ig.Spin(3), scale=1.0).marginal(v), (1.0, 2.0), lambda m: m(BITS)),
    (ig.BoltzmannMachine, "unit", boltzmann, (ig.Spin(4), ig.Bernoulli(4)), lambda m: m.unit),
    (ig.BoltzmannMachine, "couplings", lambda v: ig.BoltzmannMachine(ig.Spin(8), v), (GridCouplings((2, 4)), GridCouplings((4, 2))), lambda m: m(TOKENS.reshape(-1, 8))),
    (ig.BoltzmannMachine, "hidden", lambda v: boltzmann(ig.Spin(4), hidden=v), (1, 2), lambda m: m.hidden),
    (GridCouplings, "shape", GridCouplings, ((2, 4), (4, 2)), lambda m: m(TOKENS.reshape(-1, 8))),
    (GridCouplings, "periodic", lambda v: GridCouplings((3, 4), periodic=v), (True, False), lambda m: m(TOKENS.reshape(2, 12))),
    (GridCouplings, "components", lambda v: GridCouplings((12 // v,), components=v), (1, 2), lambda m: m(TOKENS.reshape(2, 12))),
    (SparseCouplings, "edges", lambda v: SparseCouplings(4, v, 0.5), ([(0, 1), (1, 2)], [(0, 1), (2, 3)]), call),
    (SparseCouplings, "units", lambda v: SparseCouplings(v, [(0, 1)], 0.5, 4 // v), (4, 2), call),
    (SparseCouplings, "components", lambda v: SparseCouplings(4 // v, [(0, 1)], 0.5, v), (1, 2), call),
    (DenseCouplings, "units", lambda v: DenseCouplings(v, 4 // v), (4, 2), call),
    (DenseCouplings, "components", lambda v: DenseCouplings(4 // v, v), (1, 2), call),
    (ig.DeepEnergy, "width", lambda v: ig.DeepEnergy(nn.Linear(4, 1), 4, width=v), (2.0, 1.0), call),
    (ig.DeepEnergy, "width", lambda v: ig.DeepEnergy(nn.Linear(4, 1), 4, width=v), (None, 1.0), call),
    (ig.DeepEnergy, "sampler", sampled, (ig.HMC(0.1), ig.HMC(0.5)), walked),
    (ig.DeepEnergy, "sampler", sampled, (ig.MALA(0.5), None), walked),
    (ig.DeepEnergy, "sampler", sampled, (None, ig.NUTS(0.5, doublings=2)), walked),
    (ig.DeepEnergy, "sampler", sampled, (ig.HMC(mass=torch.tensor([1.0, 2.0, 3.0, 1 / 3])), ig.HMC()), walked),
    (ig.DeepEnergy, "sampler", sampled, (Still(), None), walked),
    (ig.nn.EnergyLayerNorm, "eps", lambda v: ig.nn.EnergyLayerNorm(4, v), (1.0, 0.1), call),
    (ig.nn.TokenEnergy, "memories", lambda v: tokens(memories=v), (ig.Gaussian(3), ig.Bernoulli(3)), sets),
    (ig.nn.TokenEnergy, "beta", lambda v: tokens(beta=v), (1.0, 2.0), sets),
    (ig.nn.TokenEnergy, "exclude_self", lambda v: tokens(exclude_self=v), (True, False), sets),
    (ig.nn.EnergyTransformerBlock, "memories", lambda v: block(memories=v), (ig.Gaussian(3), ig.Bernoulli(3)), sets),
    (ig.nn.EnergyTransformerBlock, "beta", lambda v: block(beta=v), (1.0, 2.0), sets),
    (ig.nn.EnergyTransformerBlock, "steps", lambda v: block(steps=v), (1, 3), sets),
    (ig.nn.EnergyTransformerBlock, "step_size", lambda v: block(step_size=v), (0.1, 2.0), sets),
    (ig.nn.EnergyTransformerBlock, "halvings", lambda v: block(halvings=v), (None, 8), lambda m: m.halvings),
    (ig.nn.EnergyTransformerBlock, "halvings", lambda v: block(halvings=v), (8, None), lambda m: m.halvings),
    (ig.nn.EnergyTransformerBlock, "exclude_self", lambda v: block(exclude_self=v), (True, False), sets),
    (ig.nn.EnergyTransformerBlock, "causal", lambda v: block(causal=v), (True, False), sets),
    (ig.nn.EnergyTransformerBlock, "eps", lambda v: block(eps=v), (1.0, 0.1), sets),
    (ig.nn.RelationalHopfield, "steps", lambda v: ig.nn.RelationalHopfield(4, 2, 2, steps=v), (1, 3), related),
    (ig.nn.StochasticAttention, "num_heads", lambda v: attention(num_heads=v), (1, 2), attend),
    (ig.nn.StochasticAttention, "add_zero_attn", lambda v: attention(add_zero_attn=v), (True, False), attend),
    (ig.nn.StochasticAttention, "draws", lambda v: attention(draws=v), (None, 2), attend),
    (ig.nn.Hopfield, "scaling", lambda v: layer(scaling=v), (1.0, 9.0), sets),
    (ig.nn.HopfieldEncoderLayer, "hopfield_association", lambda v: ig.nn.HopfieldEncoderLayer(layer(update_steps_max=v), 5, 0.0), (1, 3), sets),
    (ig.nn.HopfieldEncoderLayer, "activation", lambda v: ig.nn.HopfieldEncoderLayer(layer(), 5, 0.0, v), ("relu", "tanh"), sets),
    (ig.nn.HopfieldDecoderLayer, "hopfield_association_self", lambda v: ig.nn.HopfieldDecoderLayer(layer(update_steps_max=v), layer(), 5, 0.0), (1, 3), lambda m: m(TOKENS, TOKENS)),
    (ig.nn.HopfieldDecoderLayer, "hopfield_association_cross", lambda v: ig.nn.HopfieldDecoderLayer(layer(), layer(update_steps_max=v), 5, 0.0), (1, 3), lambda m: m(TOKENS, TOKENS)),
    (ig.nn.HopfieldDecoderLayer, "activation", lambda v: ig.nn.HopfieldDecoderLayer(layer(), layer(), 5, 0.0, v), ("relu", "tanh"), lambda m: m(TOKENS, TOKENS)),
    (ig.nn.HopfieldLayer, "options", lambda v: ig.nn.HopfieldLayer(4, quantity=3, update_steps_max=v), (1, 3), sets),
    (ig.nn.HopfieldPooling, "options", lambda v: ig.nn.HopfieldPooling(4, update_steps_max=v), (1, 3), sets),
    (ConstraintNetwork, "exclusions", lambda v: ConstraintNetwork(4, [v]), ((0, 1), (2, 3)), lambda m: m(BITS)),
    (ConstraintNetwork, "exclusions", lambda v: ConstraintNetwork(4, [v]), ((0, 1), (2, 3)), lambda m: str(m.neighbors)),
    (ConstraintNetwork, "groups", lambda v: ConstraintNetwork(4, groups=[v]), ((0, 1), (2, 3)), lambda m: m(BITS)),
    (RuleMemory, "vocabulary", lambda v: of_words(*v), (("mother", "aunt"), ("father", "uncle")), lambda m: str(m.rules())),
    (RuleMemory, "rules", lambda v: RuleMemory(Vocabulary(["mother", "aunt"]), [v]), (HARD[0], HARD[0].replace("aunt", "mother")), thought),
    (RuleMemory, "sharpness", lambda v: relations(sharpness=v), (1.0, 2.0), lambda m: m.log_prob(["aunt(X,Z), aunt(Z,Y)"])),
    (RuleMemory, "doubt", lambda v: relations(doubt=v), (0.5, 9.0), lambda m: m.doubt),
]  # fmt: skip
#: The same of the options of the Hopfield layers, each beside what it stands on.
OPTIONS = [
    ("update_steps_max", layer, (1, 3), {}),
    ("update_steps_eps", layer, (1e-9, 9.0), {"update_steps_max": 9}),
    ("normalize_stored_pattern", bare, (True, False), {}),
    ("normalize_state_pattern", bare, (True, False), {}),
    ("normalize_pattern_projection", bare, (True, False), {}),
    ("normalize_hopfield_space", layer, (True, False), {}),
    ("normalize_stored_pattern_eps", layer, (1.0, 0.1), {}),
    ("normalize_state_pattern_eps", layer, (1.0, 0.1), {}),
    ("normalize_pattern_projection_eps", layer, (1.0, 0.1), {}),
    ("normalize_hopfield_space_eps", layer, (1.0, 0.1), {"normalize_hopfield_space": True}),
    ("association_activation", layer, ("relu", "tanh"), {}),
    ("association_activation", layer, (None, torch.tanh), {}),
    ("add_zero_association", layer, (True, False), {}),
    ("pattern_projection_as_connected", layer, (True, False), {}),
]
CASES += [
    (ig.nn.Hopfield, name, lambda v, make=make, name=name, rest=rest: make(**{name: v}, **rest), values, sets)
    for name, make, values, rest in OPTIONS
]  # fmt: skip
#: Where a state comes from, how large tensors are, and what only changes learning or the call.
HARMLESS = {
    "generator", "scale", "std", "mean", "device", "dtype", "copy", "gradient", "dropout", "trainable",
    "batch_first", "options",
}  # fmt: skip
SHOWN = {
    "patterns", "values", "bias", "coupling", "weight", "query", "module", "learn_beta", "per_bond", "size",
    "inputs", "labels", "dim", "head_dim", "embed_dim", "kdim", "vdim", "add_bias_kv", "input_size", "quantity",
    "lookup_weights_as_separated", "lookup_targets_as_trainable", "dim_feedforward", "ways",
}  # fmt: skip
SHOWN_OF = {
    (ig.DenseClassifier, "memories"), (ig.nn.TokenEnergy, "num_heads"),
    (ig.nn.EnergyTransformerBlock, "num_heads"), (ig.nn.RelationalHopfield, "num_heads"),
    (ig.nn.RelationalHopfield, "memories"),
}  # fmt: skip
SHOWN_OPTIONS = {
    "hidden_size", "output_size", "pattern_size", "num_heads", "stored_pattern_size", "pattern_projection_size",
    "stored_pattern_as_static", "state_pattern_as_static", "pattern_projection_as_static", "input_bias",
    "concat_bias_pattern", "disable_out_projection", *AFFINE, "normalize_hopfield_space_affine",
    "input_size", "batch_first", "dropout",
}  # fmt: skip


def build(make, value):
    torch.manual_seed(0)
    made = make(value).double().eval()
    with torch.no_grad():  # from where the options of a layer matter
        for name, parameter in made.named_parameters():
            if "project" in name or name == "upper":
                parameter.copy_(torch.randn_like(parameter))
    return made


def same(one, other):
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other)
        return True
    return one == other


def different(one, other):
    return not (torch.allclose(one, other) if isinstance(one, torch.Tensor) else one == other)


@pytest.mark.parametrize(
    ("kind", "argument", "make", "values", "compute"),
    CASES,
    ids=[
        f"{kind.__name__}-{argument}-{number}" for number, (kind, argument, *_) in enumerate(CASES)
    ],
)
def test_a_state_gives_its_results_or_is_refused(kind, argument, make, values, compute):
    one, other = (build(make, value) for value in values)
    assert different(compute(one), compute(other))  # so that something is at stake
    try:
        other.load_state_dict(one.state_dict())
    except (IsinglassError, RuntimeError) as error:
        said = str(error)
        if not isinstance(error, IsinglassError):  # torch names the keys
            said = re.sub("key.s. in state_dict|size mismatch", "a state of", said)
    else:
        said = "a state of" if same(compute(one), compute(other)) else "nothing"
    assert "a state of" in said
    again = build(make, values[0])
    again.load_state_dict(one.state_dict())
    assert same(compute(one), compute(again))


def test_every_argument_of_every_public_module_is_told_of():
    rooms = (ig, ig.core, ig.energies, ig.nn, ig.thinking)
    named = [getattr(room, name) for room in rooms for name in room.__all__]
    kinds = {k for k in named if inspect.isclass(k) and issubclass(k, nn.Module)}
    kinds = {kind for kind in kinds if not inspect.isabstract(kind)}
    tried = {(kind, argument) for kind, argument, *_ in CASES}
    untold = [
        (kind.__name__, argument)
        for kind in kinds
        for argument in inspect.signature(kind).parameters
        if argument not in HARMLESS | SHOWN and (kind, argument) not in tried | SHOWN_OF
    ]
    assert sorted(untold) == []
    options = set(ig.nn.HopfieldOptions.__dataclass_fields__)
    assert options - {name for name, *_ in OPTIONS} - SHOWN_OPTIONS == set()


def test_what_is_refused_says_how_to_load_it_all_the_same():
    one, other = (ig.RBM(ig.Bernoulli(4), kind(3), scale=1.0) for kind in (ig.Bernoulli, ig.Spin))
    with pytest.raises(ParameterError, match=r"layers = .*Bernoulli.*leave 'config' out"):
        other.load_state_dict(one.state_dict())
    state = {name: value for name, value in one.state_dict().items() if name != "config"}
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    one, other = attention(num_heads=1), attention(num_heads=2)
    with pytest.raises(ParameterError, match=r"num_heads = 1 .*load dict\(state\)"):
        other.load_state_dict(one.state_dict())
    other.load_state_dict(dict(one.state_dict()))


def test_keys_of_other_packages_stay():
    """A description lies in the metadata there, so that states are exchanged with theirs."""
    peer, own = nn.MultiheadAttention(4, 2, batch_first=True), attention()
    assert list(peer.state_dict()) == list(own.state_dict())
    own.load_state_dict(peer.state_dict())
    peer.load_state_dict(own.state_dict())
    inside = nn.Sequential(nn.Identity(), attention(num_heads=4))
    state = OrderedDict(inside.state_dict())
    state._metadata = inside.state_dict()._metadata
    with pytest.raises(ParameterError, match="num_heads = 4"):
        nn.Sequential(nn.Identity(), own).load_state_dict(state)


def test_a_description_comes_through_files(tmp_path):
    state = dense(interaction="exp").state_dict()
    torch.save(state, tmp_path / "x.pt")
    other = dense()
    other.load_state_dict(torch.load(tmp_path / "x.pt", weights_only=True))
    assert other.interaction == Exponential()
    state = layer(update_steps_max=3).state_dict()
    torch.save(state, tmp_path / "y.pt")
    with pytest.raises(ParameterError, match="update_steps_max = 3"):
        layer().load_state_dict(torch.load(tmp_path / "y.pt", weights_only=True))


def test_a_sampler_that_cannot_be_built_is_refused_by_name():
    one, other = sampled(Still()), sampled(None)
    with pytest.raises(ParameterError, match=r"sampler = .*Still.*Import its class"):
        other.load_state_dict(one.state_dict())
    assert isinstance(other.default_sampler(), ig.HMC)
    state = {name: value for name, value in one.state_dict().items() if name != "config"}
    other.load_state_dict(state)
    sampled(Still()).load_state_dict(one.state_dict())
    strange = b'{"sampler": {"kind": "HMC", "speed": 3}, "width": 2.0}'
    letters = torch.tensor(list(strange), dtype=torch.uint8)
    with pytest.raises(ParameterError, match="speed"):
        other.load_state_dict(state | {"config": letters})


def test_no_description():
    memory = dense()
    for letters in (b"[1", b"7"):
        broken = torch.tensor(list(letters), dtype=torch.uint8)
        with pytest.raises(ParameterError, match="no description"):
            memory.load_state_dict(memory.state_dict() | {"config": broken})
    with pytest.raises(NotImplementedError):
        Described().description()
