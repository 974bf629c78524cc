// Two networks of 36 units learn four small tasks and pay for wire: one leaves its units where they are, in the other two units
// change places where that shortens the wires. Does a map grow?
const SIDE = 6, UNITS = SIDE * SIDE, PLACES = 4, INPUTS = 1 + 2 * PLACES + 4, OUTPUTS = 1 + 2 * PLACES;
const TRIALS = 24, LENGTH = 6, NOISE = 0.05, MEMBERS = 2; // member 1 exchanges
const TASKS = ["left, there", "left, opposite", "right, there", "right, opposite"]; // which hand points, and where to
const U = UNITS * UNITS, B = U + UNITS * INPUTS, V = B + UNITS, C = V + OUTPUTS * UNITS, COUNT = C + OUTPUTS;

const ring = (x, y, reach) => Array.from({ length: PLACES }, (_, k) =>
  [x + reach * Math.cos((Math.PI * k) / 2), y + reach * Math.sin((Math.PI * k) / 2)]);
const SHEET = Array.from({ length: UNITS }, (_, k) => [((k % SIDE) + 0.5) / SIDE, (Math.floor(k / SIDE) + 0.5) / SIDE]);
const SOURCES = [[0.5, 0.5], ...ring(0.25, 0.5, 0.2), ...ring(0.75, 0.5, 0.2), ...TASKS.map((_, k) => [(k + 0.5) / 4, 0])];
const TARGETS = [[0.5, 0.5], ...ring(0.25, 0.75, 0.15), ...ring(0.75, 0.75, 0.15)];
const apart = ([a, b], [c, d]) => Math.abs(a - c) + Math.abs(b - d);
const D = SHEET.map((p) => SHEET.map((q) => apart(p, q))), IN = SHEET.map((p) => SOURCES.map((q) => apart(p, q)));
const OUT = TARGETS.map((p) => SHEET.map((q) => apart(p, q)));

// Trials of given tasks and directions: wait while the first input burns, then point with the hand and to the place that the rule asks for.
function trialsOf(tasks, places) {
  const count = tasks.length, x = new Float32Array(LENGTH * count * INPUTS), y = new Float32Array(LENGTH * count);
  for (let t = 0; t < LENGTH; t++)
    tasks.forEach((task, n) => {
      const at = (t * count + n) * INPUTS, go = t == LENGTH - 1;
      x[at] = Number(!go);
      if (t >= 1 && t <= 3) x[at + 1 + (task >> 1) * PLACES + places[n]] = 1;
      x[at + 1 + 2 * PLACES + task] = 1;
      y[t * count + n] = go ? 1 + (task >> 1) * PLACES + ((places[n] + 2 * (task % 2)) % PLACES) : 0;
    });
  return { counts: Array(LENGTH).fill(count), x, y };
}
const EXAM = Array.from({ length: 4 * PLACES }, (_, k) => [Math.floor(k / PLACES), k % PLACES]);
const exam = trialsOf(EXAM.map(([task]) => task), EXAM.map(([, place]) => place));

