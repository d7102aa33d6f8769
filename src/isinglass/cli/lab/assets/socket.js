// Questions to Python on this machine, over one WebSocket; a page on its own has none.
"use strict";
(function (lab) {
  // Replies are matched to questions by their number: JSON, or numbers as float32 behind it.
  lab.connect = function (url, onLost) {
    const waiting = new Map();
    let number = 0;
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    const lost = (event) => {
      for (const { reject } of waiting.values()) reject(new Error("Python is gone"));
      waiting.clear();
      onLost(event.code);
    };
    socket.onclose = lost;
    socket.onmessage = (event) => {
      if (typeof event.data === "string") {
        const reply = JSON.parse(event.data);
        settle(reply.id, reply, reply.error);
      } else {
        settle(new DataView(event.data).getUint32(0, true), new Float32Array(event.data, 4));
      }
    };
    function settle(id, value, error) {
      const asked = waiting.get(id);
      waiting.delete(id);
      if (asked && error) asked.reject(new Error(error));
      else if (asked) asked.resolve(value);
    }
    function ask(room, what, rest) {
      if (socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error("Python is gone"));
      number += 1;
      const id = number;
      const answer = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
      socket.send(JSON.stringify({ id, room, do: what, ...rest }));
      return answer;
    }
    return new Promise((resolve) => {
      socket.onopen = () => resolve({ ask });
    });
  };

  // Numbers as text: float32, little-endian, base64.
  lab.pack = function (values) {
    const bytes = new Uint8Array(Float32Array.from(values).buffer);
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
  };

  // And back: {type: "f4" or "u1", data: base64}.
  lab.unpack = function (packed) {
    const text = atob(packed.data), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return packed.type === "f4" ? new Float32Array(bytes.buffer) : bytes;
  };
})((globalThis.lab ??= {}));
