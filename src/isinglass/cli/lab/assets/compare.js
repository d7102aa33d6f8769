// Room 2: three nets of spins with the same patterns and the same cue; capacity by a slider.
"use strict";
(function (lab) {
  lab.rooms ??= {};
  const SIDE = 8, D = 64, MOST = 1000, TRIED = 20, WRONG = 2, SWEEPS = 30;
  const SIZES = [2, 4, 6, 9, 13, 20, 30, 50, 80, 120, 200, 300, 500, 1000];
  const NETS = ["classical", "dense", "modern"];
  const MARKS = { classical: ["--orange", "square"], dense: ["--green", "triangle"], modern: ["--blue", "circle"] };

  lab.rooms.compare = function (data) {
    const get = (name) => lab.byId("compare-" + name);
    const nets = { classical: lab.core.classical, dense: lab.core.dense(3), modern: lab.core.exponential(1) };
    const bytes = lab.unpack(data.digits.images);
    const all = {
      random: lab.core.spins(lab.core.generator(1), MOST * D),
      digits: Float64Array.from(bytes.subarray(0, MOST * D), (level) => (level >= 8 ? 1 : -1)),
    };
    let entered = false, shown = 0, cue, results = {}, measured = {}, measuring = null;

    // On a scale of ratios from 2 to 1,000.
    const stored = () => Math.round(2 * 500 ** (Number(get("stored").value) / 100));
    const patterns = (count) => all[get("kind").value].subarray(0, count * D);
    const flipped = () => Number(get("flipped").value);

    function broken(pattern, seed) {
      const random = lab.core.generator(seed), state = Float64Array.from(pattern);
      const count = Math.round((flipped() / 100) * D), places = Array.from(state.keys());
      for (let i = 0; i < count; i++) {
        const at = i + random.below(D - i);
        [places[i], places[at]] = [places[at], places[i]];
        state[places[i]] *= -1;
      }
      return state;
    }
    const wrong = (state, pattern) => state.reduce((sum, v, i) => sum + (v !== pattern[i] ? 1 : 0), 0);

    function measure(count) {
      const rows = patterns(count), tried = Math.min(count, TRIED), right = {};
      for (const name of NETS) {
        let good = 0;
        for (let at = 0; at < tried; at++) {
          const pattern = rows.subarray(at * D, (at + 1) * D);
          const { state } = lab.core.recall(nets[name], rows, broken(pattern, at + 1), SWEEPS);
          if (wrong(state, pattern) <= WRONG) good += 1;
        }
        right[name] = good / tried;
      }
      return right;
    }

    function update() {
      const count = stored(), rows = patterns(count);
      shown = shown % Math.min(count, TRIED);
      get("stored-value").textContent = count.toLocaleString("en");
      get("stored").setAttribute("aria-valuetext", count + " patterns");
      get("flipped-value").textContent = flipped() + " %";
      const pattern = rows.subarray(shown * D, (shown + 1) * D);
      cue = broken(pattern, shown + 1);
      get("cue-note").textContent = "pattern " + (shown + 1) + ", " + wrong(cue, pattern) + " of 64 flipped";
      const told = [];
      for (const name of NETS) {
        results[name] = lab.core.recall(nets[name], rows, cue, SWEEPS);
        const off = wrong(results[name].state, pattern);
        get(name + "-note").textContent = (off <= WRONG ? "✓ recalled, " : "✗ ") + off + " spins wrong";
        told.push(name + (off <= WRONG ? " recalls it" : " does not"));
      }
      lab.say("compare-status", count.toLocaleString("en") + " patterns stored: " + told.join(", ") + ".");
      if (!measured[count]) measured[count] = measure(count);
      showEnergy();
      paint();
    }

    function showEnergy() {
      const name = get("bar").value, energies = results[name].energies;
      lab.bar.reset("E of the " + name + " net", "sweep after sweep");
      energies.forEach((energy) => lab.bar.push(energy));
    }

    async function curve() {
      const mine = (measuring = {});
      for (const count of SIZES) {
        if (measured[count]) continue;
        await new Promise((resolve) => setTimeout(resolve, 0));
        if (measuring !== mine) return; // left, or to be measured anew
        measured[count] = measure(count);
        paint();
      }
      lab.say("compare-note", "Measured at " + SIZES.length + " numbers of patterns.");
    }

    function paint() {
      if (!cue) return;
      const image = (values) => Float64Array.from(values, (v) => (v + 1) / 2);
      lab.draw.image(get("cue"), image(cue), SIDE);
      for (const name of NETS) lab.draw.image(get(name), image(results[name].state), SIDE);
      chart();
    }

    function chart() {
      const { context, width, height } = lab.draw.fit(get("chart"));
      const left = 42, low = height - 30, top = 24, right = width - 26;
      const x = (count) => left + ((right - left) * Math.log(count / 2)) / Math.log(500);
      const y = (share) => low - (low - top) * share;
      context.font = "12px system-ui, sans-serif";
      context.fillStyle = context.strokeStyle = lab.draw.color("--soft");
      context.lineWidth = 1;
      context.strokeRect(left, top, right - left, low - top);
      for (const share of [0, 0.5, 1]) context.fillText(100 * share + " %", 2, y(share) + 4);
      for (const count of [2, 10, 30, 100, 300, 1000]) context.fillText(count.toLocaleString("en"), x(count) - 8 - (count > 99 ? 8 : 0), low + 16);
      context.setLineDash([2, 3]);
      context.beginPath(); context.moveTo(x(8.8), top); context.lineTo(x(8.8), low); context.stroke();
      context.beginPath(); context.moveTo(x(stored()), top); context.lineTo(x(stored()), low); context.stroke();
      context.setLineDash([]);
      context.fillText("N", x(stored()) - 4, low + 28);
      const counts = Object.keys(measured).map(Number).sort((a, b) => a - b);
      NETS.forEach((name, i) => {
        const [color, mark] = MARKS[name];
        context.strokeStyle = context.fillStyle = lab.draw.color(color);
        context.lineWidth = 2;
        context.beginPath();
        for (const count of counts) context.lineTo(x(count), y(measured[count][name]));
        context.stroke();
        for (const count of counts) lab.draw.mark(context, mark, x(count), y(measured[count][name]));
        const at = left + i * Math.min(110, (right - left) / 3);
        lab.draw.mark(context, mark, at + 5, 11);
        context.fillText(name, at + 14, 15);
      });
      const now = measured[stored()];
      if (now) get("chart").setAttribute("aria-label", "Share recalled with " + stored() + " stored: " +
        NETS.map((name) => name + " " + Math.round(100 * now[name]) + " %").join(", "));
    }

    function renew() {
      measured = {};
      measuring = null;
      lab.say("compare-note", "");
      update();
    }
    get("stored").addEventListener("input", update);
    get("flipped").addEventListener("input", renew);
    get("kind").addEventListener("change", renew);
    get("bar").addEventListener("change", showEnergy);
    get("next").addEventListener("click", () => { shown += 1; update(); });
    get("curve").addEventListener("click", curve);
    return { paint, enter: () => { update(); if (!entered) curve(); entered = true; }, leave: () => { measuring = null; } };
  };
})((globalThis.lab ??= {}));
