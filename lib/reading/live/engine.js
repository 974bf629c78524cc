// The kernels as WebAssembly, and training runs on them. No page is needed: workers and node run this as well.
//
// A *problem* is a plain object; arrays are flat, in row-major order, with the member axis first where there is one:
//   all           {kernel, members or groups, activation, loss, theta, optimiser}
//   "mlp"         groups [[members, [in, …, out]], …], points, x (points, in), y (points, out); w (points) is 1/points
//                 unless given; x, y, w may have a member axis in front. For "cross_entropy" y holds class numbers.
//   "minibatches" one group, rows, x (members, rows, in), y (members, rows) class numbers, batch, seed, and counts
//                 (members) if some have fewer rows: as `Minibatches`
//   "rnn"         members, transition [n + in, …, n], readout [n, …, out], x (sequences, length, in), y (…, out),
//                 sequences, length; batch and seed, or all sequences in every step
//   "embedding"   groups of decoders, tokens, dim, mode, pairs, i, j, y, w (members, pairs)
//   "rate"        members, units, inputs, outputs, trials(step, uniform) -> {counts [of each time], x (rows, inputs),
//                 noise (rows, units) or none, y (rows)} as in `RateNetworks`; price, free (parameters), scale(step)
//   optimiser     {kind: "adam" | "adamw" | "sgd", rate, decay, clip, betas, eps, momentum, factor(step)}; rate and decay
//                 are numbers, or arrays with one for each member or each parameter
// Names are those of lib/kernels. Numbers the engine has in float32.

const isArray = (value) => Array.isArray(value) || ArrayBuffer.isView(value);
const parameterCount = (sizes) => sizes.slice(1).reduce((sum, out, l) => sum + (sizes[l] + 1) * out, 0);

// The members of a problem, [{sizes, count, from}, …]: layers, parameters, and where they begin in theta.
function membersOf(problem) {
  const groups = problem.groups ?? [[problem.members, problem.transition ?? []]];
  const { units: n, inputs: i, outputs: o } = problem;
  const members = [];
  let from = 0;
  for (const [count, sizes] of groups)
    for (let k = 0; k < count; k++) {
      const own = problem.kernel == "rnn" ? parameterCount(sizes) + parameterCount(problem.readout)
        : problem.kernel == "rate" ? n * n + n * i + n + o * n + o
        : parameterCount(sizes) + (problem.tokens ?? 0) * (problem.dim ?? 0);
      members.push({ sizes, count: own, from });
      from += own;
    }
  return members;
}

const ACTIVATE = {
  silu: (h) => h / (1 + Math.exp(-h)),
  relu: (h) => Math.max(h, 0),
  leaky_relu: (h) => (h > 0 ? h : 0.01 * h),
  tanh: Math.tanh,
};
// Outputs of one MLP, layers `sizes`, parameters in theta from `from` on, at one input x; `hidden` receives activations.
function forward(sizes, theta, from, x, activation = "silu", hidden = []) {
  let h = x;
  for (let l = 0; l + 1 < sizes.length; l++) {
    const inputs = sizes[l], out = new Float64Array(sizes[l + 1]), bias = from + inputs * out.length;
    for (let r = 0; r < out.length; r++) {
      let sum = theta[bias + r];
      for (let c = 0; c < inputs; c++) sum += theta[from + r * inputs + c] * h[c];
      out[r] = l + 2 < sizes.length ? ACTIVATE[activation](sum) : sum;
    }
    from = bias + out.length;
    hidden.push((h = out));
  }
  return h;
}

