// A trained hypernetwork, as the chapter has it, makes networks for the L1 norm in this page. What do they look like at a price, how
// much do two of them agree, and which algorithm do they run?
const N = 16, SLOTS = 3, H = SLOTS * N, CODE = 6, CHANNELS = 16, POINTS = 200, [LOW, HIGH] = [-7, 0];
const PRICES = Array.from({ length: 29 }, (_, k) => LOW + k / 4);
const LABELS = ["double-sided", "pudding", "convexity", "none of these"];
const Z = CODE + 2, SHAPES = { Q: [Z, 12], E0: [7, CHANNELS], U0: [Z, CHANNELS], V0: [Z, CHANNELS], b0: [CHANNELS], G: [2, CHANNELS],
  E1: [CHANNELS, CHANNELS], A: [CHANNELS, CHANNELS], B: [CHANNELS, CHANNELS], C: [CHANNELS, CHANNELS], V1: [Z, CHANNELS], b1: [CHANNELS],
  w: [CHANNELS], wb: [1], l0: [1], wv: [CHANNELS], l1: [1] };
const silu = (v) => v / (1 + Math.exp(-v));
const times = (rows, depth, columns, a, b) => { // (rows, depth) times the first `depth` rows of b, (…, columns)
  const out = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++)
    for (let k = 0; k < depth; k++) for (let c = 0; c < columns; c++) out[r * columns + c] += a[r * depth + k] * b[k * columns + c];
  return out;
};
const means = (e, over, kept) => { // of e (h, n, channels), over its inputs or its neurons
  const out = new Float64Array((kept == "rows" ? H : N) * CHANNELS);
  for (let j = 0; j < H; j++) for (let i = 0; i < N; i++) for (let c = 0; c < CHANNELS; c++)
    out[(kept == "rows" ? j : i) * CHANNELS + c] += e[(j * N + i) * CHANNELS + c] / over;
  return out;
};

// The network that a hypernetwork makes at a price from addresses (n, 6) and noise: weights W (h, n), w (h), and the rule's nats.
function generate(data, member, power, addresses, noise) {
  const own = (name, count) => data[name].values.subarray(member * count, (member + 1) * count);
  const count = data.base.shape[1], base = own("base", count), turn = own("turn", 6 * count), rate = own("rate", 6), shift = own("shift", 6);
  const u = (2 * (power - LOW)) / (HIGH - LOW) - 1, phi = Array.from(rate, (r, k) => Math.tanh(u * r + shift[k]));
  const turned = (start, by, size) => Float64Array.from(start, (v, k) => phi.reduce((sum, f, j) => sum + f * by[j * size + k], v));
  const theta = turned(base, turn, count), p = {};
  let at = 0;
  for (const [name, shape] of Object.entries(SHAPES)) p[name] = theta.subarray(at, (at += shape.reduce((a, b) => a * b)));
  const capacity = turned(own("open", 14), own("close", 84), 14).map((v) => Math.log1p(Math.exp(3 * v)) / 3);
  const signal = capacity.map((c) => Math.sqrt(Math.max(1 - Math.exp(-2 * c), 1e-9))), blur = capacity.map((c) => Math.exp(-c));
  const nats = capacity.reduce((sum, c, k) => sum + c * (k < CODE ? N : H), 0);

  const [slots, edges] = [(N + H) * CODE, (N + H) * CODE + 2 * H];
  const zIn = Float64Array.from({ length: N * CODE }, (_, k) => signal[k % CODE] * addresses[k] + blur[k % CODE] * noise[k]);
  const zHid = new Float64Array(H * Z);
  for (let j = 0; j < H; j++)
    for (let k = 0; k < Z; k++) {
      const turnAt = (2 * Math.PI * Math.floor(j / N)) / SLOTS;
      const clean = k < CODE ? addresses[(j % N) * CODE + k] : Math.SQRT2 * (k == CODE ? Math.cos(turnAt) : Math.sin(turnAt));
      const drawn = k < CODE ? noise[(N + j) * CODE + k] : noise[slots + 2 * j + k - CODE];
      zHid[j * Z + k] = signal[CODE + k] * clean + blur[CODE + k] * drawn;
    }
  const query = times(H, Z, 12, zHid, p.Q), key = times(N, CODE, 12, zIn, p.Q), features = new Float64Array(H * N * 7);
  for (let head = 0; head < 2; head++) {
    const overIn = new Float64Array(H), overHid = new Float64Array(N), size = new Float64Array(H * N);
    for (let j = 0; j < H; j++)
      for (let i = 0; i < N; i++) {
        let score = 0;
        for (let c = 0; c < CODE; c++) score += query[j * 12 + head * CODE + c] * key[i * 12 + head * CODE + c];
        features[(j * N + i) * 7 + head] = score /= Math.sqrt(CODE);
        overIn[j] += size[j * N + i] = Math.exp(Math.min(score, 80));
        overHid[i] += size[j * N + i];
      }
    for (let j = 0; j < H; j++)
      for (let i = 0; i < N; i++) {
        features[(j * N + i) * 7 + 2 + head] = (4 * size[j * N + i]) / overIn[j];
        features[(j * N + i) * 7 + 4 + head] = (4 * size[j * N + i]) / overHid[i];
      }
  }
  for (let k = 0; k < H * N; k++) features[k * 7 + 6] = noise[edges + k];
  const codes = Float64Array.from({ length: 2 * H }, (_, k) => zHid[(k >> 1) * Z + CODE + (k % 2)]);
  const edge = (product, row, column, gate) => product.forEach((v, k) => { // e (h, n, channels)
    const c = k % CHANNELS, j = Math.floor(k / CHANNELS / N), i = Math.floor(k / CHANNELS) % N;
    product[k] = silu(v + row[j * CHANNELS + c] + column[i * CHANNELS + c]) * (gate ? 1 + gate[j * CHANNELS + c] : 1);
  }) ?? product;
  const plus = (a, b, c) => a.map((v, k) => v + (b ? b[k] : 0) + c[k % CHANNELS]);
  const zero = new Float64Array(CHANNELS);
  let e = edge(times(H * N, 7, CHANNELS, features, p.E0), plus(times(H, Z, CHANNELS, zHid, p.V0), null, p.b0), times(N, CODE, CHANNELS, zIn, p.U0),
    times(H, 2, CHANNELS, codes, p.G));
  const rows = means(e, N, "rows"), all = zero.map((_, c) => rows.reduce((sum, v, k) => sum + (k % CHANNELS == c ? v / H : 0), 0));
  const row = plus(times(H, CHANNELS, CHANNELS, rows, p.A), times(H, Z, CHANNELS, zHid, p.V1), p.b1);
  const column = plus(times(N, CHANNELS, CHANNELS, means(e, H, "columns"), p.B), null, times(1, CHANNELS, CHANNELS, all, p.C));
  e = edge(times(H * N, CHANNELS, CHANNELS, e, p.E1), row, column);
  const W = times(H * N, CHANNELS, 1, e, p.w).map((v) => 2 * Math.exp(3 * p.l0[0]) * (v + p.wb[0]));
  const w = times(H, CHANNELS, 1, means(e, N, "rows"), p.wv).map((v) => Math.exp(3 * p.l1[0]) * (0.3 + v));
  return { W, w, nats };
}

