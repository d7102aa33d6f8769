"""The mathematics of the library, formula by formula, each written out by hand in float64.

The sections are those of docs/theory.md.
"""

import math

import pytest
import torch
from torch import Tensor

import isinglass as ig
from isinglass.learning import contrastive_loss, em_step
from isinglass.testing.property import require_chi_square
from tests.cases import double, hopfield_boltzmann, randomized, spins

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, **EXACT)


def machine_with(visible: ig.Unit, hidden: ig.Unit, patterns: Tensor) -> ig.RBM:
    """A machine of these units without biases, whose weights are the patterns."""
    machine = ig.RBM(visible, hidden).double()
    machine.weights[0].data = patterns
    return machine


# --- 2. A network is units in layers, joined by couplings -----------------------------------


def test_joint_energy():
    """E(v,h) = U(v) + U(h) − b·v − c·h − hᵀXv."""
    machine = randomized(ig.RBM(ig.Gaussian(4), ig.RectifiedGaussian(3)))
    v, h = double(6, 4), double(6, 3, seed=1).abs()
    (b, c), x = machine.biases, machine.weights[0]
    expected = (v**2).sum(-1) / 2 + (h**2).sum(-1) / 2 - v @ b - h @ c - ((v @ x.T) * h).sum(-1)
    same(machine(torch.cat([v, h], -1)), expected)


def test_gaussian_hidden_layer_is_the_classical_hopfield_net():
    patterns, v = spins(3, 8), spins(10, 8, seed=1)
    overlap = v @ patterns.T
    free = machine_with(ig.Spin(8), ig.Gaussian(3), patterns).free_energy(v, 1.0)
    constant = 3 / 2 * math.log(2 * math.pi)
    same(free, -(overlap**2).sum(-1) / 2 - constant)
    # Without the diagonal, the same up to the constant Nd/2.
    same(ig.ClassicalHopfield(patterns)(v), -(overlap**2).sum(-1) / 2 + 3 * 8 / 2)


def test_relu_hidden_layer_at_zero_temperature_is_the_rectified_quadratic_memory():
    patterns, v = double(3, 8), spins(10, 8, seed=1)
    free = machine_with(ig.Spin(8), ig.RectifiedGaussian(3), patterns).free_energy(v, 0.0)
    same(free, -((v @ patterns.T).clamp_min(0) ** 2).sum(-1) / 2)


def test_one_hot_hidden_layer_with_spins_is_the_exponential_memory():
    patterns, v, beta = double(3, 8), spins(10, 8, seed=1), 1.7
    free = machine_with(ig.Spin(8), ig.Categorical(3), patterns).free_energy(v, 1 / beta)
    same(free, -torch.logsumexp(beta * v @ patterns.T, -1) / beta)


def test_one_hot_hidden_layer_with_gaussian_visible_is_the_modern_hopfield_net():
    patterns, v, beta = double(3, 8), double(10, 8, seed=1), 1.7
    expected = (v**2).sum(-1) / 2 - torch.logsumexp(beta * v @ patterns.T, -1) / beta
    same(
        machine_with(ig.Gaussian(8), ig.Categorical(3), patterns).free_energy(v, 1 / beta), expected
    )
    same(ig.ModernHopfield(patterns, beta=beta)(v), expected)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_bit_hidden_layer_is_the_restricted_boltzmann_machine(temperature):
    machine = randomized(ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3)))
    v = ig.Bernoulli(4).enumerate_states()
    (b, c), x = machine.biases, machine.weights[0]
    softplus = torch.log1p(torch.exp((v @ x.T + c) / temperature))
    same(machine.free_energy(v, temperature), -v @ b - temperature * softplus.sum(-1))


