// One network learns "equal modulo 3" from half of the pairs. Do its points gather, as the theory's repons do, or does the
// decoder learn by heart where they lie?
const TOKENS = 30, MODULUS = 3, STARTS = 60, TESTED = 150, TIME = 0.01; // of the repons, in one update
const SIZES = [4, 20, 20, 20, 1], POINTS = 2 * TOKENS;
const RATIOS = Array.from({ length: 15 }, (_, k) => k / 4);

// All ordered pairs in a random order: the first half is shown, the second is not.
function pairs({ seed }, tools) {
  const u = tools.uniform(seed, 1e6, TOKENS * TOKENS), order = Array.from(u.keys()).sort((a, b) => u[a] - u[b]);
  return order.map((k) => [Math.floor(k / TOKENS), k % TOKENS]);
}
const same = ([i, j]) => Number(i % MODULUS == j % MODULUS);

// Where two repons at slope a and half distance c are after a time, if nothing else moves them (closed form of the flow).
function flow([a, c], slope, distance, time) {
  const pull = distance * a * a, push = 2 * slope * c * c, K = pull - push;
  const grown = (sign) => (Math.abs(K * time) < 1e-9 ? 2 * time : Math.expm1(Math.min(2 * sign * K * time, 500)) / (sign * K));
  return [a / Math.sqrt(1 + push * grown(-1)), c / Math.sqrt(1 + pull * grown(1))];
}

export default {
  title: "Thirty points look for their classes",
  controls: {
    ratio: { label: "Decoder rate over the points’ rate", values: RATIOS, value: 0.5,
      text: (power) => tell(10 ** power, 2) },
  },
  pace: 600,
  until: 6000,

  problem(settings, tools) {
    const shown = pairs(settings, tools).slice(0, (TOKENS * TOKENS) / 2), count = shown.length;
    const points = tools.normal(settings.seed, 2e6, POINTS).map((z) => 0.5 * z);
    const decoder = tools.start(settings.seed, [[1, [SIZES]]]), theta = Float32Array.from([...points, ...decoder]);
    const rate = new Float32Array(theta.length).fill(1).fill(10 ** -settings.ratio, 0, POINTS);
    return { kernel: "embedding", groups: [[1, SIZES]], tokens: TOKENS, dim: 2, mode: "concatenation", pairs: count,
      activation: "tanh", loss: "bce", i: shown.map(([i]) => i), j: shown.map(([, j]) => j), y: shown.map(same),
      w: new Float32Array(count).fill(1 / count), theta, optimiser: { kind: "sgd", rate } };
  },

  begin(settings, tools) {
    const spread = tools.data.spread ?? 1, z = tools.normal(settings.seed, 3e6, 2 * STARTS);
    const repons = Array.from({ length: STARTS }, (_, k) => [Math.abs(z[2 * k]) * spread, Math.abs(z[2 * k + 1])]);
    return { repons, pairs: pairs(settings, tools), paths: Array.from({ length: TOKENS }, () => [[], []]) };
  },

  // Shares of right answers to some pairs that were shown and some that were not, and where the points have been.
  measure({ theta, memory }, tools) {
    const right = (pair) => {
      const at = (k) => [theta[2 * k], theta[2 * k + 1]];
      return Number(tools.forward(SIZES, theta, POINTS, [...at(pair[0]), ...at(pair[1])], "tanh")[0] > 0 == same(pair) > 0);
    };
    const share = (some) => some.reduce((sum, pair) => sum + right(pair), 0) / some.length, half = memory.pairs.length / 2;
    memory.paths.forEach(([xs, ys], k) => {
      xs.push(theta[2 * k]);
      ys.push(theta[2 * k + 1]);
    });
    return { shown: share(memory.pairs.slice(0, TESTED)), hidden: share(memory.pairs.slice(half, half + TESTED)) };
  },

  height: (width) => 270 * View.rows(width, 3, 210),

  draw(view, state, tools) {
    const boxes = view.boxes(3, 210), { memory, history, settings, theta, step } = state, colours = [view.blue, view.red, view.green];
    const places = Array.from({ length: TOKENS }, (_, k) => k), xs = places.map((k) => theta[2 * k]), ys = places.map((k) => theta[2 * k + 1]);
    const reach = 1.1 * Math.max(1, ...xs.map(Math.abs), ...ys.map(Math.abs));
    const plane = view.panel(boxes[0], { x: [-reach, reach], y: [-reach, reach], title: "The network’s points" });
    memory.paths.forEach((path, k) => plane.line(...path, { colour: colours[k % MODULUS], alpha: 0.35, width: 1 }));
    plane.dots(xs, ys, { colour: (k) => colours[k % MODULUS], radius: 4 });
    const slope = 1, distance = 10 ** -settings.ratio, steep = Math.sqrt((2 * slope) / distance), high = 2.5 * (tools.data.spread ?? 1);
    const theory = view.panel(boxes[1], { x: [0, 2.5], y: [0, high], title: "The theory’s repons", xLabel: "half distance c", yLabel: "slope a" });
    theory.line([0, 2.5], [0, 2.5 * steep], { dash: [5, 4] });
    const ends = memory.repons.map((start) => flow(start, slope, distance, TIME * step));
    const meets = memory.repons.map(([a, c]) => a > steep * c);
    memory.repons.forEach((start, k) => {
      const way = [0, 0.01, 0.03, 0.1, 0.3, 1].map((part) => flow(start, slope, distance, part * TIME * step));
      theory.line(way.map(([, c]) => c), way.map(([a]) => a), { colour: meets[k] ? view.blue : view.ochre, alpha: 0.3, width: 1 });
    });
    theory.dots(ends.map(([, c]) => c), ends.map(([a]) => a), { colour: (k) => (meets[k] ? view.blue : view.ochre), radius: 3 });
    view.legend([["meet", view.blue], ["stay apart", view.ochre]], theory.inner.x + 20, theory.inner.y + 10);
    const far = Math.max(500, step), steps = history.map((h) => h.step);
    const answers = view.panel(boxes[2], { x: [0, far], y: [0.3, 1.08], title: "Right answers", xLabel: "updates" });
    answers.line(steps, history.map(({ shown }) => shown), { colour: view.grey, width: 2 });
    answers.line(steps, history.map(({ hidden }) => hidden), { colour: view.red, width: 2 });
    view.legend([["shown", view.grey], ["not shown", view.red]], answers.inner.x + 4, answers.inner.y + answers.inner.height - 8);
    state.meeting = meets.filter(Boolean).length / STARTS;
  },

  summary({ step, history, meeting, settings }) {
    const { shown, hidden } = history.at(-1), percent = (share) => `${Math.round(100 * share)} %`;
    return `After ${step} updates the network answers ${percent(shown)} of the pairs that it was shown, and ${percent(hidden)} of the others. ` +
      `By the theory ${percent(meeting)} of such pairs of points meet at the ratio ${tell(10 ** settings.ratio)}.`;
  },
};
