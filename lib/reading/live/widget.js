// A live scene: networks that train in the page, their picture, and the reader's controls.
//
// A scene is a module book/live/<slug>.js whose only export is an object. It imports nothing; what is in plot.js and engine.js is
// in scope (median, tell, PALETTE, membersOf, parameterCount). Its functions run in the page and, `problem`, in workers too.
//
//   title      what the reader sees happen, in a few words
//   controls   {name: control}. A control has a label, a first value, and one of
//                values: [...], text(value)     a slider over these values; `text` says one, in words for a screen reader
//                options: [[text, value], ...]  a choice
//                check: true                    yes or no
//                input: true                    a line of text
//                press(api)                     a button, which is no setting
//              A change restarts the training, unless the control has live: true; then the networks go on, with the problem
//              that the new settings give. settings.seed is always there: "New start" adds 1 to it.
//   problem(settings, tools) -> what is trained, as engine.js says; theta from tools.start(seed, nets, scale)
//   pace       updates a second at normal speed; until: updates after which it rests
//   step(state, milliseconds, tools) -> true when done: instead of `problem`, for what is not training; raises state.step
//   every, permute(theta, step, first, settings, tools) -> order, or nothing: after so many updates, in the workers, parameters may
//              change places, number k coming from order[k]; `first` is the number of the first member in theta
//   begin(settings, tools) -> state.memory, at every restart: whatever drawing needs and training does not change
//   measure(state, tools) -> {name: number}: what the history keeps, beside step and losses, at every picture
//   height(width) -> height of the picture;  draw(view, state, tools): view is a `View` of plot.js
//   summary(state) -> one sentence that says what is seen: under the picture, and spoken every few seconds
//   extra(element, api): builds elements of its own below the controls, once; what it returns is called, (state), whenever
//              the sentence is written. What `problem` or `begin` throw on a setting is told to the reader
//
//   state   {settings, step, theta, losses (a number for each member), members [{sizes, count, from}], problem, history
//           [{step, losses, ...measured}], memory}
//   tools   of the engine uniform(seed, place, count), normal(seed, place, count), start(seed, nets, scale); data, what Python
//           gave; forward(sizes, theta, from, x, activation), outputs of one MLP
//   api     {settings, state, tools, set(name, value), restart(), redraw(), play(), pause()}

// A worker's half: it holds a share of the networks, and answers every message with where they are.
function serve(reply) {
  let training, mine, tools;
  const ready = loadEngine(Uint8Array.from(atob(ENGINE), (c) => c.charCodeAt(0)));
  const part = (settings) => share(SCENE.problem(settings, tools), ...mine);
  const handle = async ({ id, start, tune, steps, settings, data, span }) => {
    const engine = await ready, before = performance.now();
    tools ??= { ...engine, data, forward };
    if (start) {
      training?.free();
      mine = span;
      training = new Training(engine, part(settings));
    }
    if (tune) training.tune(part(settings));
    for (let left = steps ?? 0; left > 0; ) {
      const now = Math.min(left, SCENE.every ? SCENE.every - (training.step % SCENE.every) : left);
      training.advance(now);
      left -= now;
      const order = training.step % (SCENE.every ?? Infinity) == 0 && SCENE.permute?.(training.theta, training.step, mine[0], settings, tools);
      if (order) training.permute(order);
    }
    reply({ id, step: training.step, theta: training.theta, losses: training.losses, ms: performance.now() - before });
  };
  let queue = Promise.resolve();
  return (message) => (queue = queue.then(() => handle(message)).catch((error) => reply({ id: message.id, error: String(error) })));
}

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const SPEEDS = { slow: 0.2, normal: 1, full: Infinity };