def test_several_groups_are_several_heads():
    machine = hopfield_boltzmann(ig.Gaussian(4), memories=3, groups=2, beta=1.3)
    v, x, c, b = double(6, 4), machine.patterns, machine.memory_bias, machine.visible_bias
    heads = sum(
        torch.logsumexp(1.3 * (v @ x[g].T + c[g]), -1) / 1.3 for g in (slice(0, 3), slice(3, 6))
    )
    same(machine.free_energy(v), (v**2).sum(-1) / 2 - v @ b - heads)


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("degree", [2, 3, 4, 7])
def test_dense_memory_and_its_energy_difference_rule(degree, rectified):
    """E = −Σ F_n(x_μ·v); each spin takes the sign with the lower energy, others held."""
    patterns, v = spins(6, 9), spins(5, 9, seed=1)
    memory = ig.DenseMemory(patterns, degree, rectified=rectified)

    def energy(state: Tensor) -> Tensor:
        z = state @ patterns.T
        return -((z.clamp_min(0) if rectified else z) ** degree).sum(-1)

    same(memory(v), energy(v))
    up, down = v.clone(), v.clone()
    field = torch.zeros_like(v)
    for i in range(9):
        up[:, i], down[:, i] = 1.0, -1.0
        field[:, i] = (energy(down) - energy(up)) / 2
        up[:, i], down[:, i] = v[:, i], v[:, i]
    same(memory.local_field(v), field)
    changed = memory.unit.argmax_state(memory.local_field(v), v)
    assert torch.equal(changed, torch.where(field == 0, v, field.sign()))


def test_dense_memory_of_degree_two_is_the_classical_net():
    patterns, v = spins(3, 8), spins(10, 8, seed=1)
    dense = ig.DenseMemory(patterns, 2, rectified=False)
    classical = ig.ClassicalHopfield(patterns)
    same(dense(v), 2 * classical(v) - 3 * 8)
    same(dense.local_field(v), 2 * classical.local_field(v))
    assert torch.equal(dense.recall(v).state, classical.recall(v).state)


def test_classical_asynchronous_descent_is_the_unit_by_unit_sweep():
    """The fast kernel passes through the states of the plain loop over units."""
    patterns, cues = spins(4, 30), spins(6, 30, seed=1)
    weight = patterns.T @ patterns
    weight.fill_diagonal_(0)
    for cue, found in zip(cues, ig.ClassicalHopfield(patterns).recall(cues).state, strict=True):
        state, moved = cue.clone(), True
        while moved:
            moved = False
            for i in range(30):
                field = weight[i] @ state
                if field != 0 and field.sign() != state[i]:
                    state[i], moved = field.sign(), True
        assert torch.equal(state, found)


def test_parallel_steps_with_a_zeroed_diagonal_fall_into_two_cycles():
    memory = ig.ClassicalHopfield(torch.tensor([[1.0, -1.0]], dtype=torch.float64))
    cue = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    found = memory.recall(cue, kernel=ig.Synchronous())
    assert found.cycle
    assert not found.converged
    assert found.steps == 2
    assert found.state.tolist() == [[1.0, 1.0]]  # there and back again
    assert memory.recall(cue, kernel=ig.CCCP()).converged


# --- 3. The Boltzmann state update of a modern Hopfield net ------------------------------------


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_density_at_temperature_one_over_m_beta(draws):
    """exp(−E/T) = [Σ_μ exp(β x_μ·v)]^m exp(−mβ|v|²/2) at T = 1/(mβ)."""
    patterns, v, beta = double(4, 3), double(7, 3, seed=1), 1.4
    expected = torch.exp(beta * v @ patterns.T).sum(-1) ** draws * torch.exp(
        -draws * beta * (v**2).sum(-1) / 2
    )
    same(torch.exp(-ig.ModernHopfield(patterns, beta)(v) * draws * beta), expected)


