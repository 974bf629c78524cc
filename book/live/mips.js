// Eight small recurrent networks learn a rule on bits. Their hidden states gather; states that lie together are one; and a table of
// what follows what is a program.
const NETWORKS = 8, MEMORY = 2, WIDE = 16, SEQUENCES = 128, LENGTH = 10, MOST = 12; // states of a machine that is shown
const F = [MEMORY + 1, WIDE, MEMORY], G = [MEMORY, WIDE, 1];

// A rule is arithmetic on x (the bit), p (the bit before) and s (the last answer): + - * / % & | ^, comparisons, brackets, ! and numbers.
const LEVELS = [["|"], ["^"], ["&"], ["==", "!=", "<", ">", "<=", ">="], ["+", "-"], ["*", "/", "%"]];
const OPERATE = { "|": (a, b) => a | b, "^": (a, b) => a ^ b, "&": (a, b) => a & b, "==": (a, b) => +(a == b), "!=": (a, b) => +(a != b),
  "<": (a, b) => +(a < b), ">": (a, b) => +(a > b), "<=": (a, b) => +(a <= b), ">=": (a, b) => +(a >= b), "+": (a, b) => a + b,
  "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => (b ? Math.floor(a / b) : 0), "%": (a, b) => (b ? ((a % b) + b) % b : 0) };
function ruleOf(text) {
  const tokens = text.match(/\s*(\d+|[a-z]+|[=!<>]=|[-+*/%&|^()<>!]|\S)/g)?.map((t) => t.trim()) ?? [];
  let at = 0;
  const fail = (found = tokens[at]) => { throw new Error(`rule = ${text}: expected arithmetic on x, p and s, not ${found ?? "the end"}`); };
  const unit = () => {
    const token = tokens[at++];
    if (/^\d+$/.test(token)) return () => Number(token);
    if (["x", "p", "s"].includes(token)) return (v) => v[token];
    if (token == "-" || token == "!") {
      const inner = unit();
      return token == "-" ? (v) => -inner(v) : (v) => +!inner(v);
    }
    if (token != "(") fail(token);
    const inner = level(0);
    if (tokens[at++] != ")") fail(tokens[at - 1]);
    return inner;
  };
  const level = (k) => {
    if (k == LEVELS.length) return unit();
    let left = level(k + 1);
    while (LEVELS[k].includes(tokens[at])) {
      const operate = OPERATE[tokens[at++]], one = left, other = level(k + 1);
      left = (v) => operate(one(v), other(v));
    }
    return left;
  };
  const rule = level(0);
  if (at < tokens.length) fail();
  return rule;
}
const written = ({ task, rule }) => (task == "typed" ? rule : task);
function answers(bits, rule) {
  let p = 0, s = 0;
  return Array.from(bits, (x) => {
    s = Math.max(-9, Math.min(9, rule({ x, p, s })));
    p = x;
    return s;
  });
}
function dataOf(settings, tools) {
  const u = tools.uniform(settings.seed, 1e6, SEQUENCES * LENGTH), bits = Float32Array.from(u, (v) => Number(v < 0.5));
  const rule = ruleOf(written(settings)), rows = Array.from({ length: SEQUENCES }, (_, n) => bits.subarray(n * LENGTH, (n + 1) * LENGTH));
  return { x: bits, y: Float32Array.from(rows.flatMap((row) => answers(row, rule))) };
}

// All hidden states of a network on the sequences, its answers to them, and where each came from: [state, bit, state before].
function walk(theta, from, { x }, tools) {
  const states = [[0, 0]], moves = [], outs = [0], second = from + parameterCount(F);
  for (let n = 0; n < SEQUENCES; n++)
    for (let t = 0, before = 0; t < LENGTH; t++) {
      const bit = x[n * LENGTH + t], h = tools.forward(F, theta, from, [...states[before], bit], "relu");
      states.push(Array.from(h));
      outs.push(tools.forward(G, theta, second, h, "relu")[0]);
      moves.push([before, bit, states.length - 1]);
      before = states.length - 1;
    }
  return { states, outs, moves };
}
// Clusters of states that lie within a share of their spread, then the smallest machine with the same answers, or nothing.
function machineOf({ states, outs, moves }) {
  const span = (values) => Math.max(...values) - Math.min(...values), reach = span(states.map(([a]) => a)) + span(states.map(([, b]) => b));
  const centres = [], of = states.map(([a, b]) => {
    let k = centres.findIndex(([c, d]) => Math.abs(a - c) + Math.abs(b - d) < 0.06 * reach + 1e-9);
    if (k < 0) k = centres.push([a, b]) - 1;
    return k;
  });
  if (centres.length > 60) return null;
  const next = centres.map(() => [{}, {}]), say = centres.map(() => ({}));
  moves.forEach(([before, bit, after]) => {
    const row = next[of[before]][bit], answer = Math.round(outs[after]);
    row[of[after]] = (row[of[after]] ?? 0) + 1;
    say[of[after]][answer] = (say[of[after]][answer] ?? 0) + 1;
  });
  const most = (counts) => Object.keys(counts).sort((a, b) => counts[b] - counts[a])[0];
  const answer = say.map((counts, k) => (k == of[0] && most(counts) === undefined ? 0 : Number(most(counts))));
  const go = next.map((row) => row.map((counts) => (most(counts) === undefined ? undefined : Number(most(counts)))));
  let block = answer.map(String), count = 0;
  while (new Set(block).size > count) { // states with one answer and alike successors are one
    count = new Set(block).size;
    block = block.map((name, k) => `${name}|${go[k].map((j) => (j === undefined ? "" : block[j]))}`);
    const names = [...new Set(block)];
    block = block.map((name) => String(names.indexOf(name)));
  }
  const order = [block[of[0]], ...new Set(block)].filter((name, k, all) => all.indexOf(name) == k), number = (k) => order.indexOf(block[k]);
  const nodes = order.map(() => ({ next: [], answer: 0 }));
  go.forEach((row, k) => {
    nodes[number(k)].answer = answer[k];
    row.forEach((j, bit) => { if (j !== undefined) nodes[number(k)].next[bit] = number(j); });
  });
  return nodes.length <= MOST ? { nodes, group: of.map(number) } : null;
}
// Share of answers on fresh sequences, twice as long, that a machine gets right.
function tested({ nodes }, settings, tools) {
  const rule = ruleOf(written(settings)), u = tools.uniform(settings.seed, 2e6, 4000);
  let right = 0;
  for (let n = 0; n < 200; n++) {
    const bits = Array.from(u.subarray(20 * n, 20 * n + 20), (v) => Number(v < 0.5)), truth = answers(bits, rule);
    let state = 0;
    bits.forEach((bit, t) => {
      state = nodes[state]?.next[bit];
      right += Number(nodes[state]?.answer == truth[t]);
    });
  }
  return right / 4000;
}

export default {
  title: "A network learns a rule; its states become a machine",
  controls: {
    task: { label: "Rule", value: "(s + x) % 2", options: [["parity of all bits: (s + x) % 2", "(s + x) % 2"], ["the bit before: p", "p"],
      ["last two bits differ: x ^ p", "x ^ p"], ["ones modulo 3: (s + x) % 3", "(s + x) % 3"], ["has there been a one: s | x", "s | x"],
      ["ones in a row, up to 3: x * (s + (s < 3))", "x * (s + (s < 3))"], ["the one typed below", "typed"]] },
    rule: { label: "Your rule, from bit x, bit before p, last answer s", value: "(s + x) % 2", input: true },
  },
  pace: 300,
  until: 6000,

  problem(settings, tools) {
    const theta = tools.start(settings.seed, [[NETWORKS, [F, G]]]);
    return { kernel: "rnn", members: NETWORKS, transition: F, readout: G, ...dataOf(settings, tools), sequences: SEQUENCES, length: LENGTH,
      activation: "relu", loss: "log", theta, optimiser: { kind: "adam", rate: 3e-3, factor: (step) => Math.max(0.1, 1 - step / 6000) } };
  },

  begin: (settings, tools) => dataOf(settings, tools),

  // The best network, its states, and the machine that they make.
  measure(state, tools) {
    const best = state.losses.indexOf(Math.min(...state.losses)), { memory } = state;
    const found = walk(state.theta, state.members[best].from, memory, tools);
    const right = found.moves.filter(([, , after], k) => Math.round(found.outs[after]) == memory.y[k]).length / found.moves.length;
    Object.assign(state, { found, right, machine: machineOf(found) });
    state.score = state.machine && tested(state.machine, state.settings, tools);
    return { right, best: state.losses[best] };
  },

  height: (width) => 270 * View.rows(width, 3, 210),

  draw(view, { found, machine, history, step, score }) {
    const boxes = view.boxes(3, 210), colours = [view.blue, view.red, view.green, view.ochre, view.pink, view.grey];
    const [xs, ys] = [0, 1].map((k) => found.states.map((h) => h[k])), span = (v) => [Math.min(...v) - 0.1, Math.max(...v) + 0.1];
    const plane = view.panel(boxes[0], { x: span(xs), y: span(ys), title: "States of the best network" });
    plane.dots(xs, ys, { alpha: 0.5, radius: 3, colour: (k) => colours[(machine ? machine.group[k] : Math.abs(Math.round(found.outs[k]))) % 6] });
    const { inner } = view.panel(boxes[1], { x: [0, 1], y: [0, 1], title: machine ? "Its machine" : "No machine of few states yet", frame: false });
    const { nodes } = machine ?? { nodes: [] }, reach = Math.min(inner.width, inner.height) / 2 - 26, count = nodes.length;
    const place = (k) => { const turn = (2 * Math.PI * k) / count - Math.PI / 2, r = count > 1 ? reach : 0;
      return [inner.x + inner.width / 2 + r * Math.cos(turn), inner.y + inner.height / 2 + r * Math.sin(turn)]; };
    nodes.forEach((node, k) => node.next.forEach((j, bit) => {
      const [x, y] = place(k), dash = bit ? [] : [4, 3];
      if (j == k) return view.text(`${bit}↺`, x + 17, y - 12 + 14 * bit);
      const [u, v] = place(j), far = Math.hypot(u - x, v - y), [a, b] = [(u - x) / far, (v - y) / far], side = 5;
      const [x0, y0, x1, y1] = [x + 16 * a - side * b, y + 16 * b + side * a, u - 17 * a - side * b, v - 17 * b + side * a];
      view.line([x0, x1, x1 - 7 * a - 4 * b, x1, x1 - 7 * a + 4 * b], [y0, y1, y1 - 7 * b + 4 * a, y1, y1 - 7 * b - 4 * a], { dash, width: 1.3 });
      view.text(String(bit), x0 + 0.3 * (x1 - x0) - 9 * b, y0 + 0.3 * (y1 - y0) + 9 * a, { align: "center", base: "middle" });
    }));
    view.dots(nodes.map((_, k) => place(k)[0]), nodes.map((_, k) => place(k)[1]), { radius: 14, colour: (k) => colours[k % 6] });
    nodes.forEach(({ answer }, k) => view.text(String(answer), ...place(k), { align: "center", base: "middle", colour: "#fff", bold: true }));
    const losses = view.panel(boxes[2], { x: [0, Math.max(500, step)], y: [1e-6, 3], logY: true, title: "Loss of all eight", xLabel: "updates" });
    for (let m = 0; m < NETWORKS; m++)
      losses.line(history.map((h) => h.step), history.map((h) => Math.max(h.losses[m], 1.2e-6)), { colour: view.blue, width: 1, alpha: 0.6 });
  },

  summary({ step, right, machine, score, settings }) {
    const percent = (share) => `${(100 * share).toFixed(share < 1 && share > 0.99 ? 1 : 0)} %`;
    return `After ${step} updates the best network follows y = ${written(settings)} in ${percent(right)} of all places. ` + (machine
      ? `Its states make a machine of ${machine.nodes.length}; on fresh bits, twice as many, the machine is right in ${percent(score)}.`
      : "Its states do not make a machine of few states yet.");
  },

  // The machine as a table: the program.
  extra(element, api) {
    const table = document.createElement("pre");
    table.tabIndex = 0;
    table.setAttribute("role", "group");
    table.setAttribute("aria-label", "The machine as a program");
    element.append(table);
    return ({ machine }) => {
      const nodes = machine?.nodes;
      table.textContent = nodes ? nodes.map(({ next, answer }, k) => `state ${k}, answer ${String(answer).padStart(2)}:  0 → ${next[0] ?? "–"}  1 → ${next[1] ?? "–"}`).join("\n") : "";
    };
  },
};