const correlation = (a, b) => {
  const mean = (v) => v.reduce((sum, x) => sum + x, 0) / v.length, [ma, mb] = [mean(a), mean(b)];
  let aa = 0, bb = 0, ab = 0;
  a.forEach((x, k) => { aa += (x - ma) ** 2; bb += (b[k] - mb) ** 2; ab += (x - ma) * (b[k] - mb); });
  return ab / Math.sqrt(aa * bb + 1e-30);
};
// Which algorithm a network runs, as the chapter decides it: every threshold is one half.
function labelOf({ W, w }, other, x) {
  const said = Float64Array.from({ length: POINTS }, (_, p) => {
    let sum = 0;
    for (let j = 0; j < H; j++) {
      let h = 0;
      for (let i = 0; i < N; i++) h += W[j * N + i] * x[p * N + i];
      sum += w[j] * silu(h);
    }
    return sum;
  });
  const norm = (power) => Float64Array.from({ length: POINTS }, (_, p) => x.subarray(p * N, p * N + N).reduce((sum, v) => sum + Math.abs(v) ** power, 0));
  const taxicab = norm(1), length = norm(2).map(Math.sqrt), redraw = 1 - correlation(W, other.W);
  const eps = said.reduce((sum, f, p) => sum + (f - taxicab[p]) ** 2, 0) / POINTS / (N * (1 - 2 / Math.PI));
  const left = new Float64Array(N), total = new Float64Array(N);
  let pulls = 0;
  for (let j = 0; j < H; j++) {
    let owner = 0;
    for (let i = 0; i < N; i++) {
      total[i] += w[j] * W[j * N + i];
      if (Math.abs(W[j * N + i]) > Math.abs(W[j * N + owner])) owner = i;
    }
    left[owner] += w[j] * W[j * N + owner];
    pulls += Math.abs(w[j] * W[j * N + owner]);
  }
  const size = (v) => v.reduce((sum, one) => sum + Math.abs(one), 0);
  const doubled = 1 - size(left) / (pulls + 1e-12), background = 1 - size(total) / (size(left) + 1e-12);
  const [round, straight] = [correlation(said, length) ** 2, correlation(said, taxicab) ** 2];
  const label = redraw > 0.5 ? (round > 0.5 && round > straight ? 2 : 3) : eps >= 0.5 ? 3 : doubled > 0.5 ? 0 : background > 0.5 ? 1 : 3;
  return { label, eps, agree: 1 - redraw };
}