async function loadEngine(bytes) {
  const module = await WebAssembly.compile(bytes);
  const layout = JSON.parse(new TextDecoder().decode(WebAssembly.Module.customSections(module, "layout")[0]));
  const imports = {}; // what the C library would ask an operating system for, were there something to report
  for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = () => 0;
  const { exports } = await WebAssembly.instantiate(module, imports);
  exports._initialize?.();

  // Copies an array into the engine's memory; gives its address. Views do not outlive a call: memory may grow.
  const put = (array, Type = Float32Array) => {
    const data = array instanceof Type ? array : Type == BigInt64Array ? BigInt64Array.from(array, BigInt) : Type.from(array);
    const at = exports.take(BigInt(data.byteLength));
    new Type(exports.memory.buffer, at, data.length).set(data);
    return at;
  };
  const get = (at, length, Type = Float32Array) => new Type(exports.memory.buffer, at, length).slice();
  const release = (addresses) => addresses.forEach((at) => exports.release(at));

  const write = (at, { fields }, values) => {
    const memory = new DataView(exports.memory.buffer);
    for (const [name, value] of Object.entries(values)) {
      const [kind, offset] = fields[name];
      if (kind == "i") memory.setBigInt64(at + offset, BigInt(value), true);
      else if (kind == "d") memory.setFloat64(at + offset, value, true);
      else if (kind == "p") memory.setUint32(at + offset, value, true);
      else write(at + offset, kind, value);
    }
  };
  const run = (kernel, values) => {
    const structure = layout.jobs[kernel];
    const at = put(new Uint8Array(structure.size), Uint8Array);
    write(at, structure, values);
    exports[`${kernel}_float`](at);
    exports.release(at);
  };
  // As lib.kernels.draws: numbers depend on the seed and their place alone. Picks stay in the engine's memory, at `at`.
  const pick = (at, seed, place, count, below) => exports.picks(BigInt(seed), place, BigInt(count), BigInt(below), at);
  const uniform = (seed, place, count) => {
    const at = put(new Uint8Array(8 * count), Uint8Array);
    exports.uniform(BigInt(seed), BigInt(place), BigInt(count), at);
    const out = get(at, count, Float64Array);
    exports.release(at);
    return out;
  };
  const normal = (seed, place, count) => { // Box and Muller's
    const u = uniform(seed, place, 2 * count);
    return u.subarray(0, count).map((v, k) => Math.sqrt(-2 * Math.log(1 - v)) * Math.cos(2 * Math.PI * u[count + k]));
  };
  // First parameters of stacks of MLPs, nets = [[members, [sizes of one net, of the next, …]], …]: PyTorch's, or with a
  // scale U(-scale, scale) and no bias at the outputs.
  const start = (seed, nets, scale) => {
    const total = nets.reduce((sum, [members, parts]) => sum + members * parts.reduce((s, p) => s + parameterCount(p), 0), 0);
    const u = uniform(seed, 0, total), theta = new Float32Array(total);
    let at = 0;
    for (const [members, parts] of nets)
      for (let m = 0; m < members; m++)
        for (const sizes of parts)
          for (let l = 0; l + 1 < sizes.length; l++) {
            const weights = sizes[l] * sizes[l + 1], last = l + 2 == sizes.length;
            for (let k = 0; k < weights + sizes[l + 1]; k++, at++)
              theta[at] = scale && last && k >= weights ? 0 : (2 * u[at] - 1) * (scale ?? 1 / Math.sqrt(sizes[l]));
          }
    return theta;
  };
  return { layout, lanes: Number(exports.lanes_float()), memory: exports.memory, put, get, release, run, pick, uniform, normal, start };
}

