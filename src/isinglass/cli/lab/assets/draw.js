// Canvases: images of pixels, the energy bar. Colors are read from the style sheet, light or dark.
"use strict";
(function (lab) {
  const draw = (lab.draw = {});

  draw.color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  draw.reduced = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  function rgb(hex) {
    return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  }

  // A canvas as large as it is shown, in the pixels of the screen.
  draw.fit = function (canvas) {
    const ratio = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
    const width = Math.max(1, Math.round(box.width * ratio));
    const height = Math.max(1, Math.round(box.height * ratio));
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, box.width, box.height);
    return { context, width: box.width, height: box.height };
  };

  // Values from 0 (paper) to 1 (ink), one a pixel; `pen` is outlined.
  draw.image = function (canvas, values, side, pen) {
    const paper = rgb(draw.color("--paper")), ink = rgb(draw.color("--stroke"));
    const small = document.createElement("canvas");
    small.width = small.height = side;
    const pixels = new ImageData(side, side);
    for (let i = 0; i < side * side; i++) {
      const share = Math.min(1, Math.max(0, values[i]));
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = paper[c] + share * (ink[c] - paper[c]);
      pixels.data[4 * i + 3] = 255;
    }
    small.getContext("2d").putImageData(pixels, 0, 0);
    const { context, width, height } = draw.fit(canvas);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, width, height);
    if (!pen) return;
    context.strokeStyle = draw.color("--orange");
    context.lineWidth = 2;
    context.strokeRect((pen.x * width) / side, (pen.y * height) / side, width / side, height / side);
  };

  // Shapes beside colors, so that nothing is told by color alone.
  draw.mark = function (context, shape, x, y) {
    context.beginPath();
    if (shape === "circle") context.arc(x, y, 4, 0, 2 * Math.PI);
    else if (shape === "square") context.rect(x - 3.5, y - 3.5, 7, 7);
    else { context.moveTo(x, y - 5); context.lineTo(x + 5, y + 4); context.lineTo(x - 5, y + 4); }
    context.fill();
  };

  // ---- the energy bar ------------------------------------------------------------------------

  const KEPT = 400;
  const bar = (lab.bar = { history: [] });
  let stale = false;

  bar.reset = function (name, note) {
    bar.history = [];
    document.getElementById("bar-name").textContent = name;
    document.getElementById("bar-note").textContent = note || "";
    document.getElementById("bar-value").textContent = "–";
    bar.later();
  };

  bar.push = function (energy, note) {
    bar.history.push(energy);
    if (bar.history.length > KEPT) bar.history.shift();
    document.getElementById("bar-value").textContent = lab.number(energy);
    if (note !== undefined) document.getElementById("bar-note").textContent = note;
    bar.later();
  };

  bar.later = function () {
    if (stale) return;
    stale = true;
    requestAnimationFrame(() => {
      stale = false;
      bar.paint();
    });
  };

  // The line of the last energies on a scale from the lowest to the highest; a ring is where it is.
  bar.paint = function () {
    const canvas = document.getElementById("bar-trace");
    const { context, width, height } = draw.fit(canvas), found = bar.history;
    context.fillStyle = context.strokeStyle = draw.color("--soft");
    context.font = "11px system-ui, sans-serif";
    if (!found.length) return;
    const low = Math.min(...found), high = Math.max(...found), last = found[found.length - 1];
    const left = 52, span = width - left - 12;
    const place = (energy) => 7 + (high > low ? (high - energy) / (high - low) : 0.5) * (height - 14);
    context.fillText(lab.number(high), 0, 11);
    if (high > low) context.fillText(lab.number(low), 0, height - 2);
    context.lineWidth = 1;
    context.strokeRect(left - 4.5, 0.5, width - left + 4, height - 1);
    context.strokeStyle = context.fillStyle = draw.color("--blue");
    context.lineWidth = 2;
    context.beginPath();
    const apart = span / Math.max(60, found.length - 1);
    found.forEach((energy, i) => context.lineTo(left + i * apart, place(energy)));
    context.stroke();
    context.beginPath();
    context.arc(left + (found.length - 1) * apart, place(last), 4.5, 0, 2 * Math.PI);
    context.fill();
    canvas.setAttribute("aria-label", "Energy over the last steps: now " + lab.number(last) +
      ", lowest " + lab.number(low) + ", highest " + lab.number(high));
  };

  lab.number = function (value) {
    if (!Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    const text = size >= 1000 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(3);
    return text.replace("-", "−");
  };
})((globalThis.lab ??= {}));