class Live {
  constructor(model, el, engine, data) {
    Object.assign(this, { model, el, id: 0, waiting: 0, stride: 8, owed: 0, said: 0, trains: !!SCENE.problem });
    this.moves = this.trains || !!SCENE.step;
    this.verb = this.trains ? "Train" : "Play";
    this.tools = { ...engine, data, forward };
    this.controls = { ...SCENE.controls };
    if (this.trains)
      this.controls.speed = { label: "Speed", live: true, value: "normal", options: Object.keys(SPEEDS).map((name) => [name, name]) };
    this.settings = { seed: 0 };
    for (const [name, control] of Object.entries(this.controls)) if (!control.press) this.settings[name] = control.value;
    this.take(model.get("settings"), true);
    this.take(Object.fromEntries(new URLSearchParams(location.hash.startsWith(this.mark) ? location.hash.slice(this.mark.length) : "")));
    this.build();
    this.restart();
  }
  get mark() {
    return `#live-${this.model.get("slug")}&`;
  }
  // Settings by name; values may be text. Those that no control offers are refused, or, from a link, left out.
  take(given, strict = false) {
    for (const [name, raw] of Object.entries(given)) {
      const control = this.controls[name] ?? (name == "seed" ? { seed: true } : {});
      const offered = control.values ?? control.options?.map(([, value]) => value);
      const value = control.check ? String(raw) == "true" : control.input ? String(raw) : control.seed && /^\d{1,9}$/.test(raw) ? Number(raw)
        : offered?.find((v) => String(v) == String(raw));
      if (value !== undefined) this.settings[name] = value;
      else if (strict) throw new Error(`${name} = ${raw}: expected ${offered ? `one of ${offered.join(", ")}` : `one of the settings ${Object.keys(this.settings).join(", ")}`}`);
    }
  }
  build() {
    const { el } = this, id = `live-${this.model.get("slug")}`;
    const button = (text, action, name = "") => {
      const made = make("button", { type: "button", textContent: text, className: name });
      made.addEventListener("click", action);
      return made;
    };
    this.canvas = make("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", SCENE.title);
    this.view = new View(this.canvas);
    this.summary = make("p", { className: "summary" });
    this.rate = make("p", { className: "rate" });
    this.refused = make("p", { role: "alert" });
    this.voice = make("p", { className: "said" });
    this.voice.setAttribute("aria-live", "polite");
    this.start = button(this.verb, () => (this.playing ? this.pause() : this.play()), "main");
    this.fresh = button("New start", () => { this.settings.seed++; this.restart(); });
    this.link = make("a", { textContent: "Link to these settings" });
    this.link.addEventListener("click", (event) => {
      event.preventDefault();
      history.replaceState(null, "", this.link.href);
      navigator.clipboard?.writeText(this.link.href).catch(() => {});
      this.speak("The address of this page now holds these settings.");
    });
    const buttons = make("div", { className: "buttons" });
    if (this.moves) buttons.append(this.start, button("Restart", () => this.restart()), this.fresh);
    const controls = make("div", { className: "controls" });
    this.shows = {};
    for (const [name, control] of Object.entries(this.controls)) {
      if (control.press) buttons.append(button(control.label, () => control.press(this.api)));
      else (name == "speed" ? buttons : controls).append(this.control(name, control, `${id}-${name}`));
    }
    buttons.append(this.link);
    const extra = make("div");
    el.replaceChildren(make("p", { className: "title" }, make("strong", { textContent: SCENE.title })), this.canvas, this.summary,
      buttons, controls, this.refused, extra, this.rate, this.voice);
    el.setAttribute("role", "region");
    el.setAttribute("aria-label", SCENE.title);
    this.extra = extra;
  }
  control(name, control, id) {
    const box = make("div", { className: `control${control.check ? " check" : ""}` }), label = make("label", { htmlFor: id, textContent: control.label });
    const { values, options, text = String } = control, output = make("output");
    let input;
    if (options) input = make("select", { id }, ...options.map(([words], k) => make("option", { value: k, textContent: words })));
    else input = make("input", { id, type: values ? "range" : control.check ? "checkbox" : "text" });
    if (values) Object.assign(input, { min: 0, max: values.length - 1, step: 1 });
    this.shows[name] = () => { // the setting, as the control shows it
      const value = this.settings[name];
      if (values) {
        input.value = values.indexOf(value);
        output.textContent = text(value);
        input.setAttribute("aria-valuetext", text(value));
      } else if (options) input.value = options.findIndex(([, v]) => v == value);
      else if (control.check) input.checked = value;
      else input.value = value;
    };
    input.addEventListener(control.input ? "change" : "input", () => {
      const value = values ? values[input.value] : options ? options[input.value][1] : control.check ? input.checked : input.value;
      this.set(name, value);
    });
    if (values) label.append(": ", output);
    box.append(...(control.check ? [input, label] : [label, input]));
    return box;
  }
  // What a scene may do; `state` and `settings` are those of now.
  get api() {
    const live = this, api = { tools: live.tools, get state() { return live.state; }, get settings() { return live.settings; } };
    for (const name of ["set", "restart", "redraw", "play", "pause"]) api[name] = (...given) => live[name](...given);
    return api;
  }
  // Gives a control another value; one that the scene refuses is taken back, with its reason.
  set(name, value) {
    const before = this.settings[name];
    this.settings[name] = value;
    this.refused.textContent = "";
    try {
      this.change(name);
    } catch (error) {
      this.settings[name] = before;
      this.restart();
      this.refused.textContent = error.message;
    }
  }
  change(name) {
    if (!this.controls[name]?.live) return this.restart();
    this.refresh();
    this.state.settings = { ...this.settings };
    if (this.trains && name != "speed") {
      this.state.problem = SCENE.problem(this.state.settings, this.tools);
      this.unmeasured = true;
      this.send({ tune: true });
    }
    this.show();
  }
  restart() {
    const settings = { ...this.settings };
    this.refresh();
    this.state = { settings, step: 0, theta: new Float32Array(0), losses: [], members: [], history: [] };
    this.state.memory = SCENE.begin?.(settings, this.tools);
    this.id++; // answers to what was asked before no longer count
    this.waiting = this.owed = 0;
    this.news = false;
    this.unmeasured = true;
    this.goal = SCENE.until ?? Infinity;
    this.meter = { at: performance.now(), step: 0 };
    if (this.trains) {
      const problem = SCENE.problem(settings, this.tools), members = membersOf(problem);
      Object.assign(this.state, { problem, members, theta: problem.theta.slice(), losses: new Float32Array(members.length).fill(NaN) });
      this.hire(Math.min(members.length, Math.max(1, Math.min(8, (navigator.hardwareConcurrency || 2) - 1))));
      const edge = (k) => Math.round((k * members.length) / this.crew.length);
      this.spans = this.crew.map((_, k) => [edge(k), edge(k + 1)]);
      this.send({ start: true });
    }
    this.show();
  }
  // As many workers as are wanted; one that lives on the page where there are none.
  hire(count) {
    if (this.crew?.length == count || this.local) return;
    this.crew?.forEach(({ end }) => end());
    const receive = (k) => (message) => this.receive(k, message);
    try {
      const code = this.model.get("_esm").replace(/^export default/m, "const widget =") + "\nconst handle = serve((m) => postMessage(m));\nonmessage = (e) => handle(e.data);";
      const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
      this.crew = Array.from({ length: count }, (_, k) => {
        const worker = new Worker(address);
        worker.onmessage = (event) => receive(k)(event.data);
        worker.onerror = (event) => { event.preventDefault(); this.alone(); };
        return { post: (message) => worker.postMessage(message), end: () => worker.terminate() };
      });
    } catch {
      this.alone(false);
    }
  }
  alone(restart = true) {
    if (this.local) return;
    this.local = true;
    this.crew?.forEach(({ end }) => end());
    const handle = serve((message) => setTimeout(() => this.receive(0, message)));
    this.crew = [{ post: handle, end() {} }];
    if (restart) this.restart();
  }
  send(message) {
    const { settings } = this.state;
    this.waiting += this.crew.length;
    this.crew.forEach(({ post }, k) => post({ id: this.id, settings, data: this.tools.data, span: this.spans[k], ...message }));
    this.slowest = 0;
  }
  receive(k, { id, step, theta, losses, ms, error }) {
    if (id != this.id) return;
    if (error) return this.fail(error);
    const [from] = this.spans[k];
    this.state.theta.set(theta, this.state.members[from].from);
    this.state.losses.set(losses, from);
    this.slowest = Math.max(this.slowest, ms);
    if (--this.waiting) return;
    if (step > this.state.step) this.stride = Math.max(1, Math.min(5000, this.stride * Math.max(0.5, Math.min(2, (this.local ? 8 : 14) / this.slowest))));
    this.state.step = step;
    this.news = true;
    this.show();
    this.pump();
  }
  // Asks for the next updates, as many as the pace allows and the device does between two pictures.
  pump() {
    if (this.waiting || !this.active) return;
    const steps = Math.floor(Math.min(this.stride, this.owed, this.goal - this.state.step));
    if (this.state.step >= this.goal) return this.pause();
    if (steps < 1) return;
    this.owed -= steps;
    this.send({ steps });
  }
  get active() {
    return this.playing && this.visible && !document.hidden;
  }
  play() {
    if (!this.moves) return;
    if (this.state.step >= this.goal) this.state.done ? this.restart() : (this.goal += SCENE.until);
    this.playing = true;
    this.start.textContent = "Pause";
    this.meter = { at: performance.now(), step: this.state.step };
    this.show();
  }
  pause() {
    this.playing = false;
    this.start.textContent = this.verb;
    this.speak(this.words());
    this.model.set("settings", { ...this.settings }); // for Python, where there is one
    this.model.set("weights", new DataView(this.state.theta.slice().buffer));
    this.model.set("updates", this.state.step);
    this.model.save_changes();
    this.show();
  }
  // The controls say what the settings are.
  refresh() {
    for (const show of Object.values(this.shows)) show();
    this.fresh.textContent = `New start (seed ${this.settings.seed})`;
    this.link.href = location.href.split("#")[0] + this.mark + new URLSearchParams(this.settings);
  }
  show() {
    this.dirty = true;
    if (!this.ticking) {
      this.ticking = true;
      requestAnimationFrame((now) => { this.last = now; this.frame(now); });
    }
  }
  redraw() {
    this.show();
  }
  frame(now) {
    if (this.over) return;
    const { state } = this, passed = Math.min(now - this.last, 100);
    this.last = now;
    try {
      if (this.active) {
        const speed = SPEEDS[this.settings.speed] * (SCENE.pace ?? Infinity);
        this.owed = Math.min(this.owed + (speed * passed) / 1000, Math.max(1, speed * 0.1));
        if (this.trains) this.pump();
        else {
          state.done = SCENE.step(state, 9, this.tools);
          this.news = this.dirty = true;
          if (state.done) { this.goal = state.step; this.pause(); }
        }
      }
      if (this.dirty) this.draw(now);
    } catch (error) {
      return this.fail(error);
    }
    this.ticking = this.active || this.dirty;
    if (this.ticking) requestAnimationFrame((next) => this.frame(next));
  }
  draw(now) {
    const { state, view } = this, width = this.canvas.clientWidth;
    this.dirty = false;
    if (!width || (this.trains && this.unmeasured && !this.news)) return;
    if (this.news) {
      state.history.push({ step: state.step, losses: Array.from(state.losses), ...SCENE.measure?.(state, this.tools) });
      if (state.history.length > 600) state.history = state.history.filter((_, k) => k % 2 == 0);
      this.news = this.unmeasured = false;
    }
    view.clear(width, Math.round(SCENE.height(width)));
    SCENE.draw(view, state, this.tools);
    if (now - (this.written ?? 0) > 200 || !this.active) {
      this.written = now;
      const words = this.words();
      this.summary.textContent = words;
      this.canvas.setAttribute("aria-label", words);
      this.told?.(state);
      if (this.active && now - this.said > 5000) this.speak(words);
    }
    const since = (now - this.meter.at) / 1000;
    if (since > 0.5 && this.moves) {
      const speed = (state.step - this.meter.step) / since, count = state.members.length, crew = this.crew?.length;
      this.meter = { at: now, step: state.step };
      this.rate.textContent = !this.active ? "" : this.trains
        ? `${tell(speed, 3)} updates a second of ${count} ${count == 1 ? "network" : "networks"}, in this page, by ${this.local ? "no worker" : crew == 1 ? "1 worker" : `${crew} workers`}.`
        : `${tell(speed, 3)} ${SCENE.unit ?? "steps"} a second, in this page.`;
    }
  }
  words() { // nothing is known before the first answer
    return this.trains && !this.state.history.length ? "" : SCENE.summary(this.state);
  }
  speak(words) {
    this.said = performance.now();
    this.voice.textContent = words;
  }
  fail(error) {
    this.over = true;
    this.crew?.forEach(({ end }) => end());
    console.error(error);
    this.el.append(make("p", { role: "alert", textContent: `The scene has stopped: ${error.message ?? error}` }));
  }
}