// How much each unit's state varies over the trials of each task, and the share of the trials answered right.
function portrait(theta) {
  const count = EXAM.length, states = [];
  let h = Array.from({ length: count }, () => new Float64Array(UNITS));
  for (let t = 0; t < LENGTH; t++) {
    h = h.map((before, n) => Float64Array.from({ length: UNITS }, (_, i) => {
      let sum = theta[B + i];
      for (let j = 0; j < UNITS; j++) sum += theta[i * UNITS + j] * before[j];
      for (let k = 0; k < INPUTS; k++) sum += theta[U + i * INPUTS + k] * exam.x[(t * count + n) * INPUTS + k];
      return Math.max(sum, 0);
    }));
    states.push(h);
  }
  const right = h.filter((state, n) => {
    const out = Array.from({ length: OUTPUTS }, (_, o) => state.reduce((sum, v, j) => sum + theta[V + o * UNITS + j] * v, theta[C + o]));
    return out.indexOf(Math.max(...out)) == exam.y[(LENGTH - 1) * count + n];
  }).length / count;
  const variance = Array.from({ length: UNITS }, (_, i) => TASKS.map((_, task) => {
    let total = 0;
    for (const at of states) {
      const own = at.slice(task * PLACES, (task + 1) * PLACES).map((state) => state[i]), mean = own.reduce((a, b) => a + b) / PLACES;
      total += own.reduce((sum, v) => sum + (v - mean) ** 2, 0);
    }
    return total;
  }));
  return { right, variance };
}
// Σ |w| d over all wires of a network.
function wire(theta) {
  let sum = 0;
  for (let i = 0; i < UNITS; i++) {
    for (let j = 0; j < UNITS; j++) sum += Math.abs(theta[i * UNITS + j]) * D[i][j];
    for (let k = 0; k < INPUTS; k++) sum += Math.abs(theta[U + i * INPUTS + k]) * IN[i][k];
    for (let o = 0; o < OUTPUTS; o++) sum += Math.abs(theta[V + o * UNITS + i]) * OUT[o][i];
  }
  return sum;
}
// Seats [unit in slot 0, in slot 1, …] after up to six exchanges of the pair whose exchange shortens the wires most.
function seats(theta) {
  const seat = SHEET.map((_, k) => k), S = seat.map((i) => seat.map((j) => (i == j ? 0 : Math.abs(theta[i * UNITS + j]) + Math.abs(theta[j * UNITS + i]))));
  const ends = (unit, slot) => { // wires of a unit to inputs and outputs, if it sat in a slot
    let sum = 0;
    for (let k = 0; k < INPUTS; k++) sum += Math.abs(theta[U + unit * INPUTS + k]) * IN[slot][k];
    for (let o = 0; o < OUTPUTS; o++) sum += Math.abs(theta[V + o * UNITS + unit]) * OUT[o][slot];
    return sum;
  };
  const L = seat.map((unit) => seat.map((slot) => ends(unit, slot)));
  for (let round = 0; round < 6; round++) {
    const C = seat.map((unit) => SHEET.map((_, slot) => L[unit][slot] + seat.reduce((sum, other, at) => sum + S[unit][other] * D[slot][at], 0)));
    let best = -1e-6, pair;
    for (let a = 0; a < UNITS; a++)
      for (let b = 0; b < a; b++) {
        const gain = C[a][b] + C[b][a] - C[a][a] - C[b][b] + 2 * S[seat[a]][seat[b]] * D[a][b];
        if (gain < best) [best, pair] = [gain, [a, b]];
      }
    if (!pair) break;
    const [a, b] = pair;
    [seat[a], seat[b]] = [seat[b], seat[a]];
  }
  return seat;
}

