// Sixteen networks learn y = x². The picture is the chapter's question: do they make the same error, or one error each?
const R = 2, NETWORKS = 16, POINTS = 32;
const AVERAGES = [1, 2, 4, 8, 16];

// Gauss-Legendre points and weights on [-1, 1], by Newton's method.
function legendre(count) {
  const x = [], w = [];
  for (let k = count; k > 0; k--) {
    let z = Math.cos((Math.PI * (k - 0.25)) / (count + 0.5)), slope;
    for (let turn = 0; turn < 20; turn++) {
      let [before, now] = [1, z];
      for (let n = 2; n <= count; n++) [before, now] = [now, ((2 * n - 1) * z * now - (n - 1) * before) / n];
      slope = (count * (z * now - before)) / (z * z - 1);
      z -= now / slope;
    }
    x.push(z);
    w.push(2 / ((1 - z * z) * slope * slope));
  }
  return [x, w];
}
const [NODES, WEIGHTS] = legendre(POINTS);
const x = Float32Array.from(NODES, (z) => R * z), w = Float32Array.from(WEIGHTS, (weight) => weight / 2);
const P4 = Array.from(NODES, (z) => (35 * z ** 4 - 30 * z ** 2 + 3) / 8); // the W
const product = (a, b) => a.reduce((sum, value, p) => sum + value * b[p] * w[p], 0);

export default {
  title: "Sixteen networks learn a parabola",
  controls: {
    width: { label: "Neurons N of each network", values: [2, 4, 8, 16, 32, 64], value: 16 },
    rate: { label: "Learning rate", values: [3e-4, 1e-3, 3e-3, 1e-2], value: 3e-3 },
    start: { label: "First weights", value: "small", options: [["small: between −0.1 and 0.1", "small"], ["PyTorch’s", "pytorch"]] },
    average: { label: "Average of K networks", values: AVERAGES, value: 16, live: true },
  },
  pace: 500,
  until: 12000,

  problem({ width, rate, start, seed }, tools) {
    const groups = [[NETWORKS, [1, width, 1]]];
    const theta = tools.start(seed, groups.map(([members, sizes]) => [members, [sizes]]), start == "small" ? 0.1 : undefined);
    return { kernel: "mlp", groups, activation: "silu", loss: "mse", points: POINTS, x, y: x.map((v) => v * v), w, theta,
      optimiser: { kind: "adam", rate } };
  },

  // The errors of the networks, the loss of the average of the first K, for each K, and the W's share of the squared error.
  measure(state, tools) {
    const errors = state.members.map(({ sizes, from }) => Array.from(x, (v) => tools.forward(sizes, state.theta, from, [v])[0] - v * v));
    const mean = new Float64Array(POINTS), averages = [];
    let along = 0, all = 0;
    state.means = {};
    errors.forEach((error, m) => {
      error.forEach((e, p) => { mean[p] += e; });
      if (AVERAGES.includes(m + 1)) {
        const part = Array.from(mean, (sum) => sum / (m + 1));
        state.means[m + 1] = part;
        averages.push(product(part, part));
      }
      along += product(error, P4) ** 2 / product(P4, P4);
      all += product(error, error);
    });
    state.errors = errors;
    return { averages, single: all / NETWORKS, share: along / all };
  },

  height: (width) => 260 * View.rows(width, 2),

  draw(view, state) {
    const [left, right] = view.boxes(2), { history, settings, errors } = state, now = history.at(-1), K = settings.average;
    const peak = 1.25 * Math.max(...errors.map((error) => Math.max(...error.map(Math.abs))), 1e-4);
    const power = 10 ** Math.floor(Math.log10(peak)), reach = power * [1, 2, 5, 10].find((k) => k * power >= peak);
    const mean = state.means[K], size = product(mean, P4) / product(P4, P4);
    const panel = view.panel(left, { x: [-R, R], y: [-reach, reach], title: "Their errors f(x) − x²", xLabel: "x" });
    for (const error of errors) panel.line(x, error, { colour: view.blue, alpha: 0.5, width: 1 });
    panel.line(x, P4.map((v) => size * v), { dash: [4, 4], width: 1.5 });
    panel.line(x, mean, { colour: view.red, width: 2.5 });
    panel.legend([["each", view.blue], [`average of ${K}`, view.red], ["the nearest W", view.ink, [4, 4]]]);
    const steps = history.map(({ step }) => step), one = history.map(({ single }) => single);
    const average = history.map(({ averages }) => averages[AVERAGES.indexOf(K)]);
    const low = Math.min(...average, ...one.map((loss) => loss / K)), far = Math.max(1000, now.step);
    const losses = view.panel(right, { x: [0, far], y: [10 ** Math.floor(Math.log10(low)), 10], logY: true,
      title: "Squared error", xLabel: "updates" });
    losses.line(steps, one.map((loss) => loss / K), { dash: [2, 4] });
    losses.line(steps, one, { colour: view.blue, width: 2 });
    losses.line(steps, average, { colour: view.red, width: 2 });
    losses.legend([["one", view.blue], [`average of ${K}`, view.red], [`1/${K} of one`, view.ink, [2, 4]]]);
  },

  summary({ step, losses, history, settings: { average } }) {
    const now = history.at(-1), kept = now.averages[AVERAGES.indexOf(average)] / now.single;
    const percent = (share) => `${Math.round(100 * share)} %`;
    return `After ${step} updates the median loss is ${tell(median(losses))}. The average of ${average} keeps ${percent(kept)} of one ` +
      `network’s; if errors were independent it would keep ${percent(1 / average)}. ${percent(now.share)} of the error is a W.`;
  },
};
