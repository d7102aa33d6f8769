// Room 3: TicTacToe against a net whose Q is minus a free energy. All of it is computed in the page.
"use strict";
(function (lab) {
  lab.rooms ??= {};
  const LINES = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]];
  const YOU = 1, NET = 2, MARKS = ["", "✕", "○"];

  // The numbers of the net, from their packed form.
  lab.unpackPlayer = function (packed) {
    const layer = (of) => ({ weight: lab.unpack(of.weight), bias: lab.unpack(of.bias) });
    return {
      trunk: packed.trunk.map(layer), keys: layer(packed.keys), fields: lab.unpack(packed.fields),
      bend: lab.unpack(packed.bend), scale: packed.scale, shift: packed.shift, temperature: packed.temperature,
    };
  };

  lab.rooms.play = function (data) {
    const get = (name) => lab.byId("play-" + name), net = lab.unpackPlayer(data.player);
    let board, turn, moves, first, shown = true, timer = null, values, policy;

    const cells = Array.from({ length: 9 }, (_, at) => {
      const button = document.createElement("button");
      button.id = "play-cell-" + at;
      button.addEventListener("click", () => { if (turn === YOU && !board[at] && !over()) mark(at); });
      button.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -3, ArrowDown: 3 }[event.key];
        if (step && cells[at + step]) { cells[at + step].focus(); event.preventDefault(); }
      });
      get("board").append(button);
      return button;
    });

    const line = () => LINES.find(([a, b, c]) => board[a] && board[a] === board[b] && board[a] === board[c]);
    const over = () => line() !== undefined || board.every(Boolean);

    function think() {
      const seen = [turn, 3 - turn].flatMap((who) => board.map((m) => (m === who ? 1 : 0)));
      values = lab.core.freeEnergyQ(net, seen);
      policy = lab.core.softPolicy(values, board.map((m) => !m), net.temperature).policy;
    }
    const best = () => board.reduce((at, m, i) => (!m && (at < 0 || values[i] > values[at]) ? i : at), -1);

    function start(who) {
      clearTimeout(timer);
      board = new Array(9).fill(0);
      moves = [];
      first = turn = who;
      lab.bar.reset("Lowest F of a move", "F = −Q");
      next();
    }

    function mark(at) {
      moves.push({ at, who: turn, q: values[at] });
      board[at] = turn;
      turn = 3 - turn;
      next();
    }

    function next() {
      think();
      paint();
      if (!over()) lab.bar.push(-values[best()], turn === YOU ? "you are to move" : "the net is to move");
      if (over()) {
        const won = line();
        lab.say("play-status", !won ? "A draw." : board[won[0]] === YOU ? "You have won. Well played." : "The net has won.");
      } else if (turn === NET) {
        lab.say("play-status", "The net thinks.");
        timer = setTimeout(() => mark(best()), lab.draw.reduced() ? 0 : 700);
      } else lab.say("play-status", "Your move. The net would mark " + place(best()) + ".");
    }
    const place = (at) => "row " + (Math.floor(at / 3) + 1) + " column " + ((at % 3) + 1);

    function paint() {
      if (!board) return;
      const won = line() || [], ended = over(), top = ended ? -1 : best();
      cells.forEach((button, at) => {
        const free = !board[at] && !ended;
        button.replaceChildren();
        const big = document.createElement("span");
        big.className = board[at] ? "mark" : "q";
        big.textContent = board[at] ? MARKS[board[at]] : free && shown ? lab.number(values[at]).slice(0, 5) : "";
        button.append(big);
        const width = free && shown ? Math.max(0, Math.min(1, (values[at] + 1) / 2)) : 0;
        button.style.backgroundImage = width ? "linear-gradient(var(--own), var(--own))" : "none";
        button.style.backgroundSize = "100% " + (100 * width).toFixed(0) + "%";
        button.classList.toggle("best", shown && at === top);
        button.classList.toggle("won", won.includes(at));
        button.setAttribute("aria-label", place(at) + ", " + (board[at] ? (board[at] === YOU ? "yours" : "the net's")
          : "empty" + (free && shown ? ", Q " + lab.number(values[at]) : "")));
        button.setAttribute("aria-disabled", String(!free || turn !== YOU));
      });
      get("moves").replaceChildren(...moves.map(({ at, who, q }) => {
        const item = document.createElement("li");
        item.textContent = MARKS[who] + " " + place(at) + ", Q " + lab.number(q);
        return item;
      }));
    }

    get("you").addEventListener("click", () => start(YOU));
    get("net").addEventListener("click", () => start(NET));
    get("show").addEventListener("click", () => {
      shown = !shown;
      get("show").setAttribute("aria-pressed", String(shown));
      paint();
    });
    get("back").addEventListener("click", () => {
      clearTimeout(timer);
      do {
        const last = moves.pop();
        if (!last) break;
        board[last.at] = 0;
        turn = last.who;
      } while (turn !== YOU);
      lab.bar.reset("Lowest F of a move", "F = −Q");
      next();
    });

    return {
      paint,
      enter: () => {
        if (!board) { start(YOU); return; }
        lab.bar.reset("Lowest F of a move", "F = −Q");
        next();
      },
      leave: () => clearTimeout(timer),
    };
  };
})((globalThis.lab ??= {}));