// The part of a problem that one of several workers trains: members [from, to).
function share(problem, from, to) {
  const members = membersOf(problem), all = members.length;
  const first = members[from].from, last = members[to - 1].from + members[to - 1].count;
  const total = members[all - 1].from + members[all - 1].count;
  const own = (array, each) => (isArray(array) && array.length == all * each ? array.slice(from * each, to * each) : array);
  const part = { ...problem, first: from, of: all, theta: problem.theta.slice(first, last) };
  const { kernel, points, rows, pairs } = problem;
  const sizes = members[0].sizes, out = problem.loss == "cross_entropy" ? 1 : sizes.at(-1);
  if (kernel == "mlp")
    Object.assign(part, { x: own(problem.x, points * sizes[0]), y: own(problem.y, points * out), w: own(problem.w, points) });
  if (kernel == "minibatches")
    Object.assign(part, { x: own(problem.x, rows * sizes[0]), y: own(problem.y, rows) });
  if (kernel == "embedding")
    for (const name of ["i", "j", "w", "y"]) part[name] = own(problem[name], pairs * (name == "y" ? out : 1));
  for (const name of ["price", "free"]) if (isArray(problem[name])) part[name] = problem[name].slice(first, last);
  let before = 0;
  if (problem.groups)
    part.groups = problem.groups.map(([count, sizes]) => {
      const kept = Math.min(to, before + count) - Math.max(from, before);
      before += count;
      return [Math.max(kept, 0), sizes];
    }).filter(([count]) => count);
  else part.members = to - from;
  const spread = (value) =>
    !isArray(value) ? value : value.length == total ? value.slice(first, last) : value.slice(from, to);
  part.optimiser = { ...problem.optimiser, rate: spread(problem.optimiser.rate), decay: spread(problem.optimiser.decay) };
  return part;
}

// Points as columns, each row padded to `wide` numbers: (members, points, width) -> (members, width, wide).
function columns(rows, members, points, width, wide) {
  const out = new Float32Array(members * width * wide);
  for (let m = 0; m < members; m++)
    for (let p = 0; p < points; p++)
      for (let c = 0; c < width; c++) out[(m * width + c) * wide + p] = rows[(m * points + p) * width + c];
  return out;
}

