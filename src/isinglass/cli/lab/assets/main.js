// The page: its rooms as tabs, one of them open; each room asks for what it needs when first opened.
"use strict";
(function (lab) {
  const started = {}, FULL = 1013; // of closing a socket: try again later
  lab.byId = (id) => document.getElementById(id);

  lab.say = (id, text) => {
    const place = lab.byId(id);
    if (place.textContent !== text) place.textContent = text;
  };

  function open(name) {
    for (const section of document.querySelectorAll(".room")) {
      const shown = section.id === name;
      if (!shown && !section.hidden && started[section.id]) started[section.id].leave();
      section.hidden = !shown;
    }
    for (const link of document.querySelectorAll("#tabs a")) {
      if (link.hash === "#" + name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (!started[name]) started[name] = lab.rooms[name](lab.data, lab.python);
    started[name].enter();
  }

  function chosen() {
    const name = location.hash.slice(1);
    return name in lab.rooms ? name : Object.keys(lab.rooms)[0];
  }

  function where(text) {
    lab.say("where", text);
  }

  async function start() {
    lab.data = JSON.parse(lab.byId("data").textContent);
    for (const section of document.querySelectorAll(".room")) {
      const link = document.createElement("a");
      link.href = "#" + section.id;
      link.textContent = section.dataset.title;
      const item = document.createElement("li");
      item.append(link);
      lab.byId("tabs").append(item);
    }
    lab.python = null;
    where("Computed by this page itself, but for the plans of the world and the answers of the family, " +
      "which isinglass has computed beforehand.");
    if (lab.data.live) {
      const lost = (code) => {
        lab.python = null;
        where(code === FULL ? "As many pages are open as Python serves. This one computes by itself."
          : "Python has stopped. This page goes on by itself.");
        for (const room of Object.values(started)) if (room.alone) room.alone();
      };
      lab.python = await Promise.race([
        lab.connect("ws://" + location.host + "/socket", lost),
        new Promise((resolve) => setTimeout(resolve, 3000, null)),
      ]);
      if (lab.python) where("Large nets and questions are computed by isinglass in Python, on this machine.");
    }
    addEventListener("hashchange", () => open(chosen()));
    addEventListener("resize", () => { lab.bar.paint(); started[chosen()].paint(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      lab.bar.paint();
      started[chosen()].paint();
    });
    open(chosen());
    document.documentElement.dataset.ready = "yes";
  }

  addEventListener("DOMContentLoaded", start);
})((globalThis.lab ??= {}));
