// Room 4: a Transformer of two layers and eight heads, all in the page.
"use strict";
(function (lab) {
  lab.rooms ??= {};
  const A = "a".charCodeAt(0), MOST = 32, LETTERS = 26, SHOWN = 5;

  lab.unpackTransformer = function (packed) {
    const layers = packed.layers.map((layer) =>
      Object.fromEntries(Object.entries(layer).map(([name, values]) => [name, lab.unpack(values)])));
    return {
      width: packed.width, heads: packed.heads, layers, letters: lab.unpack(packed.letters),
      places: lab.unpack(packed.places), readout: lab.unpack(packed.readout),
    };
  };

  lab.rooms.attend = function (data) {
    const get = (name) => lab.byId("attend-" + name), net = lab.unpackTransformer(data.transformer);
    const random = lab.core.generator(Date.now()), named = [];
    let letters = [], found = null, at = 0;

    const letter = (number) => String.fromCharCode(A + number);
    const temperature = () => 0.05 * 400 ** (Number(get("temperature").value) / 100); // 0.05, 1, 20
    const head = () => {
      const [layer, number] = get("head").value.split(".").map(Number);
      return found.layers[layer][number];
    };

    // What each head does, by its mean weight on sequences that repeat, at T = 1: on the letter
    // before, and on the letter that followed the same letter before.
    function nameHeads() {
      const rows = Array.from({ length: 8 }, () => sequence(10));
      net.layers.forEach((_, layer) => {
        for (let number = 0; number < net.heads; number++) {
          let before = 0, after = 0, many = 0;
          for (const row of rows) {
            const { weights } = lab.core.transformer(net, row, 1).layers[layer][number];
            for (let i = 20; i < row.length; i++) {
              before += weights[i][i - 1];
              after += weights[i][i - 9];
              if (i >= 19) after += weights[i][i - 19];
              many += 1;
            }
          }
          const what = before / many > 0.5 ? "the letter before" : after / many > 0.5 ? "what followed before" : "a blend";
          named.push([layer + "." + number, what]);
          get("head").append(new Option("layer " + (layer + 1) + " head " + (number + 1) + ": " + what, layer + "." + number));
        }
      });
      const induction = named.findLast(([, what]) => what === "what followed before");
      get("head").value = (induction || named[named.length - 1])[0];
    }
    // `period` different letters, again and again.
    function sequence(period) {
      const bag = Array.from({ length: LETTERS }, (_, i) => i), some = [];
      for (let i = 0; i < period; i++) some.push(bag.splice(random.below(bag.length), 1)[0]);
      return Array.from({ length: MOST }, (_, i) => some[i % period]);
    }

    function read() {
      letters = Array.from(get("text").value.toLowerCase()).map((c) => c.charCodeAt(0) - A).filter((n) => n >= 0 && n < LETTERS);
      letters = letters.slice(0, MOST);
      at = Math.max(0, letters.length - 1);
      update();
    }

    function update(quiet) {
      const T = temperature();
      get("temperature-value").textContent = T.toPrecision(2);
      get("temperature").setAttribute("aria-valuetext", T.toPrecision(2));
      if (!letters.length) { found = null; lab.say("attend-status", "Type some letters."); paint(); return; }
      found = lab.core.transformer(net, letters, T);
      const right = letters.slice(1).filter((next, i) => lab.core.largest(found.logits[i], 1)[0] === next).length;
      if (!quiet) lab.say("attend-status", right + " of " + (letters.length - 1) + " next letters foretold at T = " + T.toPrecision(2) + ".");
      showEnergy();
      paint();
    }

    // A head at T is the modern net of its keys at β = 1/(√d T).
    function showEnergy() {
      const { queries, keys } = head(), rows = Float64Array.from(keys.slice(0, at + 1).flatMap((key) => [...key]));
      const beta = 1 / (Math.sqrt(queries[at].length) * temperature());
      lab.bar.push(lab.core.modern(rows, queries[at], beta).energy, "T = " + temperature().toPrecision(2));
    }
    function fresh() {
      lab.bar.reset("E(q) of the head", "at the letter that looks");
      update();
    }

    function paint() {
      const canvas = get("map");
      const { context, width } = lab.draw.fit(canvas), n = letters.length;
      if (!found) { get("row").replaceChildren(); get("next").replaceChildren(); return; }
      const { weights } = head(), size = (width - 18) / n;
      context.font = Math.min(13, Math.max(7, size * 0.8)) + "px ui-monospace, monospace";
      context.textAlign = "center";
      context.textBaseline = "middle";
      for (let i = 0; i < n; i++) {
        context.globalAlpha = 1;
        context.fillStyle = lab.draw.color("--ink");
        context.fillText(letter(letters[i]), 8, 18 + (i + 0.5) * size);
        context.fillText(letter(letters[i]), 18 + (i + 0.5) * size, 8);
        context.fillStyle = lab.draw.color("--blue");
        for (let j = 0; j <= i; j++) {
          context.globalAlpha = Math.sqrt(weights[i][j]);
          context.fillRect(18 + j * size, 18 + i * size, size, size);
        }
      }
      context.globalAlpha = 1;
      context.strokeStyle = lab.draw.color("--orange");
      context.lineWidth = 2;
      context.strokeRect(17, 18 + at * size, (at + 1) * size + 2, size);

      const shown = letters.map((number, i) => {
        const cell = document.createElement("span"), weight = i <= at ? weights[at][i] : 0;
        cell.textContent = letter(number);
        cell.className = i === at ? "looks" : "";
        cell.style.borderBottomWidth = 2 + Math.round(14 * weight) + "px";
        cell.style.borderBottomColor = weight > 0.02 ? lab.draw.color("--blue") : "transparent";
        return cell;
      });
      get("row").replaceChildren(...shown);
      const [best] = lab.core.largest(weights[at], 1);
      const told = "'" + letter(letters[at]) + "' at place " + (at + 1) + " looks most at '" + letter(letters[best]) +
        "' at place " + (best + 1) + ", weight " + Math.round(100 * weights[at][best]) + " %";
      canvas.setAttribute("aria-label", "Attention of the head: " + told + ". Arrow up and down choose the letter that looks.");

      const { weights: chances } = lab.core.softmax(found.logits[at], 1);
      get("next").replaceChildren(...lab.core.largest(chances, SHOWN).map((number) => {
        const item = document.createElement("li");
        item.innerHTML = '<b></b><span class="meter" aria-hidden="true"><span></span></span><span></span>';
        item.children[0].textContent = letter(number) + (letters[at + 1] === number ? " ✓" : "");
        item.children[1].firstChild.style.width = (100 * chances[number]).toFixed(1) + "%";
        item.children[2].textContent = Math.round(100 * chances[number]) + " %";
        return item;
      }));
    }

    function look(next) {
      if (next < 0 || next >= letters.length) return;
      at = next;
      fresh();
    }
    get("map").addEventListener("click", (event) => {
      const box = get("map").getBoundingClientRect();
      look(Math.floor(((event.clientY - box.top - 18) / (box.height - 18)) * letters.length));
    });
    get("map").addEventListener("keydown", (event) => {
      const move = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move) return;
      event.preventDefault();
      look(at + move);
    });
    get("text").addEventListener("input", () => { lab.bar.reset("E(q) of the head", "at the letter that looks"); read(); });
    get("temperature").addEventListener("input", () => update());
    get("head").addEventListener("change", fresh);
    get("trained").addEventListener("click", () => { get("temperature").value = "50"; update(); });
    get("random").addEventListener("click", () => {
      get("text").value = sequence(5 + random.below(8)).map(letter).join("");
      lab.bar.reset("E(q) of the head", "at the letter that looks");
      read();
    });
    nameHeads();
    return { paint, enter: () => { lab.bar.reset("E(q) of the head", "at the letter that looks"); read(); }, leave: () => {} };
  };
})((globalThis.lab ??= {}));
