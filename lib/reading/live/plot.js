// Drawing on a canvas: a view with the page's colours, and panels with axes.

const PALETTE = { blue: "#0072b2", red: "#d55e00", green: "#009e73", pink: "#bf5f98", ochre: "#a67c00", grey: "#808080" };
const FONT = 12; // px; the least is 11

const superscript = (n) => String(n).replace(/[-\d]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
// A number as people write it: 0.00123, 12, 3.4·10⁻⁷.
function tell(value, digits = 2) {
  if (value === 0 || !Number.isFinite(value)) return value === 0 ? "0" : "–";
  const power = Math.floor(Math.log10(Math.abs(value)));
  if (power < -3 || power > 5) return `${(value / 10 ** power).toFixed(digits - 1)}·10${superscript(power)}`;
  return String(Number(value.toPrecision(Math.max(digits, power + 1))));
}
function ticksOf([low, high], log, most) {
  if (log) {
    const from = Math.ceil(Math.log10(low) - 1e-9), to = Math.floor(Math.log10(high) + 1e-9);
    const every = Math.max(1, Math.ceil((to - from + 1) / most)), out = [];
    for (let p = from; p <= to; p += every) out.push([10 ** p, p >= -2 && p < 4 ? String(Number((10 ** p).toPrecision(1))) : `10${superscript(p)}`]);
    return out;
  }
  const rough = (high - low) / most, base = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * base).find((s) => s >= rough * 0.999), out = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) out.push([k * step, tell(k * step, 3).replace("-", "−")]);
  return out;
}
const median = (values) => {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

// What a scene draws on. Sizes in CSS pixels.
class View {
  constructor(canvas) {
    Object.assign(this, PALETTE, { canvas, ctx: canvas.getContext("2d"), width: 0, height: 0, ink: "#000" });
  }
  // Ready for a new picture of this size, in the colours that hold now.
  clear(width, height) {
    const { canvas, ctx } = this, ratio = devicePixelRatio || 1, style = getComputedStyle(canvas);
    if (canvas.width != Math.round(width * ratio) || canvas.height != Math.round(height * ratio)) {
      Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
      canvas.style.height = `${height}px`;
    }
    Object.assign(this, { width, height, ink: style.color });
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    this.family = style.fontFamily;
    ctx.lineJoin = "round";
  }
  text(words, x, y, { colour = this.ink, align = "left", base = "alphabetic", size = FONT, bold = false } = {}) {
    Object.assign(this.ctx, { font: `${bold ? "600 " : ""}${size}px ${this.family}`, fillStyle: colour, textAlign: align, textBaseline: base });
    this.ctx.fillText(words, x, y);
  }
  line(xs, ys, { colour = this.ink, width = 1.5, alpha = 1, dash = [] } = {}) {
    const { ctx } = this;
    ctx.save();
    Object.assign(ctx, { strokeStyle: colour, lineWidth: width, globalAlpha: alpha });
    ctx.setLineDash(dash);
    ctx.beginPath();
    let down = false;
    for (let k = 0; k < xs.length; k++) {
      if (!Number.isFinite(ys[k]) || !Number.isFinite(xs[k])) { down = false; continue; }
      down ? ctx.lineTo(xs[k], ys[k]) : ctx.moveTo(xs[k], ys[k]);
      down = true;
    }
    ctx.stroke();
    ctx.restore();
  }
  dots(xs, ys, { colour = this.ink, radius = 3, alpha = 1 } = {}) { // colour: one, or a function of the number
    const { ctx } = this;
    ctx.save();
    ctx.globalAlpha = alpha;
    for (let k = 0; k < xs.length; k++) {
      ctx.fillStyle = typeof colour == "function" ? colour(k) : colour;
      ctx.beginPath();
      ctx.arc(xs[k], ys[k], typeof radius == "function" ? radius(k) : radius, 0, 7);
      ctx.fill();
    }
    ctx.restore();
  }
  rect(x, y, width, height, { colour = this.ink, alpha = 1 } = {}) {
    this.ctx.save();
    Object.assign(this.ctx, { fillStyle: colour, globalAlpha: alpha });
    this.ctx.fillRect(x, y, width, height);
    this.ctx.restore();
  }
  // Boxes [{x, y, width, height}] for panels: side by side, or one below the other where the page is narrow. `least` is
  // the width that a panel needs. A scene's height(width) can ask `View.rows` how many rows there will be.
  boxes(count, least = 260, gap = 14) {
    const rows = View.rows(this.width, count, least), across = Math.ceil(count / rows);
    const width = (this.width - gap * (across - 1)) / across, height = (this.height - gap * (rows - 1)) / rows;
    return Array.from({ length: count }, (_, k) =>
      ({ x: (k % across) * (width + gap), y: Math.floor(k / across) * (height + gap), width, height }));
  }
  static rows(width, count, least = 260) {
    return Math.ceil(count / Math.max(1, Math.min(count, Math.floor(width / least))));
  }
  // A panel with axes in a box. `x` and `y` are [low, high]; logX, logY; title, xLabel, yLabel; frame: false for none.
  // It gives line, dots, text in data coordinates, legend (see below), X and Y from data to pixels, and the inner box.
  panel(box, { x, y, logX = false, logY = false, title = "", xLabel = "", yLabel = "", frame = true }) {
    const left = frame ? 46 : 4, top = title || yLabel ? 26 : 8, bottom = frame ? (xLabel ? 36 : 20) : 4;
    const inner = { x: box.x + left, y: box.y + top, width: Math.max(box.width - left - 8, 10), height: Math.max(box.height - top - bottom, 10) };
    const scale = (value, [low, high], log) => log
      ? (Math.log(Math.max(value, 1e-300)) - Math.log(low)) / (Math.log(high) - Math.log(low)) : (value - low) / (high - low);
    const X = (value) => inner.x + inner.width * scale(value, x, logX);
    const Y = (value) => inner.y + inner.height * (1 - scale(value, y, logY));
    const { ctx } = this;
    if (title || yLabel) this.text(title || yLabel, box.x + (title ? 0 : 2), box.y + 13, { bold: !!title });
    if (title && yLabel) {
      const at = ctx.measureText(title).width + 10;
      if (at + 7 * yLabel.length < box.width) this.text(yLabel, box.x + at, box.y + 13);
    }
    if (frame) {
      for (const [value, label] of ticksOf(x, logX, inner.width / 60)) {
        this.line([X(value), X(value)], [inner.y, inner.y + inner.height], { width: 1, alpha: 0.12 });
        const room = ctx.measureText(label).width / 2, most = box.x + box.width - room;
        this.text(label, Math.min(X(value), most), inner.y + inner.height + 14, { align: "center" });
      }
      for (const [value, label] of ticksOf(y, logY, inner.height / 34)) {
        this.line([inner.x, inner.x + inner.width], [Y(value), Y(value)], { width: 1, alpha: 0.12 });
        this.text(label, inner.x - 5, Y(value), { align: "right", base: "middle" });
      }
      this.line([inner.x, inner.x, inner.x + inner.width], [inner.y, inner.y + inner.height, inner.y + inner.height], { width: 1, alpha: 0.6 });
      if (xLabel) this.text(xLabel, inner.x + inner.width / 2, box.y + box.height - 4, { align: "center" });
    }
    const within = (draw) => {
      ctx.save();
      ctx.beginPath();
      ctx.rect(inner.x - 4, inner.y - 4, inner.width + 8, inner.height + 8);
      ctx.clip();
      draw();
      ctx.restore();
    };
    return { inner, X, Y,
      line: (xs, ys, style) => within(() => this.line(Array.from(xs, X), Array.from(ys, Y), style)),
      dots: (xs, ys, style) => within(() => this.dots(Array.from(xs, X), Array.from(ys, Y), style)),
      text: (words, at, height, style) => this.text(words, X(at), Y(height), style),
      legend: (entries) => this.legend(entries, inner.x + 4, inner.y + 12, inner.x + inner.width) };
  }
  // Names for lines, [[words, colour, dash], …], in a row from (x, y) on; the next row begins where `right` is reached.
  legend(entries, x, y, right = this.width) {
    const left = x;
    for (const [words, colour, dash] of entries) {
      const width = 33 + this.ctx.measureText(words).width;
      if (x > left && x + width - 12 > right) [x, y] = [left, y + 16];
      this.line([x, x + 16], [y - 4, y - 4], { colour, dash, width: dash ? 1.5 : 3 });
      this.text(words, x + 21, y);
      x += width;
    }
  }
}