// How each kernel's data lie in a job: fill(q, problem, memory, members) gives the fields that stay, batch(…, first,
// steps) those of some steps. `memory` has put(array, Type) and `lanes`.
const FILL = {
  mlp(q, memory, members) {
    const { points, lanes = memory.lanes } = q, wide = Math.ceil(points / lanes) * lanes, ends = members[0].sizes;
    const targets = q.loss == "cross_entropy" ? 1 : ends.at(-1);
    const w = q.w ?? new Float32Array(points).fill(1 / points), fields = { points: wide };
    for (const [name, array, width] of [["x", q.x, ends[0]], ["y", q.y, targets], ["w", w, 1]]) {
      const own = array.length > points * width || (members.length == 1 && array.length == points * width);
      fields[name] = memory.put(columns(array, own ? members.length : 1, points, width, wide));
      fields[`${name}_member`] = own ? width * wide : 0;
    }
    return fields;
  },
  minibatches(q, memory, members) {
    const inputs = members[0].sizes[0];
    return { points: q.rows, batch: q.batch, bytes: 0, x: memory.put(q.x), y: memory.put(q.y), x_member: q.rows * inputs,
      y_member: q.rows, counts: memory.put(q.counts ?? members.map(() => q.rows), BigInt64Array) };
  },
  rnn(q, memory) {
    return { members: q.members, sequences: q.sequences, length: q.length, batch: q.batch ?? q.sequences,
      f_layers: q.transition.length - 1, g_layers: q.readout.length - 1, f_sizes: memory.put(q.transition, BigInt64Array),
      g_sizes: memory.put(q.readout, BigInt64Array), x: memory.put(q.x), y: memory.put(q.y) };
  },
  embedding(q, memory, members) {
    const wide = Math.ceil(q.pairs / memory.lanes) * memory.lanes, count = members.length;
    const pad = (array, width = 1) => columns(array, count, q.pairs, width, wide);
    const last = members.map((_, m) => { // pairs up to the last one that counts
      let n = q.pairs;
      while (n && q.w[m * q.pairs + n - 1] == 0) n--;
      return Math.ceil(n / memory.lanes) * memory.lanes;
    });
    return { points: wide, tokens: q.tokens, dim: q.dim, mode: memory.layout.modes.indexOf(q.mode ?? "concatenation"),
      counts: memory.put(last, BigInt64Array), i: memory.put(pad(q.i), BigInt64Array),
      j: memory.put(pad(q.j), BigInt64Array), w: memory.put(pad(q.w)),
      y: memory.put(pad(q.y, q.loss == "cross_entropy" ? 1 : members[0].sizes.at(-1))) };
  },
  rate(q, memory) {
    const fields = { members: q.members, units: q.units, inputs: q.inputs, outputs: q.outputs };
    for (const name of ["price", "free"]) if (q[name]) fields[name] = memory.put(q[name]);
    return fields;
  },
};
const BATCH = {
  minibatches(q, memory, first, steps) { // a step has 2^32 places, a member of it 2^16
    const [[members]] = q.groups, picks = memory.put(new Uint8Array(8 * steps * members * q.batch), Uint8Array);
    for (let k = 0; k < steps; k++)
      for (let m = 0; m < members; m++) {
        const place = (BigInt(first + k) << 32n) + (BigInt(m + (q.first ?? 0)) << 16n);
        memory.pick(picks + 8 * (k * members + m) * q.batch, q.seed ?? 0, place, q.batch, q.counts?.[m] ?? q.rows);
      }
    return { picks };
  },
  rnn(q, memory, first, steps) {
    const batch = q.batch ?? q.sequences;
    if (!q.batch) return { picks: memory.put(Array.from({ length: steps * batch }, (_, k) => k % batch), BigInt64Array) };
    const picks = memory.put(new Uint8Array(8 * steps * batch), Uint8Array);
    for (let k = 0; k < steps; k++) memory.pick(picks + 8 * k * batch, q.seed ?? 0, BigInt(first + k) << 32n, batch, q.sequences);
    return { picks };
  },
  rate(q, memory, first, steps) { // columns of each time, padded to whole vectors with weight 0
    const { lanes } = memory, times = [], counts = [], scales = [], parts = { x: [], noise: [], y: [], w: [] };
    for (let k = 0; k < Math.max(steps, 1); k++) { // with no step the trials that no step sees
      const step = steps ? first + k : null, trials = q.trials(step, memory.uniform);
      const rows = trials.counts.reduce((a, b) => a + b, 0), wide = trials.counts.map((n) => Math.ceil(n / lanes) * lanes);
      const all = wide.reduce((a, b) => a + b, 0), place = [];
      for (let t = 0, at = 0; t < wide.length; at += wide[t++]) for (let n = 0; n < trials.counts[t]; n++) place.push(at + n);
      const spread = (array, width) => {
        const out = new Float32Array(width * all);
        for (let r = 0; r < rows; r++) for (let c = 0; c < width; c++) out[c * all + place[r]] = array[r * width + c];
        return out;
      };
      parts.x.push(spread(trials.x, q.inputs));
      if (trials.noise) parts.noise.push(spread(trials.noise, q.units));
      parts.y.push(spread(trials.y, 1));
      parts.w.push(spread(new Float32Array(rows).fill(1 / rows), 1));
      times.push(wide.length);
      counts.push(...wide);
      scales.push(q.scale ? q.scale(step) : 1);
    }
    const joined = (list) => {
      const all = new Float32Array(list.reduce((sum, part) => sum + part.length, 0));
      list.reduce((at, part) => (all.set(part, at), at + part.length), 0);
      return memory.put(all);
    };
    return { times: memory.put(times, BigInt64Array), counts: memory.put(counts, BigInt64Array), x: joined(parts.x),
      ...(parts.noise.length ? { noise: joined(parts.noise) } : {}), y: joined(parts.y), w: joined(parts.w),
      scales: memory.put(scales) };
  },
};

