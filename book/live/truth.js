// A small language model that was trained beforehand reads a sentence that the reader composes. What do its states say of the
// sentence after each block, does it believe it, and what if its state is pushed along the direction of truth?
const WIDTH = 64, BLOCKS = 3, HEADS = 4, HIDDEN = 128, SIZE = WIDTH / HEADS, EPS = 1e-5;
const PUSHES = [-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2];
const COUNTRIES = ["Japan", "Brazil", "Russia", "India", "Canada", "Germany", "Egypt", "China"];
const CITIES = ["Kyoto", "Osaka", "Recife", "Curitiba", "Kazan", "Moscow", "Mumbai", "Delhi", "Toronto", "Ottawa", "Berlin", "Hamburg", "Cairo", "Luxor",
  "Shanghai", "Beijing"];
const choice = (label, names, value) => ({ label, value, options: names.map((name) => [name, name]), live: true });

// Numbers of 8 bits, 64 with one scale.
const widened = (bytes, scales) => Float32Array.from(bytes, (number, k) => (number - 128) * scales[k >> 6]);
function parts(theta, words) {
  const shapes = { embed: words * WIDTH, head: WIDTH * words, norm: WIDTH, norm1: BLOCKS * WIDTH, norm2: BLOCKS * WIDTH, qkv: 3 * BLOCKS * WIDTH ** 2,
    out: BLOCKS * WIDTH ** 2, up: 2 * BLOCKS * WIDTH * HIDDEN, down: BLOCKS * HIDDEN * WIDTH }, p = {};
  let at = 0;
  for (const [name, count] of Object.entries(shapes)) p[name] = theta.subarray(at, (at += count));
  return p;
}
const normed = (x, weight) => {
  const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / WIDTH + EPS);
  return x.map((v, k) => v * scale * weight[k]);
};
const times = (x, matrix, columns) => {
  const out = new Float64Array(columns);
  for (let r = 0; r < x.length; r++) for (let c = 0; c < columns; c++) out[c] += x[r] * matrix[r * columns + c];
  return out;
};
// The states after each block, [block][place], and the chances of the next word; `push` [block][number] is added at a place.
function read(p, words, tokens, push, at) {
  let x = tokens.map((id) => Float64Array.from(p.embed.subarray(id * WIDTH, (id + 1) * WIDTH)));
  const states = [];
  for (let b = 0; b < BLOCKS; b++) {
    const own = (name, count) => p[name].subarray(b * count, (b + 1) * count);
    const heads = x.map((state, t) => {
      const all = times(normed(state, own("norm1", WIDTH)), own("qkv", 3 * WIDTH ** 2), 3 * WIDTH), turned = all.slice();
      for (let h = 0; h < 2 * HEADS; h++)
        for (let k = 0; k < SIZE / 2; k++) {
          const angle = t * 1e4 ** ((-2 * k) / SIZE), [i, j] = [h * SIZE + k, h * SIZE + k + SIZE / 2];
          turned[i] = all[i] * Math.cos(angle) - all[j] * Math.sin(angle);
          turned[j] = all[j] * Math.cos(angle) + all[i] * Math.sin(angle);
        }
      return turned;
    });
    x = x.map((state, t) => {
      const seen = new Float64Array(WIDTH);
      for (let h = 0; h < HEADS; h++) {
        const scores = heads.slice(0, t + 1).map((other) => {
          let sum = 0;
          for (let k = 0; k < SIZE; k++) sum += heads[t][h * SIZE + k] * other[WIDTH + h * SIZE + k];
          return Math.exp(sum / Math.sqrt(SIZE));
        }), total = scores.reduce((a, c) => a + c);
        scores.forEach((score, s) => { for (let k = 0; k < SIZE; k++) seen[h * SIZE + k] += (score / total) * heads[s][2 * WIDTH + h * SIZE + k]; });
      }
      const added = times(seen, own("out", WIDTH ** 2), WIDTH), middle = state.map((v, k) => v + added[k]);
      const both = times(normed(middle, own("norm2", WIDTH)), own("up", 2 * WIDTH * HIDDEN), 2 * HIDDEN);
      const gated = both.slice(0, HIDDEN).map((g, k) => (g / (1 + Math.exp(-g))) * both[HIDDEN + k]), more = times(gated, own("down", HIDDEN * WIDTH), WIDTH);
      return middle.map((v, k) => v + more[k] + (push?.[b] && t == at ? push[b][k] : 0));
    });
    states.push(x);
  }
  const logits = times(normed(x.at(-1), p.norm), p.head, words), top = Math.max(...logits), sizes = logits.map((v) => Math.exp(v - top));
  const total = sizes.reduce((a, b) => a + b);
  return { states, chances: sizes.map((v) => v / total) };
}

