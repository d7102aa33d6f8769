// Room 1: a modern Hopfield net of digits. The page computes it, or Python where the net is large.
"use strict";
(function (lab) {
  lab.rooms ??= {};
  const SIDE = 28, SMALL = 8, STEP = 0.5, TOP = 5;
  const HOT = 0.03, COLD = 3e-5, COOLING = 150;
  const LARGE = 1000;
  // Where memories are many they are alike, and only a sharper net tells them apart.
  const SHARP = { 10: 40, 100: 40, 1000: 80 };

  // The net in this page; the same answers come from Python in `remote`.
  function local(patterns) {
    const d = SIDE * SIDE, random = lab.core.generator(Date.now());
    let rows = patterns, state = new Float64Array(d);
    return {
      title: "this page",
      async set(given) { state = Float64Array.from(given); },
      async store() {
        const length = Math.hypot(...state) || 1;
        const more = new Float64Array(rows.length + d);
        more.set(rows);
        for (let i = 0; i < d; i++) more[rows.length + i] = state[i] / length;
        rows = more;
      },
      async advance({ beta, temperature, steps }) {
        const start = performance.now();
        let found = lab.core.modern(rows, state, beta);
        for (let i = 0; i < steps; i++) {
          const noise = temperature > 0 ? lab.core.normals(random, d) : null;
          state = lab.core.langevin(state, found.reading, STEP, temperature, noise);
          found = lab.core.modern(rows, state, beta);
        }
        const top = lab.core.largest(found.weights, TOP).map((at) => [at, found.weights[at]]);
        let spread = 0;
        for (const weight of found.weights) if (weight > 0) spread -= weight * Math.log(weight);
        const took = performance.now() - start;
        return { state, reading: found.reading, energy: found.energy, top, blended: Math.exp(spread), took };
      },
    };
  }

  function remote(python, count) {
    const ready = python.ask("remember", "open", { count });
    return {
      title: "isinglass in Python",
      async set(given) { await ready; await python.ask("remember", "set", { state: lab.pack(given) }); },
      async store() { await python.ask("remember", "store", {}); },
      async advance(settings) {
        await ready;
        const numbers = await python.ask("remember", "advance", settings);
        const d = SIDE * SIDE, head = 3 + 2 * TOP, top = [];
        for (let i = 0; i < TOP; i++) top.push([numbers[3 + 2 * i], numbers[4 + 2 * i]]);
        return {
          energy: numbers[0], took: numbers[1], blended: numbers[2], top,
          state: numbers.subarray(head, head + d), reading: numbers.subarray(head + d),
        };
      },
    };
  }

  lab.rooms.remember = function (data, python) {
    const bytes = lab.unpack(data.digits.images), labels = lab.unpack(data.digits.labels);
    const get = (name) => lab.byId("remember-" + name), d = SIDE * SIDE;
    const random = lab.core.generator(Date.now() ^ 0x5bd1e995);
    let net, mean, scale, patterns, names, state = new Float64Array(d), found = null;
    let running = false, looping = false, cooling = 0, steps = 0, frames = [], pen = null, turn = 0;
    let queue = Promise.resolve(), edits = 0;

    const beta = () => Number(get("beta").value);
    const temperature = () => {
      const at = Number(get("temperature").value);
      return at === 0 ? 0 : COLD * (HOT / COLD) ** (at / 100);
    };
    function showTemperature(value) {
      const at = value > 0 ? Math.round((100 * Math.log(value / COLD)) / Math.log(HOT / COLD)) : 0;
      get("temperature").value = String(Math.min(100, Math.max(0, at)));
      labelSliders();
    }
    function labelSliders() {
      const T = temperature();
      get("temperature-value").textContent = T === 0 ? "0" : T.toPrecision(2);
      get("beta-value").textContent = String(beta());
      get("temperature").setAttribute("aria-valuetext", T === 0 ? "0" : T.toPrecision(2));
    }

    function choose(count) {
      const images = new Float64Array(count * d);
      for (let i = 0; i < count; i++) {
        const image = Array.from(bytes.subarray(i * SMALL * SMALL, (i + 1) * SMALL * SMALL), (v) => v / 16);
        images.set(lab.core.enlarge(image, SMALL, SIDE), i * d);
      }
      ({ mean, scale, patterns } = lab.core.standardize(images, d));
      names = Array.from(labels.subarray(0, count), (label) => "digit " + label);
      pause();
      net = python && count >= LARGE ? remote(python, count) : local(patterns);
      lab.bar.reset("E(ξ)", "energy of the state");
      get("beta").value = String(SHARP[count]);
      labelSliders();
      turn = 0;
      return takeDigit();
    }

    const image = (values) => Float64Array.from(values, (value, i) => mean[i] + scale * value);

    // ---- what is shown

    function paint() {
      draw("state", image(state), pen);
      if (found) draw("reading", image(found.reading));
      if (found) showTop();
    }
    const draw = (name, values, at) => lab.draw.image(get(name), values, SIDE, at);

    function showTop() {
      const list = get("top");
      while (list.children.length < TOP) {
        const item = document.createElement("li");
        item.innerHTML = '<canvas aria-hidden="true"></canvas><span class="name"></span>' +
          '<span class="meter" aria-hidden="true"><span></span></span><span class="share"></span>';
        list.append(item);
      }
      found.top.forEach(([at, weight], i) => {
        const [canvas, name, meter, share] = list.children[i].children;
        // Drawn anew only where another memory, net, width or scheme has come.
        const drawn = [at, names[at], names.length, document.body.clientWidth, lab.draw.color("--paper")].join();
        if (canvas.dataset.drawn !== drawn) {
          lab.draw.image(canvas, image(patterns.subarray(at * d, (at + 1) * d)), SIDE);
          canvas.dataset.drawn = drawn;
          name.textContent = names[at];
        }
        meter.firstChild.style.width = (100 * weight).toFixed(1) + "%";
        share.textContent = (100 * weight).toFixed(0) + " %";
      });
    }

    function say(text) { lab.say("remember-status", text); }

    function verdict() {
      const [at, weight] = found.top[0];
      if (weight > 0.9) return "At rest after " + steps + " steps: " + names[at] + ", weight " +
        (100 * weight).toFixed(0) + " %.";
      return "At rest after " + steps + " steps: a blend of about " + Math.max(2, Math.round(found.blended)) +
        " memories, an image that was not stored.";
    }

    function speed() {
      const now = performance.now();
      frames.push(now);
      while (frames.length > 1 && now - frames[0] > 1000) frames.shift();
      const rate = frames.length > 2 ? ((1000 * (frames.length - 1)) / (now - frames[0])).toFixed(0) : "–";
      const size = (patterns.length / d).toLocaleString("en") + " memories of " + d + " units";
      lab.say("remember-speed", size + ", computed by " + net.title + ": " + found.took.toFixed(1) +
        " ms a frame, " + rate + " frames a second.");
      get("speed").dataset.rate = rate;
    }

    // ---- what is done

    // One thing after another: no answer may overwrite what was done while it was on its way.
    function inTurn(work) {
      queue = queue.then(work).catch((error) => { pause(); say(error.message + "."); });
      return queue;
    }

    async function advance(count) {
      const before = found ? found.energy : Infinity, edited = edits;
      const answer = await net.advance({ beta: beta(), temperature: temperature(), steps: count });
      if (edits !== edited) return Infinity; // drawn upon meanwhile
      found = answer;
      state = Float64Array.from(found.state);
      steps += count;
      lab.bar.push(found.energy, count ? "T = " + (temperature() ? temperature().toPrecision(2) : "0") : undefined);
      paint();
      speed();
      return Math.abs(before - found.energy);
    }

    async function look() {
      await net.set(state);
      steps = 0;
      await advance(0);
    }

    async function loop() {
      const slow = lab.draw.reduced();
      await inTurn(async () => {
        if (!running) return;
        const moved = await advance(slow ? 20 : 1);
        if (cooling > 0) {
          cooling -= slow ? Math.min(20, cooling) : 1;
          showTemperature(cooling ? COLD * (HOT / COLD) ** (cooling / COOLING) : 0);
        } else if (temperature() === 0 && moved < 1e-6) {
          pause();
          say(verdict());
        }
      });
      if (!running) looping = false;
      else if (slow) setTimeout(loop, 700);
      else requestAnimationFrame(loop);
    }

    function run(text) {
      say(text);
      frames = [];
      get("fall").textContent = "Pause";
      running = true;
      if (looping) return;
      looping = true;
      loop();
    }
    function pause() {
      running = false;
      cooling = 0;
      get("fall").textContent = "Let it fall";
    }

    async function replace(values, text) {
      pause();
      showTemperature(0);
      state = values;
      say(text);
      await look();
    }
    function takeDigit() {
      const at = turn++ % (patterns.length / d);
      return replace(patterns.slice(at * d, (at + 1) * d), "This is " + names[at] + ", a stored image. Break it.");
    }

    const actions = {
      digit: takeDigit,
      clear: () => replace(Float64Array.from(mean, (m) => -m / scale), "An empty page. Draw on it."),
      erase: () => replace(state.map((v, i) => (i < d / 2 ? v : 0)), "The lower half is the mean of all. Let it fall."),
      noise: () => replace(state.map((v) => v + 0.1 * random.normal()), "Noise on every pixel. Let it fall."),
      store: async () => {
        if (Math.hypot(...state) === 0) return;
        await net.set(state);
        await net.store();
        const length = Math.hypot(...state), more = new Float64Array(patterns.length + d);
        more.set(patterns);
        more.set(state.map((v) => v / length), patterns.length);
        patterns = more;
        names.push("yours " + (names.length - Number(get("memory").value) + 1));
        await look();
        say("Stored: " + names[names.length - 1] + ". Break it, and let it fall.");
      },
      fall: () => {
        if (running) { pause(); say("Paused."); return; }
        steps = 0;
        run(temperature() > 0 ? "Steps with noise." : "Falling: each step goes downhill.");
      },
      step: async () => { pause(); await advance(1); say("Step " + steps + "."); },
      heat: () => { cooling = 0; showTemperature(0.004); steps = 0; run("Heated: it wanders as exp(−E/T) says. Lower T, and it settles."); },
      imagine: async () => {
        pause();
        get("beta").value = "20";
        showTemperature(HOT);
        state = Float64Array.from({ length: d }, () => 0.07 * random.normal());
        await look();
        cooling = COOLING;
        run("From noise, cooled step by step.");
      },
    };
    for (const [name, action] of Object.entries(actions)) {
      get(name).addEventListener("click", () => inTurn(action));
    }
    get("temperature").addEventListener("input", () => {
      cooling = 0;
      labelSliders();
      if (temperature() > 0 && !running) run("Steps with noise.");
    });
    get("beta").addEventListener("input", () => { labelSliders(); if (!running) inTurn(() => advance(0)); });
    get("memory").addEventListener("change", () => { inTurn(() => choose(Number(get("memory").value))); });

    // ---- drawing

    let changed = false;
    function ink(x, y, amount) {
      for (let j = -1; j <= 1; j++) for (let i = -1; i <= 1; i++) {
        const u = x + i, v = y + j;
        if (u < 0 || v < 0 || u >= SIDE || v >= SIDE) continue;
        const at = v * SIDE + u, share = i === 0 && j === 0 ? 1 : i === 0 || j === 0 ? 0.7 : 0.35;
        const now = Math.min(1, Math.max(0, mean[at] + scale * state[at]));
        const next = amount > 0 ? Math.max(now, share) : Math.min(now, 1 - share);
        state[at] = (next - mean[at]) / scale;
      }
      changed = true;
      edits += 1;
      draw("state", image(state), pen);
    }
    function drawn() {
      if (!changed) return;
      changed = false;
      inTurn(async () => {
        await look();
        say("Drawn. Let it fall, or store it.");
      });
    }
    const pad = get("state");
    let erasing = false, last = null;
    function stroke(event) {
      const box = pad.getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * SIDE);
      const y = Math.floor(((event.clientY - box.top) / box.height) * SIDE);
      const from = last || { x, y }, far = Math.max(Math.abs(x - from.x), Math.abs(y - from.y), 1);
      for (let i = 0; i <= far; i++) {
        ink(Math.round(from.x + ((x - from.x) * i) / far), Math.round(from.y + ((y - from.y) * i) / far), erasing ? -1 : 1);
      }
      last = { x, y };
    }
    pad.addEventListener("pointerdown", (event) => {
      pause();
      pad.setPointerCapture(event.pointerId);
      erasing = event.button === 2 || event.shiftKey;
      last = null;
      stroke(event);
    });
    pad.addEventListener("pointermove", (event) => { if (last) stroke(event); });
    for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { last = null; drawn(); });
    pad.addEventListener("contextmenu", (event) => event.preventDefault());
    pad.addEventListener("focus", () => { if (pad.matches(":focus-visible")) { pen = pen || { x: 14, y: 14 }; paint(); } });
    pad.addEventListener("blur", () => { pen = null; paint(); });
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    pad.addEventListener("keydown", (event) => {
      pen = pen || { x: 14, y: 14 };
      if (event.key in moves) {
        const [x, y] = moves[event.key];
        pen = { x: Math.min(SIDE - 1, Math.max(0, pen.x + x)), y: Math.min(SIDE - 1, Math.max(0, pen.y + y)) };
        draw("state", image(state), pen);
      } else if (event.key === " " || event.key === "Enter") { pause(); ink(pen.x, pen.y, 1); drawn(); }
      else if (event.key === "Backspace" || event.key === "Delete") { pause(); ink(pen.x, pen.y, -1); drawn(); }
      else return;
      event.preventDefault();
    });

    get("memory").value = python ? "1000" : "100";
    labelSliders();
    inTurn(() => choose(Number(get("memory").value)));
    return {
      paint,
      enter: () => { lab.bar.reset("E(ξ)", "energy of the state"); if (found) { lab.bar.push(found.energy); paint(); } },
      leave: pause,
      alone: () => { python = null; pause(); inTurn(() => choose(Number(get("memory").value))); },
    };
  };
})((globalThis.lab ??= {}));
