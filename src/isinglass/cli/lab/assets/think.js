// Room 6: a Sudoku by settling, guessing and retracting, in the page; a family, answered by Python
// beforehand.
"use strict";
(function (lab) {
  lab.rooms ??= {};
  const { TRUE } = lab.core.puzzle;
  const PUZZLES = [
    ["4 × 4: all is forced", 4, "0000420000000034"],
    ["4 × 4: several solutions", 4, "1000000000000004"],
    ["4 × 4: a contradiction", 4, "1200003400000000"],
    ["6 × 6: two guesses fail", 6, "040000130200000640000002003050010000"],
    ["9 × 9: 17 givens", 9, "520006000000000701300000000000400800600000050000000000041800000000030020008700000"],
  ];
  const BLOCKS = { 4: [2, 2], 6: [2, 3], 9: [3, 3] };
  const SHOWN = 200, MOST = 5000;

  lab.rooms.think = function (data, python) {
    const get = (name) => lab.byId("think-" + name), given = data.thoughts;
    const networks = {};
    let side, cells, search, last, timer = null, log = [], guesses, retractions, over, forced;

    function network(of) {
      if (!networks[of]) {
        const flat = lab.unpack(given.boards[of]), groups = [];
        for (let at = 0; at < flat.length; at += of) groups.push(Array.from(flat.subarray(at, at + of)));
        networks[of] = lab.core.puzzle.network(of ** 3, groups);
      }
      return networks[of];
    }

    function load(at) {
      const [, wide, text] = PUZZLES[at];
      side = wide;
      cells = Array.from(text, Number);
      build();
      restart();
    }

    function build() {
      const [high, wide] = BLOCKS[side], board = get("board");
      board.className = "board side" + side;
      board.replaceChildren();
      for (let at = 0; at < side * side; at++) {
        const input = document.createElement("input"), row = Math.floor(at / side), column = at % side;
        input.type = "text";
        input.inputMode = "numeric";
        input.maxLength = 1;
        input.id = "think-cell-" + at;
        input.autocomplete = "off";
        input.setAttribute("aria-label", "row " + (row + 1) + " column " + (column + 1));
        if (row % high === 0) input.classList.add("top-edge");
        if (column % wide === 0) input.classList.add("left-edge");
        input.addEventListener("input", () => {
          const digit = Number(input.value);
          cells[at] = Number.isInteger(digit) && digit >= 1 && digit <= side ? digit : 0;
          restart();
        });
        input.addEventListener("focus", () => input.select());
        input.addEventListener("keydown", (event) => {
          const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -side, ArrowDown: side }[event.key];
          const next = step && lab.byId("think-cell-" + (at + step));
          if (next) { next.focus(); event.preventDefault(); }
        });
        board.append(input);
      }
    }

    function restart() {
      stop();
      const givens = new Int8Array(side ** 3);
      cells.forEach((digit, at) => { if (digit) givens[at * side + digit - 1] = 1; });
      search = lab.core.puzzle.search(network(side), givens, 2);
      log = [];
      guesses = retractions = 0;
      over = false;
      last = forced = null;
      lab.bar.reset("E(s)", "violated so far");
      lab.bar.push(lab.core.puzzle.energy(network(side), Int8Array.from(givens, (v) => 2 * v)));
      const many = cells.filter(Boolean).length;
      lab.say("think-status", (many === 1 ? "1 given" : many + " givens") + ". Let it think.");
      lab.say("think-python", "");
      paint();
      if (python) askPython();
    }

    const proposition = (unit, is = " is ") => {
      const cell = Math.floor(unit / side);
      return "row " + (Math.floor(cell / side) + 1) + " column " + ((cell % side) + 1) + is + ((unit % side) + 1);
    };

    // One thought; tells whether there is more to think.
    function step(quiet) {
      if (over) return false;
      const { value, done } = search.next();
      if (done || guesses + retractions > MOST) {
        over = true;
        finish(value);
        return false;
      }
      last = value;
      if (value.kind === "settled") {
        forced = Int8Array.from(value.state);
        log.push([0, "settle what is forced"]);
      } else if (value.kind === "guess") {
        guesses += 1;
        log.push([value.depth - 1, "guess " + proposition(value.unit)]);
      } else if (value.kind === "retraction") {
        retractions += 1;
        log.push([value.depth, (value.found ? "look further: " : "retract: ") + proposition(value.unit, " is not ")]);
      } else log.push([value.depth, "a solution, energy 0"]);
      lab.bar.push(lab.core.puzzle.energy(network(side), value.state), guesses + " guesses, " + retractions + " retracted");
      if (!quiet) paint();
      return true;
    }

    function finish(end) {
      const counts = guesses + " guesses, " + retractions + " retractions";
      let text;
      if (!end) text = "Unsure: the budget of " + MOST + " thoughts is spent.";
      else if (!end.found) text = "Contradictory: no board obeys these givens. " + counts + ".";
      else if (end.complete && end.found === 1) text = "Sure: energy 0, and the search left no other solution. " + counts + ".";
      else text = "A solution with energy 0, but not the only one: a second was found. " + counts + ".";
      if (end && end.solution) {
        last = { ...last, state: end.solution };
        lab.bar.push(lab.core.puzzle.energy(network(side), end.solution), counts);
      }
      lab.say("think-status", text);
      paint();
    }

    function run() {
      if (timer !== null) { stop(); return; }
      if (over) restart();
      get("run").textContent = "Pause";
      const slow = lab.draw.reduced();
      const tick = () => {
        // Long searches are shown in larger and larger leaps, all of them where motion is not wished.
        const leap = slow ? MOST : 1 + Math.floor((guesses + retractions) / 25);
        let more = true;
        for (let i = 0; i < leap && more; i++) more = step(i < leap - 1);
        timer = more ? setTimeout(tick, side === 4 ? 500 : 250) : null;
        if (!more) stop();
      };
      timer = setTimeout(tick, 0);
      lab.say("think-status", "Thinking.");
    }
    function stop() {
      clearTimeout(timer);
      timer = null;
      get("run").textContent = "Think";
    }

    function paint() {
      const inputs = get("board").children;
      for (let at = 0; at < side * side; at++) {
        const input = inputs[at], kinds = ["given", "forced", "guessed", "followed"];
        let digit = cells[at], kind = digit ? "given" : "";
        if (!digit && last) {
          for (let k = 0; k < side; k++) if (last.state[at * side + k] === TRUE) digit = k + 1;
          const unit = at * side + digit - 1;
          if (digit) kind = forced && forced[unit] === TRUE ? "forced" : stands(unit) ? "guessed" : "followed";
        }
        input.classList.remove(...kinds);
        if (kind) input.classList.add(kind);
        const shown = digit ? String(digit) : "";
        if (document.activeElement !== input || input.value !== shown) input.value = shown;
        input.setAttribute("aria-label", "row " + (Math.floor(at / side) + 1) + " column " + ((at % side) + 1) +
          (kind ? ", " + kind : ""));
      }
      const list = get("log");
      list.replaceChildren(...log.slice(-SHOWN).map(([depth, text]) => {
        const item = document.createElement("li");
        item.textContent = "· ".repeat(Math.min(depth, 8)) + text;
        return item;
      }));
      list.scrollTop = list.scrollHeight;
    }
    // Whether a guess stands.
    function stands(unit) {
      const stack = [];
      for (const [depth, text] of log) {
        stack.length = Math.min(stack.length, depth);
        if (text.startsWith("guess ")) stack.push(text.slice(6));
      }
      return stack.includes(proposition(unit));
    }

    async function askPython() {
      const asked = cells.join("");
      try {
        const reply = await python.ask("think", "wonder", { side, cells: asked });
        if (asked !== cells.join("")) return;
        lab.say("think-python", "The default order of isinglass, asked in Python: " + reply.status +
          (reply.unique ? ", the only solution" : "") + ", " + reply.guesses + " guesses, " +
          reply.retractions + " retractions. The page takes the first of the smallest group.");
      } catch { lab.say("think-python", ""); }
    }

    PUZZLES.forEach(([name], at) => get("puzzle").append(new Option(name, String(at))));
    get("puzzle").value = "3";
    get("puzzle").addEventListener("change", () => load(Number(get("puzzle").value)));
    get("run").addEventListener("click", run);
    get("step").addEventListener("click", () => { stop(); step(); });
    get("again").addEventListener("click", restart);
    get("empty").addEventListener("click", () => { cells.fill(0); restart(); });

    // ---- the family

    get("facts").textContent = given.family.map(([name, a, b]) => name + "(" + a + "," + b + ")").join(", ");
    given.rules.forEach((rule, at) => {
      const label = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox";
      box.id = "think-rule-" + at;
      box.checked = at < given.rules.length - 1;
      box.addEventListener("change", answer);
      label.append(box, " " + rule);
      get("rules").append(label);
    });
    given.questions.forEach((question, at) => get("question").append(new Option(question, String(at))));
    get("question").addEventListener("change", answer);

    function answer() {
      const choice = given.rules.reduce((sum, _, at) => 2 * sum + (lab.byId("think-rule-" + at).checked ? 1 : 0), 0);
      const reply = given.replies[choice][Number(get("question").value)];
      const found = reply.answers.map((each) => each.words + ", energy " + lab.number(each.energy)).join("; ");
      lab.say("think-answer", reply.answers.length ? (reply.sure ? "Sure: " : "Unsure: ") + found + "." : "Unsure: nothing follows.");
      lab.bar.reset("E of the derivation", "Σ −log p of its rules");
      if (reply.answers.length) lab.bar.push(reply.answers[0].energy);
      const lines = reply.answers.flatMap((each) => each.proof);
      get("proof").replaceChildren(...lines.map(([depth, words, by]) => {
        const item = document.createElement("li");
        item.className = "deep" + Math.min(depth, 4);
        item.innerHTML = "<b></b> <span></span>";
        item.firstChild.textContent = words;
        item.lastChild.textContent = by === "given" ? "given" : "by " + by;
        return item;
      }));
    }

    load(3);
    return { paint, enter: () => { answer(); restart(); }, leave: stop, alone: () => { python = null; lab.say("think-python", ""); } };
  };
})((globalThis.lab ??= {}));
