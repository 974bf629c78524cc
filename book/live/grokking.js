// A network adds two numbers modulo a small prime, and sees four fifths of the table. When does it understand, and does the
// number of its linear maps (LMN) fall then?
const DIM = 16, WIDTH = 48, SHARE = 0.8, INPUTS = 24, ALONG = 21, EVERY = 25; // updates between two measurements of LMN
const layers = (modulus) => [2 * DIM, WIDTH, WIDTH, modulus];

// All sums in a random order: the first SHARE of them is shown.
function sums({ seed, modulus }, tools) {
  const u = tools.uniform(seed, 1e6, modulus ** 2), order = Array.from(u.keys()).sort((a, b) => u[a] - u[b]);
  return order.map((k) => [Math.floor(k / modulus), k % modulus]);
}

// Eigenvalues of a symmetric matrix, by Jacobi's rotations.
function eigenvalues(A) {
  const n = A.length;
  for (let sweep = 0; sweep < 8; sweep++)
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        if (Math.abs(A[p][q]) < 1e-9) continue;
        const t0 = (A[q][q] - A[p][p]) / (2 * A[p][q]), t = (t0 < 0 ? -1 : 1) / (Math.abs(t0) + Math.hypot(t0, 1));
        const c = 1 / Math.hypot(t, 1), s = t * c;
        for (let k = 0; k < n; k++) [A[k][p], A[k][q]] = [c * A[k][p] - s * A[k][q], s * A[k][p] + c * A[k][q]];
        for (let k = 0; k < n; k++) [A[p][k], A[q][k]] = [c * A[p][k] - s * A[q][k], s * A[p][k] + c * A[q][k]];
      }
  return A.map((row, k) => row[k]);
}
// The matrix L from the first hidden layer to the outputs, between inputs whose second pre-activations are z, and LMN.
function mapsOf(z, theta, at, outputs) {
  const L = z.map(() => new Float64Array(z.length).fill(1)), f = new Float64Array(ALONG), a = new Float64Array(ALONG * WIDTH);
  const mean = (ALONG - 1) / 2, spread = (ALONG * (ALONG ** 2 - 1)) / 12;
  for (let i = 0; i < z.length; i++)
    for (let j = i + 1; j < z.length; j++) {
      for (let k = 0; k < ALONG; k++)
        for (let h = 0; h < WIDTH; h++) {
          const value = z[i][h] + (k / (ALONG - 1)) * (z[j][h] - z[i][h]);
          a[k * WIDTH + h] = value / (1 + Math.exp(-value));
        }
      let total = 0;
      for (let o = 0; o < outputs; o++) {
        let sum = 0, squares = 0, cross = 0;
        for (let k = 0; k < ALONG; k++) {
          let value = 0;
          for (let h = 0; h < WIDTH; h++) value += theta[at + o * WIDTH + h] * a[k * WIDTH + h];
          f[k] = value;
          sum += value;
        }
        for (let k = 0; k < ALONG; k++) {
          squares += (f[k] - sum / ALONG) ** 2;
          cross += (k - mean) * f[k];
        }
        total += cross ** 2 / (spread * squares + 1e-30);
      }
      L[i][j] = L[j][i] = total / outputs;
    }
  const sizes = eigenvalues(L.map((row) => row.slice())).map(Math.abs), all = sizes.reduce((sum, m) => sum + m, 0);
  return [L, 2 ** sizes.reduce((S, m) => S - (m / all) * Math.log2(m / all + 1e-30), 0)];
}