@pytest.mark.parametrize("draws", [1, 5])
def test_conditionals_of_counts_and_visible_units(draws, generator):
    """n | v ~ Multinomial(m, softmax(βXᵀv)); v | n ~ N(Xn/m, T)."""
    machine = hopfield_boltzmann(ig.Gaussian(3), memories=4, draws=draws, beta=1.4)
    for bias in machine.biases:
        bias.data.zero_()
    v, count = double(3, scale=0.3), 40_000  # near enough that no count is rare: 5 σ are normal
    state = machine.sweep(machine.extend(v.expand(count, 3)), machine.temperature, generator)
    new, share = machine.split(state.detach())
    softmax = torch.softmax(1.4 * machine.patterns @ v, 0).detach()
    deviation = (softmax * (1 - softmax) / draws / count).sqrt()
    assert ((share.mean(0) - softmax).abs() <= 5 * deviation).all()
    covariance = (torch.diag(softmax) - softmax[:, None] * softmax) / draws
    squares = (share - softmax)[:, :, None] * (share - softmax)[:, None, :]
    assert ((squares.mean(0) - covariance).abs() <= 5 * squares.std(0) / count**0.5).all()
    noise = new - share @ machine.patterns.detach()
    temperature = 1 / (draws * 1.4)
    assert (noise.mean(0).abs() <= 5 * (temperature / count) ** 0.5).all()
    assert ((noise**2).mean(0) - temperature).abs().max() <= 5 * temperature * (2 / count) ** 0.5


def test_mean_of_the_update_is_attention():
    """X softmax(βXᵀv): the Hopfield update, one Transformer head."""
    patterns, v, beta = double(6, 4), double(5, 4, seed=1), 0.9
    head = torch.nn.functional.scaled_dot_product_attention(v, patterns, patterns, scale=beta)
    memory = ig.ModernHopfield(patterns, beta)
    same(memory.recall(v, max_steps=1).state, head)
    same(v - memory.grad(v), head)
    same(memory.sweep(v, 0.0), head)  # m → ∞


def test_spins_given_counts(generator):
    """P(v_i = +1 | n) = σ(2mβ (Xn/m)_i)."""
    machine = hopfield_boltzmann(ig.Spin(3), memories=4, draws=2, beta=0.8)
    machine.visible_bias.data.zero_()
    n = torch.tensor([1.0, 0, 1, 0], dtype=torch.float64)
    state = torch.cat([spins(3), n / 2])
    field = machine.conditional_field(state, 0)
    found = (machine.visible.mean(field, machine.temperature) + 1) / 2
    same(found, torch.sigmoid(2 * 2 * 0.8 * machine.patterns.T @ (n / 2)))


def test_partition_function_of_gaussian_units_for_one_draw():
    """Z = Σ_μ exp(β|x_μ|²/2) (2π/β)^{d/2}."""
    patterns, v, beta = double(5, 3), double(6, 3, seed=1), 1.6
    machine = ig.HopfieldBoltzmann.from_patterns(ig.Gaussian(3), patterns, beta=beta)
    z = torch.exp(beta * (patterns**2).sum(-1) / 2).sum() * (2 * math.pi / beta) ** 1.5
    same(machine.log_prob(v), -beta * ig.ModernHopfield(patterns, beta)(v) - z.log())


def test_partition_function_of_spins_for_one_draw():
    """Z = Σ_μ Π_i 2cosh(βx_μi), and the probabilities of all states sum to one."""
    patterns, beta = double(6, 10, scale=0.5), 0.7
    machine = ig.HopfieldBoltzmann.from_patterns(ig.Spin(10), patterns, beta=beta)
    v = ig.Spin(10).enumerate_states()
    z = (2 * torch.cosh(beta * patterns)).prod(-1).sum()
    log_prob = machine.log_prob(v)
    same(log_prob, torch.logsumexp(beta * v @ patterns.T, -1) - z.log())
    same(log_prob.exp().sum(), torch.ones((), dtype=torch.float64))