export default {
  title: "A hypernetwork makes networks while you set their price",
  controls: {
    price: { label: "Price β of a nat, as a power of ten", values: PRICES, value: -5, live: true, text: (power) => tell(power, 3) },
    member: { label: "Hypernetwork", value: 0, options: [["one of many algorithms", 0], ["the best at double-sided", 1], ["the best at puddings", 2]] },
  },
  unit: "networks",
  until: 100000,

  begin({ seed }, tools) {
    const raw = tools.normal(seed, 1e6, N * CODE), addresses = new Float64Array(N * CODE);
    for (let i = 0; i < N; i++) {
      const own = raw.subarray(i * CODE, (i + 1) * CODE), size = Math.sqrt(own.reduce((sum, v) => sum + v * v, 0) / CODE);
      own.forEach((v, k) => { addresses[i * CODE + k] = v / size; });
    }
    return { addresses, x: tools.normal(seed, 2e6, POINTS * N), counts: PRICES.map(() => [0, 0, 0, 0]), made: [] };
  },

  // One more network, at the price that is set; its label needs the one before it.
  step(state, milliseconds, tools) {
    const { memory, settings } = state, end = performance.now() + milliseconds, count = (N + H) * CODE + 2 * H + H * N;
    const place = PRICES.indexOf(settings.price);
    if (memory.place != place) Object.assign(memory, { place, made: [] });
    do {
      const noise = tools.normal(settings.seed, 1e7 + 1e4 * state.step++, count);
      memory.made = [generate(tools.data, settings.member, settings.price, memory.addresses, noise), ...memory.made].slice(0, 2);
      if (memory.made.length < 2) continue;
      memory.found = labelOf(...memory.made, memory.x);
      memory.counts[place][memory.found.label]++;
    } while (performance.now() < end && memory.made.length < 2);
    return false;
  },

  height: (width) => 280 * View.rows(width, 3, 210),

  draw(view, { memory, settings }) {
    const boxes = view.boxes(3, 210), colours = [view.blue, view.ochre, view.pink, view.grey], { made, counts } = memory;
    made.forEach(({ W }, k) => {
      const { inner } = view.panel(boxes[k], { x: [0, 1], y: [0, 1], title: k ? "The one before" : "Weights of a network", frame: false });
      const most = Math.max(...W.map(Math.abs)), [a, b] = [inner.width / N, inner.height / H];
      W.forEach((v, at) => view.rect(inner.x + (at % N) * a, inner.y + Math.floor(at / N) * b, a + 0.4, b + 0.4,
        { colour: v > 0 ? view.red : view.blue, alpha: Math.sqrt(Math.abs(v) / most) }));
    });
    const panel = view.panel(boxes[2], { x: [LOW - 0.2, HIGH + 0.2], y: [0, 1.25], title: "Which algorithms", xLabel: "log₁₀ of the price" });
    counts.forEach((own, k) => {
      const all = own.reduce((a, b) => a + b);
      let before = 0;
      own.forEach((n, label) => {
        const height = n / (all || 1), width = 0.22, x = panel.X(PRICES[k] - width / 2);
        if (n) view.rect(x, panel.Y(before + height), panel.X(PRICES[k] + width / 2) - x, panel.Y(before) - panel.Y(before + height), { colour: colours[label] });
        before += height;
      });
    });
    panel.line([settings.price, settings.price], [0, 1.02], { dash: [3, 3] });
    [[0, 2], [2, 4]].forEach(([from, to], row) => view.legend(LABELS.slice(from, to).map((name, k) => [name, colours[from + k]]),
      panel.inner.x + 2, panel.inner.y + 10 + 15 * row));
  },

  summary({ memory, settings, step }) {
    if (!memory.found) return "Press Train: the hypernetwork makes networks, one after the other.";
    const own = memory.counts[memory.place], all = own.reduce((a, b) => a + b), best = own.indexOf(Math.max(...own));
    return `${step} networks made. At the price 10 to the power ${tell(settings.price, 3).replace("-", "−")} one costs ${tell(memory.made[0].nats)} nats, and ${own[best]} of ${all} are: ` +
      `${LABELS[best]}. The last two agree in ${Math.round(100 * memory.found.agree)} % of their weights’ pattern; error ${tell(memory.found.eps)}.`;
  },
};
