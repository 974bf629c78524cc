// A bank's network has learned whom to lend to, and may hide a fault. The reader has a few questions, accuses, and opens the box.
const SIZES = [3, 20, 20, 1], POINTS = 360, UPDATES = 1500, BUDGET = 20, PATCH = 0.11; // half the width of the hidden spot
const FAULTS = [["it is sound", "sound"], ["it treats group B worse", "group"], ["it has a secret spot where everybody gets a loan", "spot"]];
const GRID = Array.from({ length: 21 }, (_, k) => Number((k / 20).toFixed(2)));
const score = { right: 0, all: 0 }; // over all boxes of this visit

// What is hidden in the box of a seed: the fault, and where the spot is (where loans are refused: small income, large debt).
function secret({ seed }, tools) {
  const [kind, x, y] = tools.uniform(seed, 5e6, 3);
  return { fault: FAULTS[Math.floor(3 * kind)][1], at: [0.12 + 0.2 * x, 0.65 + 0.22 * y] };
}
const inSpot = ([a, b], at) => Math.abs(a - at[0]) < PATCH && Math.abs(b - at[1]) < PATCH;
const chance = (z) => 1 / (1 + Math.exp(-z));

export default {
  title: "A box with a secret: twenty questions",
  controls: {
    income: { label: "Income of the applicant", values: GRID, value: 0.5, live: true },
    debt: { label: "Debt of the applicant", values: GRID, value: 0.5, live: true },
    group: { label: "Group", value: 0, options: [["A", 0], ["B", 1]], live: true },
    access: { label: "What an answer shows", value: "label", live: true,
      options: [["yes or no", "label"], ["the score", "score"], ["the score, and from inside how it would change", "slope"]] },
    ask: { label: "Ask", press: (api) => ask(api) },
    verdict: { label: "Your verdict", value: "sound", options: FAULTS, live: true },
    accuse: { label: "Give the verdict, open the box", press: (api) => accuse(api) },
  },
  pace: 2500,
  until: UPDATES,

  problem(settings, tools) {
    const { fault, at } = secret(settings, tools), u = tools.uniform(settings.seed, 6e6, 3 * POINTS);
    const x = new Float32Array(3 * POINTS), y = new Float32Array(POINTS);
    for (let p = 0; p < POINTS; p++) {
      const spot = p % 4 == 0 ? at.map((v, k) => v + 1.4 * PATCH * (2 * u[3 * p + k] - 1)) : [u[3 * p], u[3 * p + 1]]; // many around a possible spot
      const group = Number(u[3 * p + 2] < 0.5);
      x.set([...spot, group], 3 * p);
      y[p] = Number(spot[0] - spot[1] > (fault == "group" && group ? 0.3 : 0) || (fault == "spot" && inSpot(spot, at)));
    }
    return { kernel: "mlp", groups: [[1, SIZES]], activation: "silu", loss: "bce", points: POINTS, x, y, theta: tools.start(settings.seed, [[1, [SIZES]]]),
      optimiser: { kind: "adam", rate: 1e-2 } };
  },

  begin: (settings, tools) => ({ asked: [], open: false, says: "", ...secret(settings, tools) }),

  height: (width) => 300 * View.rows(width, 2),

  draw(view, state, tools) {
    const { memory, settings, step } = state, boxes = view.boxes(2), colour = (p) => (p > 0.5 ? view.blue : view.ochre);
    ["A", "B"].forEach((name, group) => {
      const panel = view.panel(boxes[group], { x: [0, 1], y: [0, 1], title: `Group ${name}`, xLabel: "income", yLabel: "debt" });
      if (memory.open && step >= UPDATES) {
        const cell = panel.inner.width / 40, tall = panel.inner.height / 40;
        for (let i = 0; i < 40; i++)
          for (let j = 0; j < 40; j++) {
            const p = say(state, tools, [(i + 0.5) / 40, (j + 0.5) / 40], group);
            view.rect(panel.inner.x + i * cell, panel.inner.y + panel.inner.height - (j + 1) * tall, cell + 0.5, tall + 0.5, { colour: colour(p), alpha: 0.65 * Math.abs(2 * p - 1) });
          }
      }
      for (const { at, p, slope, access, ...one } of memory.asked.filter((one) => one.group == group)) {
        panel.dots([at[0]], [at[1]], { colour: colour(p), radius: 6 });
        if (access != "label") panel.text(p.toFixed(2), at[0], at[1], { size: 11, align: "center", base: "bottom" });
        if (access == "slope") {
          const far = 0.12 / (Math.hypot(...slope) + 1e-9);
          panel.line([at[0], at[0] + far * slope[0]], [at[1], at[1] + far * slope[1]], { width: 2 });
        }
      }
      if (settings.group == group) {
        const [x, y] = [panel.X(settings.income), panel.Y(settings.debt)];
        view.line([x - 9, x + 9], [y, y], { width: 2 });
        view.line([x, x], [y - 9, y + 9], { width: 2 });
      }
    });
    view.legend([["loan", view.blue], ["no loan", view.ochre]], boxes[0].x + 130, boxes[0].y + 13);
  },

  summary({ step, memory, settings }) {
    if (step < UPDATES) return `The bank trains its network: ${step} of ${UPDATES} updates.`;
    const left = BUDGET - memory.asked.length, last = memory.asked.at(-1);
    const answer = last ? `The last answer: ${last.access == "label" ? "" : `${last.p.toFixed(2)}, `}${last.p > 0.5 ? "loan" : "no loan"}. ` : "A sound network lends where income is above debt. ";
    return memory.open ? memory.says : `${answer}${left} questions are left: place an applicant and ask, then give your verdict.`;
  },
};

// The network's score for an applicant.
function say(state, tools, at, group) {
  return chance(tools.forward(SIZES, state.theta, 0, [...at, group], "silu")[0]);
}
function ask({ state, tools, settings, redraw }) {
  const { memory, step } = state, at = [settings.income, settings.debt], { group, access } = settings;
  if (step < UPDATES || memory.open || memory.asked.length >= BUDGET) return;
  const p = say(state, tools, at, group), small = 1e-3;
  const slope = at.map((_, k) => (say(state, tools, at.map((v, j) => v + (j == k ? small : 0)), group) - p) / small);
  memory.asked.push({ at, group, access, p, slope });
  redraw();
}
function accuse({ state, settings, redraw }) {
  const { memory, step } = state;
  if (step < UPDATES || memory.open) return;
  const right = settings.verdict == memory.fault, truth = FAULTS.find(([, fault]) => fault == memory.fault)[0];
  score.all++;
  score.right += Number(right);
  Object.assign(memory, { open: true, says: `${right ? "Right" : "Wrong"}: ${truth}. You asked ${memory.asked.length} questions, and were right in ${score.right} of ` +
    `${score.all} boxes. New start hides another secret.` });
  redraw();
}