def test_conditionals_given_any_observed_set():
    """p(μ|v_O) ∝ exp(β Σ_O x_μi v_i) Π_{i∉O} 2cosh(βx_μi); P(v_i|v_O) = Σ_μ p(μ|v_O) σ(2βx_μi)."""
    patterns, beta, v = double(4, 6), 0.9, spins(6)
    machine = ig.HopfieldBoltzmann.from_patterns(ig.Spin(6), patterns, beta=beta)
    seen = torch.tensor([True, False, True, True, False, False])
    weights = torch.exp(beta * patterns[:, seen] @ v[seen])
    weights = weights * (2 * torch.cosh(beta * patterns[:, ~seen])).prod(-1)
    weights = weights / weights.sum()
    found = machine.conditional(v, seen)
    same(found.log_weights().exp(), weights)
    same((found.mean()[~seen] + 1) / 2, weights @ torch.sigmoid(2 * beta * patterns[:, ~seen]))
    # Against plain enumeration of the joint distribution.
    states = ig.Spin(6).enumerate_states()
    agree = (states[:, seen] == v[seen]).all(-1)
    p = machine.log_prob(states[agree]).exp()
    same(found.mean(), (p @ states[agree]) / p.sum())
    same((found.value() - machine.mixture().value()) * beta, p.sum().log())


def test_samples_for_one_draw_are_exact(generator):
    machine = hopfield_boltzmann(ig.Spin(4), memories=3)
    draws = machine.sample(50_000, generator=generator)
    states = ig.Spin(4).enumerate_states()
    counts = torch.bincount(torch.cdist(draws, states).argmin(-1), minlength=16)
    require_chi_square("draws", counts, machine.log_prob(states).exp().detach())


@pytest.mark.slow
def test_stochastic_attention_is_unbiased(generator):
    """softmax(βKq)ᵀV replaced by (n/m)ᵀV."""
    q, k, v = double(2, 4), double(7, 4, seed=1), double(7, 3, seed=2)
    exact = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    for draws in (1, 4):
        rows = q.expand(4000, 2, 4)
        many = ig.nn.stochastic_attention(rows, k, v, draws, generator=generator)
        assert ((many.mean(0) - exact).abs() <= 5 * many.std(0) / 4000**0.5).all()
    same(ig.nn.stochastic_attention(q, k, v), exact)


# --- 4. The learning rule ----------------------------------------------------------------------


def test_each_memory_learns_from_its_data():
    """−∂F/∂x_μ = softmax_μ(βXᵀv) v."""
    patterns = torch.nn.Parameter(double(4, 3))
    v, beta = double(1, 3, seed=1), 1.4
    ig.ModernHopfield(patterns, beta)(v).sum().backward()
    assert patterns.grad is not None
    same(-patterns.grad, torch.softmax(beta * patterns @ v[0], 0).detach()[:, None] * v)


def test_contrast_of_data_and_model_is_the_likelihood_gradient():
    """Δx_μ ∝ ⟨p_μ(v) v⟩_data − ⟨p_μ(v) v⟩_model, the exact gradient of T log p."""
    machine = hopfield_boltzmann(ig.Spin(4), memories=3)
    data, states = spins(8, 4), ig.Spin(4).enumerate_states()
    (likelihood,) = torch.autograd.grad(machine.log_prob(data).mean(), machine.patterns)
    with torch.no_grad():
        reads = machine.mixture().responsibilities
        p = machine.log_prob(states).exp()
        contrastive_loss = reads(data).T @ data / 8 - (reads(states) * p[:, None]).T @ states
    same(machine.temperature * likelihood, contrastive_loss)


