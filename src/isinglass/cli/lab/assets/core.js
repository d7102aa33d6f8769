// The numbers of the lab: energies, their gradients and steps, on typed arrays.
// Each formula is that of the class of isinglass named above it, and is tested against it.
"use strict";
(function (lab) {
  const core = (lab.core = {});

  // ---- random numbers ------------------------------------------------------------------------

  // A generator of its own for whoever draws (sfc32), so that a seed gives the same draws anywhere.
  core.generator = function (seed) {
    let a = seed >>> 0, b = 0x9e3779b9, c = 0x243f6a88, counter = 1;
    let spare = null;
    function uniform() {
      const sum = (((a + b) | 0) + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (c << 21) | (c >>> 11);
      c = (c + sum) | 0;
      return (sum >>> 0) / 4294967296;
    }
    for (let i = 0; i < 16; i++) uniform();
    function normal() {
      if (spare !== null) {
        const kept = spare;
        spare = null;
        return kept;
      }
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      const angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    }
    return { uniform, normal, below: (n) => Math.floor(uniform() * n) };
  };

  core.normals = function (generator, count) {
    const drawn = new Float64Array(count);
    for (let i = 0; i < count; i++) drawn[i] = generator.normal();
    return drawn;
  };

  core.spins = function (generator, count) {
    const drawn = new Float64Array(count);
    for (let i = 0; i < count; i++) drawn[i] = generator.uniform() < 0.5 ? -1 : 1;
    return drawn;
  };

  // ---- small linear algebra ------------------------------------------------------------------

  // log Σ exp(scale · values) / scale, and the softmax: the largest is taken out first.
  core.softmax = function (values, scale) {
    let top = -Infinity;
    for (let i = 0; i < values.length; i++) top = Math.max(top, scale * values[i]);
    const weights = new Float64Array(values.length);
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += weights[i] = Math.exp(scale * values[i] - top);
    for (let i = 0; i < values.length; i++) weights[i] /= sum;
    return { weights, logSum: (top + Math.log(sum)) / scale };
  };

  // Rows (n, d) times a vector (d): n overlaps.
  core.overlaps = function (rows, state) {
    const d = state.length, n = rows.length / d, found = new Float64Array(n);
    for (let row = 0, at = 0; row < n; row++) {
      let sum = 0;
      for (let i = 0; i < d; i++, at++) sum += rows[at] * state[i];
      found[row] = sum;
    }
    return found;
  };

  // Weights (n) times rows (n, d): their average. Rows of no weight are passed over.
  core.blend = function (weights, rows, d) {
    const found = new Float64Array(d);
    for (let row = 0; row < weights.length; row++) {
      const weight = weights[row];
      if (weight < 1e-14) continue;
      for (let i = 0, at = row * d; i < d; i++, at++) found[i] += weight * rows[at];
    }
    return found;
  };

  // The places of the largest values, the largest first.
  core.largest = function (values, count) {
    const places = Array.from(values.keys());
    return places.sort((a, b) => values[b] - values[a] || a - b).slice(0, count);
  };

  // ---- images --------------------------------------------------------------------------------

  // torch.nn.functional.interpolate(mode="bilinear", align_corners=False) of one square image.
  core.enlarge = function (image, from, to) {
    const found = new Float64Array(to * to), ratio = from / to;
    const place = (i) => Math.max(0, (i + 0.5) * ratio - 0.5);
    for (let y = 0; y < to; y++) {
      const v = place(y), top = Math.floor(v), low = Math.min(top + 1, from - 1), dv = v - top;
      for (let x = 0; x < to; x++) {
        const u = place(x), left = Math.floor(u), right = Math.min(left + 1, from - 1);
        const du = u - left;
        const upper = image[top * from + left] * (1 - du) + image[top * from + right] * du;
        const lower = image[low * from + left] * (1 - du) + image[low * from + right] * du;
        found[y * to + x] = upper * (1 - dv) + lower * dv;
      }
    }
    return found;
  };

  // Images (n, d) less their mean, each of length one; `scale` is their mean length.
  core.standardize = function (images, d) {
    const n = images.length / d, mean = new Float64Array(d), patterns = new Float64Array(n * d);
    for (let row = 0; row < n; row++) for (let i = 0; i < d; i++) mean[i] += images[row * d + i] / n;
    let scale = 0;
    for (let row = 0; row < n; row++) {
      let square = 0;
      for (let i = 0; i < d; i++) square += (images[row * d + i] - mean[i]) ** 2;
      const length = Math.sqrt(square);
      scale += length / n;
      for (let i = 0; i < d; i++) patterns[row * d + i] = (images[row * d + i] - mean[i]) / length;
    }
    return { mean, scale, patterns };
  };

  // ---- isinglass.ModernHopfield --------------------------------------------------------------

  // E(ξ) = ½|ξ|² − β⁻¹ log Σ_μ exp(β x_μ·ξ); `reading` is Xᵀ softmax(βXξ), one attention step.
  core.modern = function (patterns, state, beta) {
    const { weights, logSum } = core.softmax(core.overlaps(patterns, state), beta);
    let square = 0;
    for (let i = 0; i < state.length; i++) square += state[i] * state[i];
    const reading = core.blend(weights, patterns, state.length);
    return { energy: square / 2 - logSum, weights, reading };
  };

  // isinglass.dynamics.Langevin: s ← s − ½h²∇E + h√T ξ, with ∇E = s − reading.
  core.langevin = function (state, reading, step, temperature, noise) {
    const found = new Float64Array(state.length), rate = (step * step) / 2;
    const spread = step * Math.sqrt(temperature);
    for (let i = 0; i < state.length; i++) {
      found[i] = state[i] - rate * (state[i] - reading[i]);
      if (spread > 0) found[i] += spread * noise[i];
    }
    return found;
  };

  // ---- nets of spins -------------------------------------------------------------------------

  // isinglass.ClassicalHopfield, by Hebb's rule: E(v) = −½ vᵀWv = −½ Σ_μ (x_μ·v)² + ½Nd, and the
  // field on every spin, Wv. The couplings are never formed: N overlaps say the same.
  core.classical = {
    worth: (overlaps, d) => {
      let sum = 0;
      for (const o of overlaps) sum += o * o;
      return (overlaps.length * d - sum) / 2;
    },
    field: (patterns, overlaps, state, i) => {
      const d = state.length, n = overlaps.length;
      let sum = -n * state[i];
      for (let row = 0; row < n; row++) sum += overlaps[row] * patterns[row * d + i];
      return sum;
    },
  };

  // isinglass.DenseMemory, F(o) = max(o, 0)ⁿ: E(v) = −Σ_μ F(x_μ·v).
  core.dense = (degree) => ({
    worth: (overlaps) => {
      let sum = 0;
      for (const o of overlaps) if (o > 0) sum += o ** degree;
      return -sum;
    },
    field: fieldOf((o) => (o > 0 ? o ** degree : 0)),
  });

  // isinglass.DenseMemory(interaction="exp"): E(v) = −β⁻¹ log Σ_μ exp(β x_μ·v), the modern net of
  // spins. Its field is half the difference of that energy: a ratio of sums.
  core.exponential = (beta) => ({
    worth: (overlaps) => -core.softmax(overlaps, beta).logSum,
    field: (patterns, overlaps, state, i) => {
      const d = state.length, n = overlaps.length;
      let top = -Infinity, plus = 0, minus = 0;
      for (const o of overlaps) top = Math.max(top, o);
      for (let row = 0; row < n; row++) {
        const x = patterns[row * d + i], rest = overlaps[row] - x * state[i] - top;
        plus += Math.exp(beta * (rest + x));
        minus += Math.exp(beta * (rest - x));
      }
      return (Math.log(plus) - Math.log(minus)) / (2 * beta);
    },
  });

  function fieldOf(worth) {
    return (patterns, overlaps, state, i) => {
      const d = state.length, n = overlaps.length;
      let sum = 0;
      for (let row = 0; row < n; row++) {
        const x = patterns[row * d + i], rest = overlaps[row] - x * state[i];
        sum += worth(rest + x) - worth(rest - x);
      }
      return sum / 2;
    };
  }

  // A sweep of isinglass.dynamics.Asynchronous at T = 0: unit after unit takes the sign of its
  // field, and keeps its own where that is zero. Changes `state` and `overlaps`, counts the flips.
  core.sweep = function (net, patterns, overlaps, state) {
    const d = state.length;
    let flips = 0;
    for (let i = 0; i < d; i++) {
      const field = net.field(patterns, overlaps, state, i);
      const next = field > 0 ? 1 : field < 0 ? -1 : state[i];
      if (next === state[i]) continue;
      for (let row = 0; row < overlaps.length; row++) overlaps[row] += 2 * next * patterns[row * d + i];
      state[i] = next;
      flips += 1;
    }
    return flips;
  };

  core.recall = function (net, patterns, cue, most) {
    const state = Float64Array.from(cue), overlaps = core.overlaps(patterns, state);
    const energies = [net.worth(overlaps, state.length)];
    for (let sweep = 0; sweep < most; sweep++) {
      const flips = core.sweep(net, patterns, overlaps, state);
      energies.push(net.worth(overlaps, state.length));
      if (flips === 0) break;
    }
    return { state, energies };
  };

  // ---- isinglass.thinking.PuzzleThinker with SmallestGroup -----------------------------------

  const FALSE = 0, OPEN = 1, TRUE = 2;
  core.puzzle = { FALSE, OPEN, TRUE };

  // Propositions that share a group exclude each other; of each group exactly one is true.
  core.puzzle.network = function (size, groups) {
    const neighbors = Array.from({ length: size }, () => new Set());
    for (const group of groups) for (const a of group) for (const b of group) if (a !== b) neighbors[a].add(b);
    return { size, groups, neighbors: neighbors.map((some) => [...some]) };
  };

  // E(s) = Σ_{(i,j) excluded} s_i s_j + Σ_g |1 − Σ_{i∈g} s_i|: what is violated, 0 in a solution.
  core.puzzle.energy = function (network, state) {
    let violated = 0;
    for (let a = 0; a < network.size; a++) {
      if (state[a] !== TRUE) continue;
      for (const b of network.neighbors[a]) if (b > a && state[b] === TRUE) violated += 1;
    }
    for (const group of network.groups) {
      let sum = 0;
      for (const a of group) if (state[a] === TRUE) sum += 1;
      violated += Math.abs(1 - sum);
    }
    return violated;
  };

  // Lets truths exclude their neighbors and groups force their last member; tells if that clashes.
  core.puzzle.settle = function (network, state, level, depth, fresh) {
    const { groups, neighbors } = network;
    while (fresh.length) {
      for (const a of fresh) for (const b of neighbors[a]) {
        if (state[b] === TRUE) return false;
        if (state[b] === OPEN) { state[b] = FALSE; level[b] = depth; }
      }
      fresh = [];
      for (const group of groups) {
        let open = -1, count = 0, satisfied = false;
        for (const a of group) {
          if (state[a] === TRUE) { satisfied = true; break; }
          if (state[a] === OPEN) { count += 1; if (open < 0) open = a; }
        }
        if (satisfied || count > 1) continue;
        if (count === 0) return false;
        state[open] = TRUE;
        level[open] = depth;
        fresh.push(open);
      }
    }
    return true;
  };

  // The first open member of the first group with fewest of them; −1 where all groups have a truth.
  core.puzzle.smallest = function (network, state) {
    let best = -1, fewest = Infinity;
    for (const group of network.groups) {
      let first = -1, count = 0;
      for (const a of group) {
        if (state[a] === TRUE) { count = Infinity; break; }
        if (state[a] === OPEN) { count += 1; if (first < 0) first = a; }
      }
      if (count < fewest) { fewest = count; best = first; }
    }
    return best;
  };

  // Settles, guesses and retracts; yields after each. `wanted` solutions are looked for: of two, the
  // second is what shows that the first is not the only one. At the end `complete` tells if all was
  // searched.
  core.puzzle.search = function* (network, givens, wanted) {
    const state = Int8Array.from(givens, (v) => (v > 0 ? TRUE : OPEN)), level = new Int16Array(network.size);
    const stack = [];
    const fresh = [...state.keys()].filter((a) => state[a] === TRUE);
    let found = 0, solution = null;
    const told = (kind, unit) => ({ kind, unit, depth: stack.length, state, level, found, solution });
    let fits = core.puzzle.settle(network, state, level, 0, fresh);
    yield told("settled", -1);
    for (;;) {
      const next = fits ? core.puzzle.smallest(network, state) : -1;
      const solved = fits && next < 0;
      if (solved && core.puzzle.energy(network, state) === 0) {
        found += 1;
        solution ??= Int8Array.from(state);
        yield told("solution", -1);
        if (found >= wanted) return { complete: false, found, solution };
      }
      if (!fits || solved) {
        if (!stack.length) return { complete: true, found, solution };
        const unit = stack[stack.length - 1], depth = stack.length;
        for (let a = 0; a < network.size; a++) if (state[a] !== OPEN && level[a] >= depth) state[a] = OPEN;
        stack.pop();
        state[unit] = FALSE;
        level[unit] = depth - 1;
        fits = forced(network, state, level, depth - 1);
        yield told("retraction", unit);
      } else {
        stack.push(next);
        state[next] = TRUE;
        level[next] = stack.length;
        fits = core.puzzle.settle(network, state, level, stack.length, [next]);
        yield told("guess", next);
      }
    }
  };

  // What is false alone may force a member: groups are looked at first, then all settles.
  function forced(network, state, level, depth) {
    const fresh = [];
    for (const group of network.groups) {
      let open = -1, count = 0, satisfied = false;
      for (const a of group) {
        if (state[a] === TRUE) { satisfied = true; break; }
        if (state[a] === OPEN) { count += 1; open = a; }
      }
      if (satisfied || count > 1) continue;
      if (count === 0) return false;
      state[open] = TRUE;
      level[open] = depth;
      fresh.push(open);
    }
    return core.puzzle.settle(network, state, level, depth, fresh);
  }

  // ---- isinglass.agents.FreeEnergyQ with a MixtureEnergy that the state bends ----------------

  // Rows (n, d) times a vector, plus a bias.
  core.linear = function (layer, x) {
    const found = core.overlaps(layer.weight, x);
    if (layer.bias) for (let i = 0; i < found.length; i++) found[i] += layer.bias[i];
    return found;
  };

  // Q(s, a) = T log Σ_μ exp((k_μ(s) + θ_μa(s))/T) − T log N: minus the free energy of every action.
  core.freeEnergyQ = function (net, observation) {
    let x = Float64Array.from(observation, (bit) => 2 * bit - 1);
    for (const layer of net.trunk) x = core.linear(layer, x).map((v) => Math.max(0, v));
    const keys = core.linear(net.keys, x), bent = core.linear({ weight: net.bend }, x);
    const many = keys.length, actions = net.fields.length / many, T = net.temperature;
    return Float64Array.from({ length: actions }, (_, a) => {
      const scores = keys.map((key, m) => net.scale * (key + net.fields[m * actions + a] + bent[m * actions + a]));
      return core.softmax(scores, 1 / T).logSum - T * Math.log(many) + net.shift;
    });
  };

  // V = T log Σ exp(Q/T) over what is allowed, π = exp((Q − V)/T).
  core.softPolicy = function (values, allowed, temperature) {
    const masked = Array.from(values, (q, a) => (allowed[a] ? q : -Infinity));
    const { weights, logSum } = core.softmax(masked, 1 / temperature);
    return { policy: weights, value: logSum };
  };

  // ---- a Transformer of attention alone ------------------------------------------------------

  // Embeddings, layers of causal heads softmax(q·k/(√d T)) whose values are added to the stream, and
  // a read-out. Returns logits of the next letter, and queries, keys and weights of every head.
  core.transformer = function (net, letters, temperature) {
    const width = net.width, many = net.heads, d = width / many, beta = 1 / (Math.sqrt(d) * temperature);
    let stream = letters.map((letter, at) => Float64Array.from({ length: width },
      (_, i) => net.letters[letter * width + i] + net.places[at * width + i]));
    const layers = net.layers.map((layer) => {
      const [q, k, v] = ["q", "k", "v"].map((name) => stream.map((x) => core.linear({ weight: layer[name] }, x)));
      const added = stream.map(() => new Float64Array(width)), heads = [];
      for (let head = 0; head < many; head++) {
        const part = (x) => x.subarray(head * d, (head + 1) * d);
        const keys = k.map(part), weights = [];
        for (let at = 0; at < letters.length; at++) {
          const rows = Float64Array.from(keys.slice(0, at + 1).flatMap((key) => [...key]));
          const seen = core.softmax(core.overlaps(rows, part(q[at])), beta).weights;
          weights.push(seen);
          for (let from = 0; from <= at; from++) for (let i = 0; i < d; i++) {
            added[at][head * d + i] += seen[from] * v[from][head * d + i];
          }
        }
        heads.push({ queries: q.map(part), keys, weights });
      }
      stream = stream.map((x, at) => {
        const more = core.linear({ weight: layer.o }, added[at]);
        return x.map((value, i) => value + more[i]);
      });
      return heads;
    });
    return { logits: stream.map((x) => core.linear({ weight: net.readout }, x)), layers };
  };
})((globalThis.lab ??= {}));