export default {
  title: "A network learns to add, first by heart",
  controls: {
    decay: { label: "Weight decay", values: [0, 0.1, 0.3, 1, 2, 4], value: 1, live: true },
    modulus: { label: "Adds modulo", values: [7, 11, 13, 17, 23], value: 17 },
  },
  pace: 400,
  until: 8000,

  problem(settings, tools) {
    const { modulus, seed, decay } = settings, shown = sums(settings, tools).slice(0, Math.round(SHARE * modulus ** 2));
    const theta = Float32Array.from([...tools.normal(seed, 2e6, modulus * DIM), ...tools.start(seed, [[1, [layers(modulus)]]])]);
    return { kernel: "embedding", groups: [[1, layers(modulus)]], tokens: modulus, dim: DIM, mode: "concatenation",
      pairs: shown.length, activation: "silu", loss: "cross_entropy", i: shown.map(([a]) => a), j: shown.map(([, b]) => b),
      y: Float32Array.from(shown, ([a, b]) => (a + b) % modulus), w: new Float32Array(shown.length).fill(1 / shown.length), theta,
      optimiser: { kind: "adamw", rate: 1e-3, decay } };
  },

  begin(settings, tools) {
    const order = sums(settings, tools), { modulus } = settings, sum = ([a, b]) => (a + b) % modulus;
    return { order, at: -Infinity, looked: order.slice(0, INPUTS).sort((p, q) => sum(p) - sum(q)) };
  },

  measure({ theta, memory, settings: { modulus }, step }, tools) {
    const sizes = layers(modulus), from = modulus * DIM, second = from + parameterCount(sizes.slice(0, 3));
    const run = ([a, b], hidden = []) =>
      tools.forward(sizes, theta, from, [...theta.subarray(a * DIM, (a + 1) * DIM), ...theta.subarray(b * DIM, (b + 1) * DIM)], "silu", hidden);
    const right = ([a, b]) => {
      const out = run([a, b]);
      return Number(out.indexOf(Math.max(...out)) == (a + b) % modulus);
    };
    const share = (some) => some.reduce((sum, pair) => sum + right(pair), 0) / some.length, cut = Math.round(SHARE * modulus ** 2);
    if (step >= memory.at + EVERY || memory.at > step) {
      memory.at = step;
      const last = parameterCount(sizes.slice(0, 2)) + from; // where the second layer begins
      const z = memory.looked.map((pair) => {
        const hidden = [];
        run(pair, hidden);
        return Array.from({ length: WIDTH }, (_, r) =>
          hidden[0].reduce((sum, h, c) => sum + theta[last + r * WIDTH + c] * h, theta[last + WIDTH * WIDTH + r]));
      });
      [memory.L, memory.lmn] = mapsOf(z, theta, second, modulus);
      memory.shown = share(memory.order.slice(0, cut).slice(0, 80));
      memory.hidden = share(memory.order.slice(cut));
    }
    return { shown: memory.shown, hidden: memory.hidden, lmn: memory.lmn };
  },

  height: (width) => 260 * View.rows(width, 3, 210),

  draw(view, { history, memory, step }) {
    const boxes = view.boxes(3, 210), far = Math.max(500, step), steps = history.map((h) => h.step), of = (name) => history.map((h) => h[name]);
    const answers = view.panel(boxes[0], { x: [0, far], y: [0, 1.15], title: "Right answers", xLabel: "updates" });
    answers.line(steps, of("shown"), { colour: view.grey, width: 2 });
    answers.line(steps, of("hidden"), { colour: view.red, width: 2 });
    view.legend([["shown", view.grey], ["not shown", view.red]], answers.inner.x + 4, answers.inner.y + 10);
    const most = Math.max(...of("lmn")) * 1.15;
    const maps = view.panel(boxes[1], { x: [0, far], y: [0, most], title: "Linear maps, LMN", xLabel: "updates" });
    maps.line(steps, of("lmn"), { colour: view.blue, width: 2 });
    const { inner } = view.panel(boxes[2], { x: [0, 1], y: [0, 1], title: `L between ${INPUTS} sums, by answer`, frame: false });
    const cell = Math.min(inner.width, inner.height) / INPUTS;
    memory.L.forEach((row, i) => row.forEach((value, j) =>
      view.rect(inner.x + j * cell, inner.y + i * cell, cell + 0.5, cell + 0.5, { colour: view.blue, alpha: value })));
  },

  summary({ step, history }) {
    const { shown, hidden, lmn } = history.at(-1), percent = (share) => `${Math.round(100 * share)} %`;
    const peak = history.reduce((best, h) => (h.lmn > best.lmn ? h : best));
    return `After ${step} updates it adds ${percent(shown)} of the sums right that it was shown, and ${percent(hidden)} of the others. ` +
      `LMN is ${tell(lmn)}; it was highest, ${tell(peak.lmn)}, after ${peak.step}.`;
  },
};