export default {
  title: "A small model reads your sentence, and believes it or not",
  controls: {
    city: choice("The city of", CITIES, "Toronto"),
    link: choice("is, or is not, in", ["is in", "is not in"], "is in"),
    country: choice("the country", COUNTRIES, "Canada"),
    asked: choice("Then it is asked where to find", CITIES, "Berlin"),
    push: { label: "Push along the direction of truth", values: PUSHES, value: 0, live: true, text: (v) => `${tell(v).replace("-", "−")} times the difference` },
  },

  begin(settings, tools) {
    const { theta, scales, vocabulary, home } = tools.data, words = vocabulary.length, p = parts(widened(theta.values, scales.values), words);
    const id = (name) => vocabulary.indexOf(name.toLowerCase()), start = id("<bos>");
    const sentence = (city, link, country) => [id("the city of"), id(city), id(link), id(country)];
    // The direction of truth after each block: the mean of true sentences less that of false ones, at the last word.
    const names = Object.keys(home), mean = [0, 1].map((right) => {
      const sums = Array.from({ length: BLOCKS }, () => new Float64Array(WIDTH));
      names.forEach((city, n) => {
        const others = COUNTRIES.filter((country) => country != home[city]), country = right ? home[city] : others[n % others.length];
        read(p, words, [start, ...sentence(city, "is in", country)]).states.forEach((at, b) => at[4].forEach((v, k) => { sums[b][k] += v / names.length; }));
      });
      return sums;
    });
    const ways = mean[1].map((sum, b) => sum.map((v, k) => v - mean[0][b][k]));
    return { p, words, id, start, sentence, mean, ways, home };
  },

  height: (width) => 270 * View.rows(width, 2),

  draw(view, state) {
    const { memory, settings } = state, { p, words, id, start, sentence, ways, mean } = memory, [left, right] = view.boxes(2);
    const told = sentence(settings.city, settings.link, settings.country), last = told.length;
    const tokens = [start, ...told, id("."), ...sentence(settings.asked, "is in", settings.country).slice(0, 3)];
    const push = [0, 1].map((b) => ways[b].map((v) => settings.push * v));
    const { states, chances } = read(p, words, tokens, push, last), plain = read(p, words, tokens, null, last).chances;
    const values = states.map((at, b) => at[last].reduce((sum, v, k) => sum + (v - (mean[0][b][k] + mean[1][b][k]) / 2) * ways[b][k], 0) /
      ways[b].reduce((sum, v) => sum + v * v, 0)); // 1/2 for a usual true sentence, -1/2 for a false one
    const reach = Math.max(1, ...values.map(Math.abs)) * 1.15;
    const truth = view.panel(left, { x: [-reach, reach], y: [-0.4, BLOCKS], title: "What its states say of your sentence", frame: false });
    values.forEach((value, b) => {
      const [from, to] = [truth.X(Math.min(0, value)), truth.X(Math.max(0, value))];
      view.rect(from, truth.Y(b + 0.8), to - from, truth.Y(b + 0.2) - truth.Y(b + 0.8), { colour: value > 0 ? view.blue : view.red });
      view.text(`after block ${b + 1}`, truth.X(-reach) + 4, truth.Y(b + 0.85), { size: 11 });
    });
    truth.line([0, 0], [0, BLOCKS]);
    view.text("as false sentences are", truth.X(0) - 10, truth.Y(-0.3), { align: "right" });
    view.text("as true ones are", truth.X(0) + 10, truth.Y(-0.3));
    const bars = view.panel(right, { x: [0, 1], y: [0, COUNTRIES.length], title: `“The city of ${settings.asked} is in …”`, frame: false });
    COUNTRIES.forEach((country, k) => {
      const top = bars.Y(COUNTRIES.length - k - 0.15), tall = bars.Y(0.3) - bars.Y(1), x0 = bars.X(0) + 62, wide = bars.X(1) - x0 - 44;
      const chance = chances[id(country)], correct = memory.home[settings.asked] == country;
      view.text(country, x0 - 6, top + tall / 2, { align: "right", base: "middle", bold: correct });
      view.rect(x0, top, wide * chance, tall, { colour: correct ? view.blue : view.ochre });
      if (settings.push) view.line([x0 + wide * plain[id(country)], x0 + wide * plain[id(country)]], [top - 1, top + tall + 1], { width: 2 });
      view.text(`${Math.round(100 * chance)} %`, x0 + wide * chance + 5, top + tall / 2, { base: "middle" });
    });
    Object.assign(state, { values, answer: chances[id(memory.home[settings.asked])] });
  },

  summary({ settings: { city, link, country, asked, push }, values, answer, memory }) {
    if (!values) return "";
    const right = (memory.home[city] == country) == (link == "is in"), seen = values[BLOCKS - 2] > 0;
    return `“The city of ${city} ${link} ${country}” is ${right ? "true" : "false"}; after block ${BLOCKS - 1} the state at its last word lies on the ` +
      `${seen ? "true" : "false"} side${push ? " (it was pushed)" : ""}. Asked next where ${asked} is, the model gives the right country a chance of ${Math.round(100 * answer)} %.`;
  },
};