def test_equal_weights_make_it_em_of_a_gaussian_mixture():
    """c_μ = −½|x_μ|²: model term x_μ/N, E-step and M-step of a mixture of variance 1/β."""
    patterns, beta, data = double(3, 2), 2.0, double(40, 2, seed=1)
    machine = ig.HopfieldBoltzmann.from_patterns(ig.Gaussian(2), patterns, beta=beta)
    machine.memory_bias.data = -(patterns**2).sum(-1) / 2
    distance = ((data[:, None] - patterns) ** 2).sum(-1)
    component = math.log(beta / (2 * math.pi)) - beta * distance / 2
    same(machine.log_prob(data), torch.logsumexp(component - math.log(3), -1))
    reads = torch.softmax(-beta * distance / 2, -1)
    same(machine.mixture().responsibilities(data), reads)
    # ∂ log Z/∂x_μ at fixed biases is β⟨p_μ(v)v⟩_model = β x_μ/N: the model term is exact.
    (model,) = torch.autograd.grad(machine.mixture().value(), machine.patterns)
    same(model, patterns / 3)
    em_step(machine, data)
    same(machine.patterns.detach(), (reads.T @ data) / reads.sum(0)[:, None])
    same(machine.mixture().log_weights().exp().detach(), reads.mean(0))


def test_large_beta_is_k_means_and_one_shot_storage():
    """Pinned: each memory is nearest to some data, and has its largest overlap with itself."""
    patterns, data = double(3, 2, pinned=True), double(30, 2, seed=1, pinned=True)
    machine = ig.HopfieldBoltzmann.from_patterns(ig.Gaussian(2), patterns, beta=1e6)
    machine.memory_bias.data = -(patterns**2).sum(-1) / 2
    nearest = torch.cdist(data, patterns).argmin(-1)
    em_step(machine, data)
    means = torch.stack([data[nearest == mu].mean(0) for mu in range(3)])
    same(machine.patterns.detach(), means)
    memory = ig.ModernHopfield(patterns, beta=1e6)
    same(memory.recall(patterns + 0.01, max_steps=1).state, patterns)


def test_gaussian_hidden_layer_learns_by_hebb_and_unlearns():
    """Data term ⟨(x·v) v⟩ = Cx, Hebb's rule; the model term is Hopfield's unlearning."""
    machine = machine_with(ig.Spin(5), ig.Gaussian(2), double(2, 5))
    data, fantasies = spins(7, 5), spins(9, 5, seed=1)
    contrastive_loss(machine.marginal(), data, fantasies).backward()
    x = machine.weights[0].detach()
    hebb, unlearning = x @ (data.T @ data) / 7, x @ (fantasies.T @ fantasies) / 9
    assert machine.weights[0].grad is not None
    same(-machine.weights[0].grad, hebb - unlearning)


def test_bits_learn_by_contrastive_divergence():
    machine = randomized(ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3)))
    data, fantasies = spins(7, 4).gt(0).double(), spins(9, 4, seed=1).gt(0).double()
    contrastive_loss(machine.marginal(), data, fantasies).backward()
    c, x = machine.biases[1].detach(), machine.weights[0].detach()
    plus, minus = torch.sigmoid(data @ x.T + c), torch.sigmoid(fantasies @ x.T + c)
    assert machine.weights[0].grad is not None
    same(-machine.weights[0].grad, plus.T @ data / 7 - minus.T @ fantasies / 9)
    assert machine.biases[0].grad is not None
    same(-machine.biases[0].grad, data.mean(0) - fantasies.mean(0))


# --- 5. Acting: Q = −F ----------------------------------------------------------------------


def action_mixture(temperature: float) -> ig.PatternMixture:
    return ig.PatternMixture(ig.Spin(5), double(3), double(3, 5, seed=1), temperature)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_soft_value_policy_and_entropy(temperature):
    q_of, t = action_mixture(temperature), temperature
    keys, theta = q_of.keys, q_of.fields
    actions = ig.Spin(5).enumerate_states()
    q = t * torch.logsumexp((keys + actions @ theta.T) / t, -1)
    same(q_of.score(actions), q)
    value = t * torch.logsumexp(q / t, 0)
    same(q_of.value(), value)
    closed = t * torch.log((torch.exp(keys / t) * (2 * torch.cosh(theta / t)).prod(-1)).sum())
    same(value, closed)
    policy = torch.exp((q - value) / t)
    same(q_of.log_prob(actions).exp(), policy)
    weights = torch.exp(keys / t) * (2 * torch.cosh(theta / t)).prod(-1)
    same(q_of.log_weights().exp(), weights / weights.sum())
    entropy = -(policy * policy.log()).sum()
    same((value - (policy * q).sum()) / t, entropy)