async function render({ model, el }) {
  el.classList.add("live", "explorable");
  const say = (words) => el.replaceChildren(make("p", { textContent: words }));
  if (typeof WebAssembly != "object") {
    say("Here networks would train in this page, but this browser has no WebAssembly. The figures below show what they do.");
    return;
  }
  try {
    const engine = await loadEngine(Uint8Array.from(atob(ENGINE), (c) => c.charCodeAt(0)));
    const live = new Live(model, el, engine, given(model.get("data")));
    live.told = SCENE.extra?.(live.extra, live.api);
    const redraw = () => live.show(), dark = matchMedia("(prefers-color-scheme: dark)");
    const seen = new IntersectionObserver(([{ isIntersecting }]) => { live.visible = isIntersecting; redraw(); });
    const sized = new ResizeObserver(redraw), themed = new MutationObserver(redraw);
    seen.observe(live.canvas);
    sized.observe(live.canvas);
    for (const element of [document.documentElement, document.body]) themed.observe(element, { attributes: true });
    dark.addEventListener("change", redraw);
    document.addEventListener("visibilitychange", redraw);
    model.on("change:settings", () => { // from Python
      const before = JSON.stringify(live.settings);
      live.take(model.get("settings"), true);
      if (JSON.stringify(live.settings) != before) live.restart();
    });
    if (location.hash.startsWith(live.mark)) el.scrollIntoView();
    if (live.moves && !matchMedia("(prefers-reduced-motion: reduce)").matches) live.play();
    return () => {
      live.over = true;
      live.crew?.forEach(({ end }) => end());
      [seen, sized, themed].forEach((observer) => observer.disconnect());
      dark.removeEventListener("change", redraw);
      document.removeEventListener("visibilitychange", redraw);
    };
  } catch (error) {
    say(`This scene cannot run: ${error.message ?? error}`);
    console.error(error);
  }
}
// Arrays from Python come as {dtype, shape, bytes}: the same with `values`, a typed array.
function given(data) {
  const types = { float32: Float32Array, float64: Float64Array, int32: Int32Array, uint8: Uint8Array };
  return Object.fromEntries(Object.entries(data).map(([name, value]) => {
    if (!(value?.bytes instanceof DataView)) return [name, value];
    const { buffer, byteOffset, byteLength } = value.bytes;
    return [name, { ...value, values: new types[value.dtype](buffer.slice(byteOffset, byteOffset + byteLength)) }];
  }));
}

export default { render };