// A problem in training. `advance(steps)` moves on; `theta`, `losses` and `step` say where it is.
class Training {
  constructor(engine, problem) {
    this.engine = engine;
    this.step = 0;
    const total = problem.theta.length;
    this.state = [problem.theta, new Float32Array(total), new Float32Array(total)].map((a) => engine.put(a));
    this.tune(problem);
  }
  // Goes on with other data or settings; the networks stay as they are.
  tune(problem) {
    this.engine.release(this.kept ?? []);
    const { engine } = this, o = problem.optimiser, { layout } = engine, total = problem.theta.length;
    const members = membersOf(problem), [memory, kept] = this.recorder(), sizes = [], groups = problem.groups;
    for (const [, layers] of groups ?? []) sizes.push(...layers, ...Array(layout.max_layers + 1 - layers.length).fill(0));
    const fields = FILL[problem.kernel](problem, memory, members);
    if (problem.kernel != "rate") {
      fields.activation = layout.activations.indexOf(problem.activation ?? "silu");
      fields.loss = layout.losses.indexOf(problem.loss ?? (problem.kernel == "minibatches" ? "cross_entropy" : "mse"));
    }
    if (groups)
      Object.assign(fields, { groups: groups.length, members: memory.put(groups.map(([m]) => m), BigInt64Array),
        layers: memory.put(groups.map(([, s]) => s.length - 1), BigInt64Array), sizes: memory.put(sizes, BigInt64Array) });
    const adam = o.kind != "sgd", [beta1, beta2] = o.betas ?? [0.9, 0.999];
    const spread = (value) => value.length == total ? value
      : Float32Array.from(members.flatMap(({ count }, m) => Array(count).fill(value[m])));
    const optimiser = { adam: +adam, decoupled: +(o.kind == "adamw"), clip: o.clip ?? 0, eps: o.eps ?? 1e-8,
      beta1: adam ? beta1 : 0, beta2: adam ? beta2 : 0, momentum: adam ? 0 : (o.momentum ?? 0) };
    for (const name of ["rate", "decay"])
      optimiser[isArray(o[name]) ? `${name}s` : name] = isArray(o[name]) ? memory.put(spread(o[name])) : (o[name] ?? 0);
    Object.assign(this, { problem, members, total, fields, optimiser, kept });
  }
  // The engine, and a list of what is put through it, to be released.
  recorder() {
    const kept = [], put = (...args) => (kept.push(this.engine.put(...args)), kept.at(-1));
    return [{ ...this.engine, put }, kept];
  }
  advance(steps) {
    for (let most = this.problem.kernel == "rate" ? 4 : 200; steps > 0; steps -= most) this.call(Math.min(steps, most));
  }
  call(steps, losses = 0) {
    const { engine, problem, step } = this, o = problem.optimiser, [memory, temporary] = this.recorder();
    const ahead = Array.from({ length: steps }, (_, k) => step + k), [theta, m, v] = this.state;
    const { beta1, beta2 } = this.optimiser;
    const tables = { factors: ahead.map((t) => o.factor?.(t) ?? 1), unbias1: ahead.map((t) => 1 / (1 - beta1 ** (t + 1))),
      unbias2: ahead.map((t) => 1 / (1 - beta2 ** (t + 1))) };
    for (const name in tables) tables[name] = memory.put(tables[name], Float64Array);
    const batch = steps || problem.kernel == "rate" ? BATCH[problem.kernel]?.(problem, memory, step, steps) : {};
    const optimiser = { ...this.optimiser, ...tables, m, v };
    engine.run(problem.kernel, { ...this.fields, ...batch, steps, threads: 1, theta, losses, optimiser });
    engine.release(temporary);
    this.step += steps;
  }
  // Every parameter, with what the optimiser remembers of it, takes the place of another: number k comes from order[k].
  permute(order) {
    for (const at of this.state) {
      const before = this.engine.get(at, this.total);
      new Float32Array(this.engine.memory.buffer, at, this.total).set(Float32Array.from(order, (k) => before[k]));
    }
  }
  get theta() {
    return this.engine.get(this.state[0], this.total);
  }
  get losses() {
    const at = this.engine.put(new Float32Array(this.members.length));
    this.call(0, at);
    const losses = this.engine.get(at, this.members.length);
    this.engine.release([at]);
    return losses;
  }
  free() {
    this.engine.release([...this.state, ...this.kept]);
  }
}
