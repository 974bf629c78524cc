// Five professions, hit one after the other. Who helps whom? The games of the chapter's second reconstruction, drawn around the
// reader's sliders and solved backwards, a million of them.
const GROUPS = 5, ALL = 1e6, SPREAD = 0.35; // each quantity of each game lies within this share of its slider
const NAMES = ["artists", "actors", "writers", "programmers", "lawyers"];
const steps = (low, high, count) => Array.from({ length: count }, (_, k) => Number((low + ((high - low) * k) / (count - 1)).toPrecision(3)));
const share = (label, value) => ({ label, values: steps(0, 1, 21), value, live: true, text: (v) => `${Math.round(100 * v)} %` });
const number = (label, values, value, unit = "") => ({ label, values, value, live: true, text: (v) => `${tell(v)}${unit}` });

// One game solved backwards: helps[t * GROUPS + j] is 1 if j helps t in the equilibrium with most helpers.
function solve(game, helps, wins) {
  const losses = new Float64Array(GROUPS);
  helps.fill(0);
  for (let t = GROUPS - 1; t >= 0; t--) {
    const strength = game.strength * (1 + game.growth * t), chance = (R) => 1 / (1 + (strength / R) ** game.steepness);
    const later = [];
    for (let j = t + 1; j < GROUPS; j++) {
      const D = game.patience[j] ** game.delay * game.awareness[j] * losses[j];
      later.push({ j, D, willing: (game.efficacy[j] * D) / game.cost[j] });
    }
    const ranked = [...later].sort((a, b) => b.willing - a.willing);
    let helpers = 0; // the last that still gains by staying is the k-th most willing
    ranked.forEach(({ willing }, k) => { if (willing * (chance(k + 2) - chance(k + 1)) >= 1) helpers = k + 1; });
    ranked.slice(0, helpers).forEach(({ j }) => { helps[t * GROUPS + j] = 1; });
    const win = (wins[t] = chance(1 + helpers));
    for (const { j, D } of later) losses[j] = (1 - game.efficacy[j] * win) * D + game.cost[j] * helps[t * GROUPS + j];
    losses[t] = (1 - game.efficacy[t] * win) * game.stake[t];
  }
}
// Share of the professions that are saved, given the chance to win at each stage.
const saved = (wins) => {
  let taken = 1, sum = 0;
  for (const win of wins) sum += taken *= 1 - win;
  return 1 - sum / GROUPS;
};

export default {
  title: "Who helps whom, in a million games",
  controls: {
    stake: number("What each would lose, in months of income", [6, 12, 24, 36, 48, 60, 84, 120], 60),
    cost: number("What helping once costs, in months", [0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15], 3),
    awareness: share("How sure they are that their turn comes", 0.7),
    efficacy: share("How far they believe that effort counts", 0.7),
    patience: share("What next year counts beside this year", 0.9),
    delay: number("Years until the next is hit", [0, 0.5, 1, 1.5, 2, 3, 4], 1),
    strength: number("Strength of the threat, in fighters", [0.5, 1, 1.5, 2, 3, 4, 6], 2),
    growth: share("How much it grows with each victory", 0.2),
    steepness: number("How much numbers count, g", [0.5, 0.75, 1, 1.5, 2, 3], 1),
  },
  unit: "games",

  begin: () => ({ key: "", games: 0, helps: new Float64Array(GROUPS * GROUPS), saved: 0, alone: 0, united: 0 }),

  step(state, milliseconds, tools) {
    const { memory, settings } = state, key = JSON.stringify(settings), end = performance.now() + milliseconds;
    if (memory.key != key) Object.assign(memory, SCENE.begin(), { key });
    const helps = new Float64Array(GROUPS * GROUPS), wins = new Float64Array(GROUPS);
    while (memory.games < ALL && performance.now() < end) {
      const batch = 100, own = ["stake", "cost", "patience", "awareness", "efficacy"], each = own.length * GROUPS + 4;
      const u = tools.uniform(settings.seed, memory.games * each, batch * each);
      for (let n = 0, at = 0; n < batch; n++) {
        const near = (name, most = Infinity) => Math.min(most, settings[name] * (1 + SPREAD * (2 * u[at++] - 1)));
        const game = { strength: near("strength"), growth: near("growth"), steepness: near("steepness"), delay: near("delay") };
        for (const name of own) game[name] = Array.from({ length: GROUPS }, () => near(name, name == "stake" || name == "cost" ? Infinity : 1));
        solve(game, helps, wins);
        for (let k = 0; k < helps.length; k++) memory.helps[k] += helps[k];
        const chances = (fighters) => NAMES.map((_, t) => 1 / (1 + ((game.strength * (1 + game.growth * t)) / fighters(t)) ** game.steepness));
        memory.saved += saved(wins);
        memory.alone += saved(chances(() => 1));
        memory.united += saved(chances((t) => GROUPS - t));
      }
      state.step = memory.games += batch;
    }
    return false;
  },

  height: (width) => 280 * View.rows(width, 2),

  draw(view, { memory }) {
    const [left, right] = view.boxes(2), count = Math.max(memory.games, 1), { inner } = view.panel(left, { x: [0, 1], y: [0, 1], title: "Who helps whom", frame: false });
    const at = (k) => inner.x + ((k + 0.5) * inner.width) / GROUPS, floor = inner.y + inner.height - 34, { ctx } = view;
    for (let t = 0; t < GROUPS; t++)
      for (let j = t + 1; j < GROUPS; j++) {
        const part = memory.helps[t * GROUPS + j] / count;
        if (part < 0.005) continue;
        ctx.save();
        Object.assign(ctx, { strokeStyle: view.blue, lineWidth: 0.5 + 9 * part, globalAlpha: 0.25 + 0.6 * part });
        ctx.beginPath();
        ctx.ellipse((at(t) + at(j)) / 2, floor - 12, (at(j) - at(t)) / 2, Math.min(((at(j) - at(t)) / 2) * 0.9, floor - inner.y - 20), 0, Math.PI, 0);
        ctx.stroke();
        ctx.restore();
      }
    view.dots(NAMES.map((_, k) => at(k)), NAMES.map(() => floor), { colour: view.ink, radius: 9 });
    NAMES.forEach((name, k) => view.text(name, at(k), floor + 24 + (inner.width < 330 && k % 2 ? 13 : 0), { align: "center", size: 11 }));
    const panel = view.panel(right, { x: [0, 1], y: [0, 3], title: "Share of the professions that is saved", frame: false });
    [["if nobody helps", memory.alone, view.grey], ["as they decide", memory.saved, view.blue], ["if all help", memory.united, view.green]].forEach(([name, sum, colour], k) => {
      const top = panel.Y(2.75 - k), value = sum / count;
      view.rect(panel.X(0), top + 18, panel.X(value) - panel.X(0), 24, { colour });
      view.text(`${name}: ${Math.round(100 * value)} %`, panel.X(0), top + 12);
    });
  },

  summary({ memory }) {
    const count = Math.max(memory.games, 1), pairs = (GROUPS * (GROUPS - 1)) / 2, percent = (v) => `${Math.round(100 * v)} %`;
    return `In ${memory.games} games ${percent(memory.helps.reduce((a, b) => a + b) / count / pairs)} of all help that could be given is given. ` +
      `${percent(memory.saved / count)} of the professions are saved; if all helped it would be ${percent(memory.united / count)}, if nobody did ${percent(memory.alone / count)}.`;
  },
};