def test_policy_samples_are_exact(generator):
    mixture = action_mixture(1.0)
    actions = ig.Spin(5).enumerate_states()
    draws = mixture.sample_n(60_000, generator)
    counts = torch.bincount(torch.cdist(draws, actions).argmin(-1), minlength=32)
    require_chi_square("draws", counts, mixture.log_prob(actions).exp())


def test_greedy_action_is_exact_as_the_temperature_falls():
    """arg-max_μ k_μ + Σ_i |θ_μi|, a_i = sign θ_μi; refinements never lower Q."""
    actions = ig.Spin(5).enumerate_states()
    cold = action_mixture(0.01)
    start = (cold.keys + cold.fields.abs().sum(-1)).argmax()
    assert torch.equal(cold.mode(refinements=0), cold.fields[start].sign())
    assert torch.equal(cold.mode(), actions[cold.score(actions).argmax()])
    gains, starts = [], []
    for seed in range(20):  # pinned: among these are some that refinements raise
        keys, fields = (double(4, *n, seed=99 * len(n) + seed, pinned=True) for n in ((), (5,)))
        warm = ig.PatternMixture(ig.Spin(5), keys, fields, 2.0)
        scores = [float(warm.score(warm.mode(refinements=k))) for k in range(4)]
        assert scores == sorted(scores)
        gains.append(scores[-1] - scores[0])
        assert torch.equal(warm.mode(), warm.mode(refinements=3))
        best = (warm.keys + warm.fields.abs().sum(-1)).argmax()
        assert torch.equal(warm.mode(refinements=0), warm.fields[best].sign())
        starts.append(bool(best == warm.log_weights().argmax()))
    assert max(gains) > 0.01  # and some of them raise it
    assert not all(starts)  # the best pattern is not always the likeliest


def test_categorical_actions_replace_the_cosh_by_a_sum_of_exponentials():
    """Two factors of three choices: V = T log Σ_μ e^{k_μ/T} Π_factors Σ_choices e^{θ/T}."""
    unit, t = ig.Categorical(6, groups=2), 0.7
    keys, theta = double(3), double(3, 6, seed=1)
    mixture = ig.PatternMixture(unit, keys, theta, t)
    factors = torch.exp(theta.reshape(3, 2, 3) / t).sum(-1).prod(-1)
    same(mixture.value(), t * torch.log((torch.exp(keys / t) * factors).sum()))
    q = mixture.score(unit.enumerate_states())
    same(mixture.value(), t * torch.logsumexp(q / t, 0))


def test_continuous_actions_have_the_same_closed_forms():
    """Gaussian action units: a mixture of Gaussians with an exact soft value, by quadrature."""
    mixture = ig.PatternMixture(ig.Gaussian(1), double(3), double(3, 1, seed=1), 0.7)
    grid = torch.linspace(-12, 12, 200_001, dtype=torch.float64)[:, None]
    step = grid[1] - grid[0]
    same(mixture.value(), 0.7 * torch.log((mixture.score(grid) / 0.7).exp().sum() * step).squeeze())


# --- 6. Thinking -----------------------------------------------------------------------------


def test_one_mean_sweep_on_a_set_is_one_transformer_layer():
    """A set of query rows moves at once, each row attending to the memory by itself."""
    memory, thoughts = double(9, 4), double(2, 6, 4, seed=1)
    moved = ig.ModernHopfield(memory, beta=0.5).recall(thoughts, max_steps=1).state
    layer = torch.nn.functional.scaled_dot_product_attention(
        thoughts, memory.expand(2, 9, 4), memory.expand(2, 9, 4), scale=0.5
    )
    same(moved, layer)