export default {
  title: "Thirty-six units pay for their wires",
  controls: {
    price: { label: "Price λ of wire", values: [0, 3e-5, 1e-4, 3e-4, 1e-3], value: 1e-4, live: true },
    distance: { label: "How much distance counts, A", values: [0, 1, 3, 10], value: 3, live: true },
  },
  pace: 200,
  until: 3000,
  every: 20,

  problem({ seed, price, distance }, tools) {
    const start = tools.normal(seed, 0, COUNT), one = new Float32Array(COUNT), prices = new Float32Array(COUNT).fill(price);
    for (let i = 0; i < UNITS; i++) {
      one[i * UNITS + i] = 0.5;
      for (let j = 0; j < UNITS; j++) prices[i * UNITS + j] *= 1 + distance * D[i][j];
      for (let k = 0; k < INPUTS; k++) prices[U + i * INPUTS + k] *= 1 + distance * IN[i][k];
      for (let o = 0; o < OUTPUTS; o++) prices[V + o * UNITS + i] *= 1 + distance * OUT[o][i];
    }
    for (let k = U; k < B; k++) one[k] = start[k] / Math.sqrt(INPUTS);
    for (let k = V; k < C; k++) one[k] = start[k] / Math.sqrt(UNITS);
    const twice = (array) => Float32Array.from([...array, ...array]);
    const trials = (step) => {
      const at = 1e7 + (step ?? 1e6) * 1e4, u = tools.uniform(seed, at, 2 * TRIALS);
      const drawn = trialsOf(Array.from({ length: TRIALS }, (_, n) => Math.floor(4 * u[2 * n])), Array.from({ length: TRIALS }, (_, n) => Math.floor(PLACES * u[2 * n + 1])));
      return { ...drawn, noise: Float32Array.from(tools.normal(seed, at + 1000, LENGTH * TRIALS * UNITS), (z) => NOISE * z) };
    };
    return { kernel: "rate", members: MEMBERS, units: UNITS, inputs: INPUTS, outputs: OUTPUTS, trials, price: twice(prices), theta: twice(one),
      optimiser: { kind: "adam", rate: 3e-3, clip: 1 } };
  },

  // In the second network units change places.
  permute(theta, step, first, { price, distance }) {
    const at = (1 - first) * COUNT;
    if (at < 0 || at >= theta.length || !price || !distance) return;
    const seat = seats(theta.subarray(at, at + COUNT)), order = Int32Array.from(theta.keys());
    for (let i = 0; i < UNITS; i++) {
      for (let j = 0; j < UNITS; j++) order[at + i * UNITS + j] = at + seat[i] * UNITS + seat[j];
      for (let k = 0; k < INPUTS; k++) order[at + U + i * INPUTS + k] = at + U + seat[i] * INPUTS + k;
      for (let o = 0; o < OUTPUTS; o++) order[at + V + o * UNITS + i] = at + V + o * UNITS + seat[i];
      order[at + B + i] = at + B + seat[i];
    }
    return order;
  },

  measure(state) {
    state.looks = [0, 1].map((m) => {
      const theta = state.theta.subarray(m * COUNT, (m + 1) * COUNT);
      return { theta, wire: wire(theta), ...portrait(theta) };
    });
    return { wires: state.looks.map((look) => look.wire), right: state.looks.map((look) => look.right) };
  },

  height: (width) => 270 * View.rows(width, 3, 210),

  draw(view, { looks, history, step }) {
    const boxes = view.boxes(3, 210), names = ["Units stay", "Units exchange"], colours = [view.ochre, view.green];
    looks.forEach(({ theta, variance }, m) => {
      const panel = view.panel(boxes[m], { x: [0, 1], y: [0, 1], title: names[m], frame: false });
      const found = [];
      for (let i = 0; i < UNITS; i++) for (let j = 0; j < i; j++) found.push([Math.max(Math.abs(theta[i * UNITS + j]), Math.abs(theta[j * UNITS + i])), i, j]);
      for (const [size, i, j] of found.filter(([size]) => size > 0.03).sort((a, b) => b[0] - a[0]).slice(0, 120))
        panel.line([SHEET[i][0], SHEET[j][0]], [SHEET[i][1], SHEET[j][1]], { alpha: Math.min(0.7, size), width: 1 + 2 * Math.min(1, size) });
      const left = variance.map((v) => v[0] + v[1]), all = variance.map((v, i) => left[i] + v[2] + v[3]), most = Math.max(...all, 1e-9);
      panel.dots(SHEET.map(([x]) => x), SHEET.map(([, y]) => y), {
        colour: (i) => (all[i] < 1e-3 ? view.grey : left[i] > 0.75 * all[i] ? view.blue : left[i] < 0.25 * all[i] ? view.red : view.pink),
        radius: (i) => 3 + 7 * Math.sqrt(all[i] / most) });
    });
    const steps = history.map((h) => h.step), far = Math.max(500, step), high = Math.max(...history.slice(-400).flatMap(({ wires }) => wires));
    const panel = view.panel(boxes[2], { x: [0, far], y: [0, 1.2 * high], title: "Wire, strength × length", xLabel: "updates" });
    [0, 1].forEach((m) => panel.line(steps, history.map(({ wires }) => wires[m]), { colour: colours[m], width: 2 }));
    view.legend([["stay", view.ochre], ["exchange", view.green]], panel.inner.x + 4, panel.inner.y + 10);
  },

  summary({ step, history }) {
    const { wires, right } = history.at(-1), percent = (share) => `${Math.round(100 * share)} %`;
    return `After ${step} updates the network whose units stay has ${tell(wires[0])} of wire and answers ${percent(right[0])} right; with exchanges it is ` +
      `${tell(wires[1])} and ${percent(right[1])}. Blue units work for the left hand, red for the right, pink for both, grey for none.`;
  },
};
