// One network learns two tasks at a price for every weight. The picture is the chapter's question: how many neurons has each?
const HIDDEN = 32, SIDE = 8, PRICE = 3e-4, RATE = 3e-3;
const WEIGHTS = [4, 8, 16, 32, 64, 128, 256];
const line = Array.from({ length: SIDE }, (_, k) => (2 * k + 1) / SIDE - 1);
const x = Float32Array.from(line.flatMap((first) => line.flatMap((second) => [first, second])));
const POINTS = SIDE * SIDE, target = (p, t) => x[2 * p + t] ** 2;

// In these units of the two outputs the plain squared error is the weighted one.
const units = ({ first, second }) => [first, second].map((weight) => Math.sqrt(2 * weight));

// Each neuron of the network: input weights, the share of each output's spread that it makes, and whether it earns its price:
// without it, and with the constant put right, error and price together would be higher.
function neurons(theta, settings) {
  const unit = units(settings), found = [], bias = 2 * HIDDEN, V = 3 * HIDDEN, c = 5 * HIDDEN;
  const hidden = Array.from({ length: HIDDEN }, (_, k) => Array.from({ length: POINTS }, (_, p) => {
    const h = theta[2 * k] * x[2 * p] + theta[2 * k + 1] * x[2 * p + 1] + theta[bias + k];
    return h / (1 + Math.exp(-h));
  }));
  const centred = (values) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / POINTS;
    return values.map((value) => value - mean);
  };
  const errors = [0, 1].map((t) => Array.from({ length: POINTS }, (_, p) => {
    let sum = theta[c + t];
    for (let k = 0; k < HIDDEN; k++) sum += theta[V + t * HIDDEN + k] * hidden[k][p];
    return sum / unit[t] - target(p, t);
  }));
  const losses = errors.map((e) => e.reduce((sum, value) => sum + value * value, 0) / POINTS);
  const rest = errors.map(centred);
  for (let k = 0; k < HIDDEN; k++) {
    const a = centred(hidden[k]), spread = a.reduce((sum, value) => sum + value * value, 0) / POINTS;
    const v = [0, 1].map((t) => theta[V + t * HIDDEN + k] / unit[t]), w = [theta[2 * k], theta[2 * k + 1]];
    let worth = 0;
    for (const t of [0, 1]) {
      const along = a.reduce((sum, value, p) => sum + value * rest[t][p], 0) / POINTS;
      worth += (unit[t] ** 2 / 2) * (v[t] ** 2 * spread - 2 * v[t] * along);
    }
    const price = PRICE * [...w, theta[bias + k], ...v].reduce((sum, value) => sum + value * value, 0);
    const makes = v.map((value) => Math.abs(value) * Math.sqrt(spread));
    found.push({ w, makes, owner: worth <= price ? -1 : makes[0] > makes[1] ? 0 : 1 });
  }
  return { found, losses };
}

export default {
  title: "Two tasks compete for thirty-two neurons",
  controls: {
    first: { label: "Weight of task 1, y₁ = x₁²", values: WEIGHTS, value: 64, live: true },
    second: { label: "Weight of task 2, y₂ = x₂²", values: WEIGHTS, value: 16, live: true },
  },
  pace: 1500,
  until: 20000,

  problem(settings, tools) {
    const unit = units(settings), sizes = [2, HIDDEN, 2];
    const theta = tools.start(settings.seed, [[1, [sizes]]], 0.3);
    const rate = new Float32Array(theta.length).fill(RATE), decay = new Float32Array(theta.length).fill(2 * PRICE);
    for (let t = 0; t < 2; t++) {
      const c = 5 * HIDDEN + t;
      for (let k = 0; k < HIDDEN; k++) {
        const v = (3 + t) * HIDDEN + k;
        theta[v] *= unit[t];
        rate[v] *= unit[t];
        decay[v] /= unit[t] ** 2;
      }
      [rate[c], decay[c]] = [RATE * unit[t], 0];
    }
    const y = Float32Array.from({ length: 2 * POINTS }, (_, k) => target(k >> 1, k % 2) * unit[k % 2]);
    return { kernel: "mlp", groups: [[1, sizes]], activation: "silu", loss: "mse", points: POINTS, x, y, theta,
      optimiser: { kind: "adam", rate, decay, eps: 1e-12 } };
  },

  measure(state) {
    const { found, losses } = neurons(state.theta, state.settings);
    state.found = found;
    return { counts: [0, 1].map((t) => found.filter(({ owner }) => owner == t).length), tasks: losses };
  },

  height: (width) => 300 * View.rows(width, 2),

  draw(view, state) {
    const [left, right] = view.boxes(2), { history, found } = state, colours = [view.blue, view.red];
    const reach = Math.max(1.2, ...found.flatMap(({ w }) => w.map(Math.abs))) * 1.1;
    const plane = view.panel(left, { x: [-reach, reach], y: [-reach, reach], title: "The neurons", yLabel: "weight of x₂", xLabel: "weight of x₁" });
    plane.line([-reach, reach], [0, 0], { width: 1, alpha: 0.5 });
    plane.line([0, 0], [-reach, reach], { width: 1, alpha: 0.5 });
    const most = Math.max(...found.flatMap(({ makes }) => makes), 1e-3);
    plane.dots(found.map(({ w }) => w[0]), found.map(({ w }) => w[1]), { alpha: 0.75,
      colour: (k) => colours[found[k].owner] ?? view.grey, radius: (k) => 2.5 + 7 * Math.sqrt(Math.max(...found[k].makes) / most) });
    const far = Math.max(1000, history.at(-1).step), steps = history.map(({ step }) => step);
    const most2 = Math.max(8, ...history.flatMap(({ counts }) => counts));
    const counts = view.panel(right, { x: [0, far], y: [0, 1.15 * most2], title: "Neurons that earn their price", xLabel: "updates" });
    for (const t of [1, 0]) counts.line(steps, history.map((h) => h.counts[t]), { colour: colours[t], width: 2 });
    view.legend([["task 1", view.blue], ["task 2", view.red], ["none", view.grey]], counts.inner.x + 4, counts.inner.y + 10);
  },

  summary({ step, history }) {
    const { counts, tasks } = history.at(-1), idle = HIDDEN - counts[0] - counts[1];
    return `After ${step} updates task 1 has ${counts[0]} neurons and the error ${tell(tasks[0])}, task 2 has ${counts[1]} and ` +
      `${tell(tasks[1])}; ${idle} neurons are not worth their price.`;
  },
};
