// Room 5: a grid whose plans come from Python: beforehand for every goal, or asked for.
"use strict";
(function (lab) {
  lab.rooms ??= {};
  const ARROWS = ["↑", "→", "↓", "←"], NAMES = ["up", "right", "down", "left"], MOVES = 4, MOST = 60;

  lab.rooms.world = function (data, python) {
    const get = (name) => lab.byId("world-" + name), world = data.world;
    const wide = world.rows[0].length, high = world.rows.length, cells = wide * high;
    const wall = (cell) => world.rows[Math.floor(cell / wide)][cell % wide] === "#";
    const arrivals = lab.unpack(world.arrivals), visits = world.visits.map(lab.unpack), random = lab.core.generator(3);
    const kept = new Map();
    let goal = 8, walker = 54, q = null, asked = 0, timer = null, walked = 0;

    world.met.forEach((met, at) => get("met").append(new Option(met + " drawn at random", String(at))));
    get("met").value = "1";

    // Q of every cell and move for this goal: from the page, or from Python.
    async function planFor(shared, met, at) {
      const key = [shared, met, at].join();
      if (!kept.has(key)) {
        let found;
        if (world.plans) {
          const all = lab.unpack(world.plans[shared][met]), size = cells * MOVES, place = world.goals.indexOf(at);
          found = all.subarray(place * size, (place + 1) * size);
        } else {
          if (!python) throw new Error("Python has stopped, and plans were asked of it");
          found = await python.ask("world", "plan", { shared, met, goal: at });
        }
        kept.set(key, found);
      }
      return kept.get(key);
    }

    async function plan() {
      const number = ++asked;
      try {
        const found = await planFor(Number(get("shared").value), Number(get("met").value), goal);
        if (number !== asked) return;
        q = found;
      } catch (error) {
        lab.say("world-status", error.message + ".");
        return;
      }
      const seen = visits[Number(get("met").value)].reduce((sum, n) => sum + (n > 0 ? 1 : 0), 0);
      lab.say("world-known", seen + " of 204 pairs of cell and move were met.");
      walked = 0;
      lab.bar.reset("−V of the walker's cell", "V = γ^(steps to go − 1)");
      look();
      paint();
    }

    const values = (cell) => q.subarray(cell * MOVES, (cell + 1) * MOVES);
    const worth = (cell) => (cell === goal ? 1 : Math.max(0, ...values(cell)));
    // The first of the best, those equal but for rounding among them; −1 where nothing leads on.
    function best(cell) {
      const some = values(cell), top = Math.max(...some);
      return top <= 0 ? -1 : some.findIndex((v) => v >= top - 1e-6);
    }
    function look() { lab.bar.push(-worth(walker)); }

    function step() {
      if (!q || walker === goal) return false;
      const move = best(walker);
      if (move < 0) {
        lab.say("world-status", "From here nothing that is known leads to the goal.");
        return false;
      }
      const next = arrivals[walker * MOVES + move];
      walked += 1;
      if (next === walker) {
        lab.say("world-status", "It walked " + NAMES[move] + " into a wall it had not met. More transitions would tell.");
        return false;
      }
      walker = next;
      look();
      paint();
      if (walker === goal) lab.say("world-status", "At the goal after " + walked + " moves.");
      return walker !== goal && walked < MOST;
    }

    function stop() {
      clearTimeout(timer);
      timer = null;
      get("walk").textContent = "Walk";
    }
    function walk() {
      if (timer !== null) { stop(); return; }
      get("walk").textContent = "Pause";
      lab.say("world-status", "Walking.");
      const tick = () => {
        let more = step();
        while (more && lab.draw.reduced()) more = step();
        timer = more ? setTimeout(tick, 220) : null;
        if (!more) stop();
      };
      timer = setTimeout(tick, 0);
    }

    function setGoal(cell) {
      if (wall(cell)) return;
      stop();
      goal = cell;
      lab.say("world-status", "The goal is at " + place(goal) + ". Nothing was learned for it.");
      plan();
    }
    const place = (cell) => "row " + (Math.floor(cell / wide) + 1) + " column " + ((cell % wide) + 1);
    function anywhere() {
      return world.goals[random.below(world.goals.length)];
    }

    function paint() {
      const canvas = get("map");
      canvas.style.aspectRatio = wide + " / " + high;
      if (!q) return;
      const { context, width } = lab.draw.fit(canvas), size = width / wide;
      context.textAlign = "center";
      context.textBaseline = "middle";
      for (let cell = 0; cell < cells; cell++) {
        const x = (cell % wide) * size, y = Math.floor(cell / wide) * size;
        if (wall(cell)) {
          context.fillStyle = lab.draw.color("--soft");
          context.fillRect(x, y, size, size);
          continue;
        }
        context.globalAlpha = 0.55 * worth(cell);
        context.fillStyle = lab.draw.color("--blue");
        context.fillRect(x, y, size, size);
        context.globalAlpha = 1;
        context.strokeStyle = lab.draw.color("--line");
        context.lineWidth = 1;
        context.strokeRect(x + 0.5, y + 0.5, size, size);
        context.fillStyle = lab.draw.color("--ink");
        const move = cell === goal ? -1 : best(cell), seen = visits[Number(get("met").value)];
        context.font = Math.round(size * 0.5) + "px system-ui, sans-serif";
        if (cell === goal) context.fillText("★", x + size / 2, y + size / 2);
        else if (move >= 0) context.fillText(ARROWS[move], x + size / 2, y + size / 2);
        for (let m = 0; m < MOVES; m++) {
          if (seen[cell * MOVES + m] > 0) continue;
          const [dx, dy] = [[0.5, 0.1], [0.9, 0.5], [0.5, 0.9], [0.1, 0.5]][m];
          context.beginPath();
          context.arc(x + dx * size, y + dy * size, Math.max(1, size * 0.035), 0, 2 * Math.PI);
          context.fill();
        }
      }
      const x = ((walker % wide) + 0.5) * size, y = (Math.floor(walker / wide) + 0.5) * size;
      context.beginPath();
      context.arc(x, y, size * 0.3, 0, 2 * Math.PI);
      context.fillStyle = lab.draw.color("--orange");
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = lab.draw.color("--ground");
      context.stroke();
      canvas.setAttribute("aria-label", "The world. Goal at " + place(goal) + ", walker at " + place(walker) +
        (walker !== goal && best(walker) >= 0 ? ", planned move " + NAMES[best(walker)] : "") + ". Arrow keys move the goal.");
    }

    get("map").addEventListener("click", (event) => {
      const box = get("map").getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * wide);
      const y = Math.floor(((event.clientY - box.top) / box.height) * high);
      if (x >= 0 && y >= 0 && x < wide && y < high) setGoal(y * wide + x);
    });
    get("map").addEventListener("keydown", (event) => {
      const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] || [0, 0];
      if (!dx && !dy) return;
      event.preventDefault();
      // On over walls to the next free cell that way.
      let x = (goal % wide) + dx, y = Math.floor(goal / wide) + dy;
      while (x >= 0 && y >= 0 && x < wide && y < high && wall(y * wide + x)) { x += dx; y += dy; }
      if (x >= 0 && y >= 0 && x < wide && y < high) setGoal(y * wide + x);
    });
    get("met").addEventListener("change", () => { stop(); plan(); });
    get("shared").addEventListener("change", () => { stop(); plan(); });
    get("walk").addEventListener("click", walk);
    get("step").addEventListener("click", () => { stop(); step(); });
    get("start").addEventListener("click", () => { stop(); walker = anywhere(); walked = 0; plan(); });
    get("goal").addEventListener("click", () => setGoal(anywhere()));
    return { paint, enter: plan, leave: stop, alone: () => { python = null; } };
  };
})((globalThis.lab ??= {}));
