"use strict";
// Sorts and filters tables, chooses cells and algorithms, and draws views with Observable Plot.  Every text becomes a
// text node: names of records are never markup.
(() => {
const views = JSON.parse(document.getElementById("data").textContent);
const TALL = 5;  // rows from which a table has a filter
const KEYS = ["Cell", "Algorithm", "A", "B"];  // columns that say what a row is about
const SVG = "http://www.w3.org/2000/svg";

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function drawn(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const textOf = element => element.textContent.trim();

// ---- light or dark

function theme() {
  const button = document.getElementById("theme"), root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => root.style.colorScheme ? root.style.colorScheme === "dark" : prefersDark.matches;
  const name = () => { button.textContent = dark() ? "Light page" : "Dark page"; };
  button.hidden = false;
  button.addEventListener("click", () => { root.style.colorScheme = dark() ? "light" : "dark"; name(); });
  prefersDark.addEventListener("change", name);
  name();
}

// ---- tables

// What an entry is sorted by: the number that it begins with, `3/10` as a share; what never happened comes last.
function sortKey(text) {
  const share = /^(\d+)\/(\d+)/.exec(text);
  if (share) return share[1] / share[2];
  if (/^(never|inf)\b/.test(text)) return Infinity;
  const number = /^[<>≥≤]?\s*([+−-]?(?:\d+\.?\d*|\.\d+)(?:e[+−-]?\d+)?)/i.exec(text);
  return number ? Number(number[1].replaceAll("−", "-")) : NaN;
}

function compare(a, b) {
  const [x, y] = [sortKey(a), sortKey(b)];
  if (Number.isNaN(x) && Number.isNaN(y)) return a.localeCompare(b, "en", {numeric: true});
  return Number.isNaN(x) - Number.isNaN(y) || (x === y ? 0 : x - y);
}

class Sortable {
  constructor(table) {
    this.body = table.tBodies[0];
    this.heads = [...table.tHead.rows[0].cells];
    this.names = this.heads.map(textOf);
    this.words = [];
    this.left = new Set();  // names that are not chosen
    this.heads.forEach((head, column) => {
      const button = make("button", {type: "button", title: "Sort"}, ...head.childNodes);
      button.addEventListener("click", () => this.sort(head, column));
      head.replaceChildren(button);
    });
    if (this.body.rows.length > TALL) this.addFilter(table.closest(".scroll"));
  }

  get rows() {  // read when they are asked for: a page may have a hundred thousand entries
    return this.read ??= [...this.body.rows].map(row => ({row, texts: [...row.cells].map(textOf)}));
  }

  sort(head, column) {
    const next = {ascending: "descending", descending: "none"}[head.ariaSort] ?? "ascending";
    for (const other of this.heads) other.removeAttribute("aria-sort");
    if (next !== "none") head.setAttribute("aria-sort", next);
    const sign = next === "descending" ? -1 : 1, blank = text => ["", "-", "missing"].includes(text);
    const ordered = next === "none" ? this.rows : this.rows.toSorted(({texts: {[column]: a}}, {texts: {[column]: b}}) =>
      blank(a) - blank(b) || sign * compare(a, b));
    this.body.append(...ordered.map(({row}) => row));
  }

  addFilter(place) {
    const input = make("input", {type: "search", placeholder: "Filter rows", ariaLabel: "Filter rows"});
    this.count = make("output");
    input.addEventListener("input", () => {
      this.words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.show();
    });
    place.before(make("div", {className: "bar"}, input, this.count));
  }

  // Rows about a name that is not chosen go, and so does its column.
  choose(left) {
    const asBefore = !left.size && !this.left.size;
    this.left = left;
    if (!asBefore) this.show();
  }

  show() {
    const gone = this.names.map(name => this.left.has(name));
    this.heads.forEach((head, i) => { head.hidden = gone[i]; });
    const keys = this.names.flatMap((name, i) => KEYS.includes(name) ? [i] : []);
    let shown = 0;
    for (const {row, texts} of this.rows) {
      const all = this.words.length ? texts.join(" ").toLowerCase() : "";
      row.hidden = keys.some(i => this.left.has(texts[i])) || !this.words.every(word => all.includes(word));
      [...row.cells].forEach((cell, i) => { cell.hidden = gone[i]; });
      shown += !row.hidden;
    }
    if (this.count) this.count.textContent = shown < this.rows.length ? `${shown} of ${this.rows.length} rows` : "";
  }
}

// ---- what is chosen

// Algorithms and values of the grid's axes: everything below them in their section follows.
class Choices {
  constructor(place, {algorithms, cells, axes}, tables) {
    Object.assign(this, {place, algorithms, cells, axes, tables, listeners: []});
    this.symbols = algorithms.map(symbolOf);
    this.off = new Set();  // checkboxes, each with what it stands for
    algorithms.forEach(({light, dark}, i) =>
      place.parentElement.style.setProperty(`--a${i}`, `light-dark(${light}, ${dark})`));
    this.summary = make("summary");
    const wide = innerWidth > 640 && algorithms.length <= 20;
    this.boxes = [
      this.group("Algorithms", algorithms.map(({name}, i) => ({name, shows: {algorithm: i}, swatch: this.swatch(i)}))),
      ...Object.entries(axes).map(([axis, values]) =>
        this.group(axis, values.map(value => ({name: value, shows: {axis, value}})))),
    ];
    place.append(make("details", {open: wide}, this.summary, ...this.boxes.map(({group}) => group)));
    new ResizeObserver(() => { place.parentElement.style.setProperty("--bar", `${place.offsetHeight}px`); }).observe(place);
    this.changed();
  }

  adds(table) {
    this.tables.push(table);
    table.choose(this.left);
  }

  group(title, entries) {
    const inputs = entries.map(({shows}) => Object.assign(make("input", {type: "checkbox", checked: true}), {shows}));
    const labels = entries.map(({name, swatch, shows}, i) => {
      const label = make("label", {title: name}, inputs[i], ...(swatch ? [swatch] : []), make("span", {}, name));
      return shows.algorithm === undefined ? label : highlights(label, this.place.parentElement, shows.algorithm);
    });
    const all = make("button", {type: "button"}, "all"), none = make("button", {type: "button"}, "none");
    const group = make("fieldset", {}, make("legend", {}, title), ...labels, ...(entries.length > 2 ? [all, none] : []));
    group.addEventListener("change", () => this.changed());
    for (const [button, checked] of [[all, true], [none, false]])
      button.addEventListener("click", () => { inputs.forEach(input => { input.checked = checked; }); this.changed(); });
    return {group, inputs};
  }

  swatch(i) {
    const colour = `var(--a${i})`, {dash, marker} = this.algorithms[i];
    const shape = drawn("path", {d: pathOf(marker, 7), transform: "translate(15 6)", fill: colour, stroke: colour});
    const line = {x1: 0, x2: 30, y1: 6, y2: 6, stroke: colour, "stroke-width": 2, "stroke-dasharray": dash.join(" ")};
    return drawn("svg", {width: 30, height: 12, "aria-hidden": true}, drawn("line", line), shape);
  }

  changed() {
    const off = this.boxes.flatMap(({inputs}) => inputs.filter(input => !input.checked).map(input => input.shows));
    const gone = cell => off.some(({axis, value}) => axis !== undefined && cell.at[axis] === value);
    this.shown = new Set(this.algorithms.keys());
    for (const {algorithm} of off) this.shown.delete(algorithm);
    this.places = [...this.cells.keys()].filter(i => !gone(this.cells[i]));
    this.left = new Set(off.filter(o => o.algorithm !== undefined).map(o => this.algorithms[o.algorithm].name));
    for (const cell of this.cells.filter(gone)) this.left.add(cell.label);
    for (const table of this.tables) table.choose(this.left);
    const some = (n, of, what) => `${n < of ? `${n} of ` : ""}${of} ${what}${of === 1 ? "" : "s"}`;
    const cells = this.cells.length > 1 ? `, ${some(this.places.length, this.cells.length, "cell")}` : "";
    this.summary.textContent = `Show: ${some(this.shown.size, this.algorithms.length, "algorithm")}${cells}`;
    for (const draw of this.listeners) draw();
  }
}

function highlight(place, algorithm) {
  for (const mark of place.querySelectorAll(".arm")) {
    mark.classList.toggle("faint", algorithm !== null && !mark.classList.contains(`a${algorithm}`));
    mark.classList.toggle("on", algorithm !== null && mark.classList.contains(`a${algorithm}`));
  }
}

function highlights(element, place, algorithm) {
  element.addEventListener("pointerenter", () => highlight(place, algorithm));
  element.addEventListener("pointerleave", () => highlight(place, null));
  return element;
}

// ---- markers: the polygons of the figures' own

function pathOf(polygons, size) {
  return polygons.map(points => `M${points.map(([x, y]) => `${x * size},${-y * size}`).join("L")}`).join("");
}

function symbolOf({marker}) {
  return {draw(context, area) {
    const size = Math.sqrt(area / Math.PI) * 2;
    for (const points of marker)
      points.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x * size, -y * size));
  }};
}

// ---- views

const digits = v => v === null ? "never" : Math.abs(v) >= 1e5 || (v && Math.abs(v) < 1e-3) ? v.toExponential(2)
  : String(Math.abs(v) >= 1000 ? Math.round(v) : Number(v.toPrecision(3)));
const interval = (low, high) => low === null ? "" : ` [${digits(low)}, ${digits(high)}]`;
const lines = (...texts) => texts.filter(Boolean).join("\n");

// A grid of panels that is drawn when it comes into sight, and again when its width or what is chosen changes.
class Panels {
  constructor(place, choices, draw) {
    Object.assign(this, {place, choices, draw, alone: null, width: 0, seen: false});
    this.bar = make("div", {className: "bar"});
    this.legend = make("div", {className: "legend"});
    this.grid = make("div", {className: "panels"});
    place.append(this.bar, this.legend, this.grid);
    place.hidden = false;
    choices.listeners.push(() => { this.alone = null; this.again(); });
    new ResizeObserver(([{contentRect: {width}}]) => {
      if (Math.abs(width - this.width) > 1) { this.width = width; this.again(); }
    }).observe(this.grid);
    new IntersectionObserver(([{isIntersecting}], observer) => {
      if (isIntersecting) { this.seen = true; observer.disconnect(); this.again(); }
    }, {rootMargin: "600px"}).observe(place);
    addEventListener("beforeprint", () => { this.seen = true; this.again(); });
  }

  select(label, names) {
    const options = names.map((name, value) => make("option", {value}, name));
    const select = make("select", {}, ...options);
    select.addEventListener("change", () => this.again());
    if (names.length > 1) this.bar.append(make("label", {}, label, select));
    return select;
  }

  toggle(label, checked, useful = true) {
    const input = make("input", {type: "checkbox", checked});
    input.addEventListener("change", () => this.again());
    if (useful) this.bar.append(make("label", {}, input, label));
    return input;
  }

  again() {
    if (!this.seen || !this.width) return;
    const panels = this.draw().filter(({title}) => this.alone === null || title === this.alone);
    const columns = this.columns(panels.length), width = (this.width - 16 * (columns - 1)) / columns;
    this.grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    this.grid.replaceChildren(...panels.map(panel => this.panel(panel, width, panels.length)));
    if (!panels.length) this.grid.append(make("p", {className: "lead"}, "Nothing of this is chosen."));
    const lines = [...this.choices.shown].filter(i => this.grid.querySelector(`.arm.a${i}`));
    this.legend.replaceChildren(...lines.map(i => highlights(
      make("span", {}, this.choices.swatch(i), ` ${this.choices.algorithms[i].name}`), this.place, i)));
  }

  // Rows as the grid has them, or a whole part of such a row; else rows that are about full.
  columns(count) {
    const fit = (wide, most) => Math.min(most, Math.max(1, Math.floor(this.width / wide))), {axes, cells, places} = this.choices;
    const last = Object.keys(axes).at(-1), values = new Set(places.map(i => cells[i].at[last])).size;
    const part = d3.range(fit(280, 4), 1, -1).find(n => values % n === 0);
    return count === places.length && part ? part : Math.ceil(count / Math.ceil(count / fit(330, 3))) || 1;
  }

  shows(cell) {
    return this.alone === null || this.alone === this.choices.cells[cell].label;
  }

  panel({title, marks, options}, width, count) {
    const plot = Plot.plot({
      width: Math.round(width), marginLeft: 48, marginBottom: 36, marginRight: 14, marginTop: 24, ariaLabel: title,
      style: {fontSize: "11px", fontFamily: "inherit"}, ...options(width, count), marks,
    });
    plot.addEventListener("input", () => highlight(plot, plot.value ? plot.value.algorithm : null));
    const heading = make("h4", {}, make("span", {}, title));
    if (count > 1 || this.alone !== null) heading.append(this.enlarger(title));
    return make("figure", {className: "panel"}, heading, plot);
  }

  enlarger(title) {
    const name = this.alone === null ? "enlarge" : "all panels";
    const button = make("button", {type: "button", ariaLabel: `${name}: ${title}`}, name);
    button.addEventListener("click", () => {
      this.alone = this.alone === null ? title : null;
      this.again();
      const again = [...this.grid.querySelectorAll("h4 button")].find(({ariaLabel}) => ariaLabel.endsWith(`: ${title}`));
      again.focus({preventScroll: true});
      again.closest(".panel").scrollIntoView({block: "nearest"});
    });
    return button;
  }
}

const height = (width, count) => count === 1 ? Math.min(440, Math.round(0.6 * width) + 40) : Math.round(0.66 * width);
const tip = (rows, options) => Plot.tip(rows, Plot.pointer({maxRadius: 30, fontSize: 12, lineHeight: 1.3, lineWidth: 30, ...options}));

// Of a log axis: powers of ten, and what lies between where these are few.
function powers([low, high]) {
  const exponents = d3.range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)) + 1);
  const within = factors => exponents.flatMap(e => factors.map(f => f * 10 ** e)).filter(v => v >= low && v <= high);
  return [within([1]), within([1, 2, 5])].find(ticks => ticks.length > 2) ?? d3.ticks(low, high, 4);
}

function curves(place, {metrics}, choices) {
  const panels = new Panels(place, choices, draw);
  const metric = panels.select("Metric", metrics.map(({title}) => title));
  const log = panels.toggle("log scale", metrics[0].log), bands = panels.toggle("bands", true);
  const seeds = panels.toggle("every seed", false), shared = panels.toggle("same scale", true, choices.cells.length > 1);
  metric.addEventListener("change", () => { log.checked = metrics[metric.value].log; panels.again(); });

  function domain({zero}, chosen) {
    const values = chosen.flatMap(({mean, high}) => bands.checked && high && !log.checked ? [...mean, ...high] : mean);
    const positive = values.filter(v => v > 0);
    if (log.checked && positive.length) return [Math.min(...positive) / 1.3, Math.max(...positive) * 1.3];
    const least = Math.min(...values, ...(bands.checked ? chosen.flatMap(({low}) => low ?? []) : []));
    return [zero ? Math.min(0, least) : least, Math.max(...values)];
  }

  function draw() {
    const {title, xs, lines: all} = metrics[metric.value];
    const named = all.map(([cell, algorithm, x, mean, low, high, count, at, runs]) =>
      ({cell, algorithm, x: xs[x], mean, low, high, count, at: xs[at], runs}));
    const chosen = named.filter(({cell, algorithm}) =>
      choices.shown.has(algorithm) && choices.places.includes(cell) && panels.shows(cell));
    if (!chosen.length) return [];
    const last = Math.max(...chosen.map(({x}) => x.at(-1)));
    place.classList.toggle("with-seeds", seeds.checked);
    return choices.places.filter(i => chosen.some(({cell}) => cell === i)).map(i => {
      const arms = chosen.filter(({cell}) => cell === i), {label, time} = choices.cells[i];
      const ends = domain(metrics[metric.value], shared.checked ? chosen : arms);
      const scale = log.checked && ends[0] > 0 ? {type: "log", ticks: powers(ends), tickFormat: digits} : {ticks: 5};
      return {
        title: label, marks: marks(arms, ends, time),
        options: (width, count) => ({
          height: height(width, count), x: {label: time, labelArrow: false, ticks: width < 400 ? 4 : 6, domain: [0, last]},
          y: {domain: ends, label: title, labelArrow: false, grid: true, clamp: true, ...scale},
        }),
      };
    });
  }

  function marks(arms, [floor], when) {
    const above = v => log.checked ? Math.max(v, floor) : v, rows = [];
    const layers = arms.map(({algorithm, x, mean, low, high, count, at, runs}, place) => {
      const {name, dash} = choices.algorithms[algorithm], stroke = `var(--a${algorithm})`;
      const points = x.map((t, k) => ({algorithm, x: t, y: above(mean[k]), low: low && above(low[k]), high: high && above(high[k]),
        text: lines(name, `${when} ${digits(t)}: ${digits(mean[k])}${low ? interval(low[k], high[k]) : ""}`, `mean of ${count} seed${count > 1 ? "s" : ""}`)}));
      const each = runs.flatMap(([seed, lost, values]) => values.map((v, k) => ({algorithm, seed, x: at[k], y: above(v),
        text: lines(`${name}, seed ${seed}${lost ? " (diverged)" : ""}`, `${when} ${digits(at[k])}: ${digits(v)}`)})));
      rows.push(...points, ...(seeds.checked ? each : []));
      const every = Math.max(1, Math.floor(points.length / 5)), start = Math.floor((2 * place + 1) * every / (2 * arms.length));
      const className = `arm a${algorithm}`;
      return [
        ...(bands.checked && low ? [Plot.areaY(points, {x: "x", y1: "low", y2: "high", fill: stroke, fillOpacity: Math.min(0.15, 0.9 / arms.length), className})] : []),
        Plot.lineY(each, {x: "x", y: "y", z: "seed", stroke, strokeWidth: 0.6, strokeOpacity: 0.6, className: `${className} seeds`}),
        Plot.lineY(points, {x: "x", y: "y", stroke, strokeWidth: 1.7, strokeDasharray: dash.join(" "), className}),
        Plot.dot(points.filter((_, k) => k % every === start), {x: "x", y: "y", symbol: choices.symbols[algorithm], r: 3, fill: stroke, stroke, className}),
      ];
    });
    return [...layers.flat(), tip(rows, {x: "x", y: "y", title: "text"})];
  }
}

const towards = {lower: "(← better)", higher: "(better →)"};
const ends = values => d3.extent(values.filter(value => value !== null));  // one axis for all panels

// Names of algorithms beside rows: cut where they would take the panel.
function named(algorithms, choices, width) {
  const longest = Math.max(...algorithms.map(a => choices.algorithms[a].name.length));
  const marginLeft = Math.min(6.4 * longest + 14, 0.36 * width);
  return {
    marginLeft, marginTop: 8, height: 48 + 24 * algorithms.length,
    y: {domain: [algorithms.length - 0.5, -0.5], ticks: d3.range(algorithms.length), label: null, tickSize: 0, tickFormat: i => {
      const {name} = choices.algorithms[algorithms[i]], most = Math.floor((marginLeft - 12) / 6.2);
      return name.length > most ? `${name.slice(0, most - 1)}…` : name;
    }},
  };
}

// Markers with their intervals.
function estimates(rows, choices) {
  return rows.flatMap(row => {
    const stroke = `var(--a${row.algorithm})`, fill = row.open ? "var(--back)" : stroke;
    return [
      ...(row.low === null ? [] : [Plot.ruleY([row], {x1: "low", x2: "high", y: "y", strokeWidth: 2, stroke})]),
      Plot.dot([row], {x: "x", y: "y", r: 4.5, symbol: choices.symbols[row.algorithm], strokeWidth: 1.5, fill, stroke}),
    ];
  });
}

function finals(place, {metrics}, choices) {
  const panels = new Panels(place, choices, draw), metric = panels.select("Metric", metrics.map(({title}) => title));
  const seeds = panels.toggle("every seed", true);

  function draw() {
    const {unit, better, rows: all} = metrics[metric.value];
    const rows = all.map(([cell, algorithm, budget, text, value, low, high, runs]) =>
      ({cell, algorithm, budget, value, low, high, runs, text: lines(choices.algorithms[algorithm].name, text)}));
    const seen = rows.filter(({cell, algorithm}) =>
      choices.places.includes(cell) && choices.shown.has(algorithm) && panels.shows(cell));
    const domain = ends([0, ...seen.flatMap(({value, low, high, budget, runs}) =>
      [value, low, high, ...(seeds.checked ? runs.map(([, , v]) => v ?? budget) : [])])]);
    return choices.places.flatMap(i => {
      const chosen = seen.filter(({cell}) => cell === i);
      if (!chosen.length) return [];
      const each = chosen.flatMap(({algorithm, budget, runs}, i) => runs.map(([seed, lost, value]) =>
        ({algorithm, x: value ?? budget, y: i + 0.2, lost: lost || value === null,
          text: lines(`${choices.algorithms[algorithm].name}, seed ${seed}`, digits(value) + (lost ? " (diverged)" : ""))})));
      return [{
        title: choices.cells[i].label, marks: marks(chosen, each),
        options: width => ({...named(chosen.map(({algorithm}) => algorithm), choices, width),
          x: {label: `${unit} ${towards[better]}`, labelArrow: false, grid: true, nice: true, ticks: width < 500 ? 4 : 8, domain}}),
      }];
    });
  }

  function marks(rows, each) {
    const colour = ({algorithm}) => `var(--a${algorithm})`, seen = seeds.checked ? each : [];
    const at = rows.map((row, i) => ({...row, x: row.value, y: i - 0.12})).filter(({x}) => x !== null);
    return [
      Plot.dot(seen.filter(({lost}) => !lost), {x: "x", y: "y", r: 2.2, fill: colour, fillOpacity: 0.55, className: "seed"}),
      Plot.dot(seen.filter(({lost}) => lost), {x: "x", y: "y", r: 2.6, symbol: "times", stroke: colour, className: "seed"}),
      ...estimates(at, choices),
      tip([...at, ...seen], {x: "x", y: "y", title: "text"}),
    ];
  }
}

function profile(place, {panels: groups, title, rows: all}, choices) {
  const panels = new Panels(place, choices, draw);
  const rows = all.map(([cell, algorithm, p0, text, value, low, high]) => ({cell, algorithm, p0, value, low, high,
    text: lines(choices.algorithms[algorithm].name, `${choices.cells[cell].label}, p0 = ${digits(p0)}`, text)}));

  function draw() {
    const shown = rows.filter(({cell, algorithm}) => choices.shown.has(algorithm) && choices.places.includes(cell));
    const top = Math.max(...shown.map(({value, high}) => high ?? value)), least = Math.min(0, ...shown.map(({low, value}) => low ?? value));
    return groups.flatMap(([name, cells]) => {
      const chosen = shown.filter(({cell}) => cells.includes(cell)), arms = [...new Set(chosen.map(row => row.algorithm))];
      return chosen.length ? [{
        title: name || "All cells", marks: marks(chosen, arms),
        options: (width, count) => ({
          height: height(width, count), y: {label: title, labelArrow: false, grid: true, domain: [least, top]},
          x: {type: "log", reverse: true, label: "p0: initial success probability (harder to the right)",
              labelArrow: false, insetLeft: 16, insetRight: 16, ticks: ticks(chosen.map(row => row.p0), width), tickFormat: digits},
        }),
      }] : [];
    });
  }

  // p0 of the cells, as many as do not touch.
  function ticks(values, width) {
    const apart = Math.log(Math.max(...values) / Math.min(...values)) * 44 / width, kept = [];
    for (const v of [...new Set(values)].sort((a, b) => b - a))
      if (!kept.length || Math.log(kept.at(-1) / v) >= apart) kept.push(v);
    return kept;
  }

  function marks(chosen, arms) {
    return [...arms.flatMap((algorithm, k) => {
      const points = chosen.filter(row => row.algorithm === algorithm).sort((a, b) => b.p0 - a.p0);
      const stroke = `var(--a${algorithm})`, dx = 3 * (k - (arms.length - 1) / 2), className = `arm a${algorithm}`;
      const joined = new Set(points.map(({p0}) => p0)).size === points.length;
      return [
        ...(joined ? [Plot.lineY(points, {x: "p0", y: "value", dx, stroke, strokeDasharray: choices.algorithms[algorithm].dash.join(" "), className})] : []),
        Plot.ruleX(points.filter(({low}) => low !== null), {x: "p0", y1: "low", y2: "high", dx, stroke, className}),
        Plot.dot(points, {x: "p0", y: "value", dx, r: 3.5, symbol: choices.symbols[algorithm], fill: stroke, stroke, className}),
      ];
    }), tip(chosen, {x: "p0", y: "value", title: "text"})];
  }
}

function pairs(place, {metrics, verdicts}, choices) {
  const panels = new Panels(place, choices, draw), metric = panels.select("Metric", metrics.map(({title}) => title));
  const reference = panels.select("against", choices.algorithms.map(({name}) => name));
  const neither = "different, in neither direction", other = {better: "worse", worse: "better", [neither]: neither};
  const name = i => choices.algorithms[i].name;

  // The row as the algorithm that is not the reference sees it.
  function turned([cell, a, b, difference, low, high, share, p, place]) {
    const [first, second] = a === +reference.value ? [b, a] : [a, b], flip = first !== a, verdict = verdicts[place];
    const [d, l, h] = flip ? [-difference, high && -high, low && -low] : [difference, low, high];
    const shown = flip ? other[verdict] ?? verdict : verdict, chance = flip && share !== null ? 1 - share : share;
    return {cell, algorithm: first, x: d, low: low === null ? null : l, high: low === null ? null : h, open: !(shown in other), text: lines(
      `${name(first)} − ${name(second)}`, `${digits(d)}${low === null ? "" : interval(l, h)}`,
      chance === null ? "" : `P(${name(first)} better) = ${Math.round(100 * chance)}%`, p && `Holm p = ${p}`,
      /^(better|worse|not|different)/.test(shown) ? `${name(first)} is ${shown}` : shown)};
  }

  function draw() {
    const {unit, better, rows} = metrics[metric.value], against = +reference.value;
    const seen = rows.filter(([, a, b, d]) => (a === against || b === against) && d !== null).map(turned)
      .filter(({cell, algorithm}) => choices.places.includes(cell) && choices.shown.has(algorithm) && panels.shows(cell));
    const domain = ends([0, ...seen.flatMap(({x, low, high}) => [x, low, high])]);
    return choices.places.flatMap(i => {
      const chosen = seen.filter(({cell}) => cell === i).map((row, y) => ({...row, y}));
      return chosen.length ? [{
        title: choices.cells[i].label, marks: marks(chosen),
        options: width => ({...named(chosen.map(row => row.algorithm), choices, width),
          x: {label: `minus ${name(against).slice(0, 24)}: ${unit} ${towards[better]}`, labelArrow: false, grid: true, nice: true, ticks: width < 500 ? 4 : 8, domain}}),
      }] : [];
    });
  }

  function marks(rows) {
    return [Plot.ruleX([0], {stroke: "currentColor", strokeDasharray: "3 3"}), ...estimates(rows, choices),
      tip(rows, {x: "x", y: "y", title: "text"})];
  }
}

const sparsity = (label, domain) => ({
  type: "log", reverse: true, label, labelArrow: false, domain: [domain[0] / 1.1, domain[1] * 1.1], grid: true,
  ticks: powers(domain), tickFormat: digits,
});

function breaking(place, {rows: all}, choices) {
  const panels = new Panels(place, choices, draw), ordered = panels.toggle("sparsest reward first", true);
  const rows = all.map(([cell, algorithm, rank, x, low, high, beyondLow, beyondHigh, texts]) =>
    ({cell, algorithm, rank, x, low, high, beyondLow, beyondHigh, text: lines(choices.algorithms[algorithm].name, ...texts)}));

  function draw() {
    const seen = rows.filter(({cell, algorithm}) =>
      choices.places.includes(cell) && choices.shown.has(algorithm) && panels.shows(cell));
    const domain = ends(seen.flatMap(({x, low, high}) => [x, low, high]));
    return choices.places.flatMap(i => {
      const chosen = seen.filter(({cell}) => cell === i);
      if (ordered.checked) chosen.sort((a, b) => a.rank - b.rank);
      return chosen.length ? [{
        title: choices.cells[i].label || "All algorithms", marks: marks(chosen.map((row, y) => ({...row, y}))),
        options: width => ({...named(chosen.map(({algorithm}) => algorithm), choices, width),
          x: sparsity("p0*: where half of the seeds learn (better →)", domain)}),
      }] : [];
    });
  }

  // An arrow where no level bounds the point, sparser to the right.
  function marks(rows) {
    const arrow = (end, rotate) => rows.filter(row => row[`beyond${end}`]).map(row => Plot.dot([row],
      {x: end.toLowerCase(), y: "y", symbol: "triangle", rotate, r: 4.5, fill: `var(--a${row.algorithm})`}));
    const points = rows.flatMap(row => [row.x, row.low, row.high].filter(x => x !== null).map(x => ({...row, x})));
    return [...estimates(rows, choices), ...arrow("Low", 90), ...arrow("High", -90), tip(points, {x: "x", y: "y", title: "text"})];
  }
}

function levels(place, {ends: ofGroup, rows: all}, choices) {
  const panels = new Panels(place, choices, draw), intervals = panels.toggle("intervals", true);
  const share = (p0, middle, slope) => 100 / (1 + (p0 / middle) ** -slope);  // logistic over log p0
  const arms = all.map(([cell, algorithm, middle, slope, visited]) => ({
    cell, algorithm, curve: middle === null ? [] : grid(ofGroup[cell]).map(x => ({x, y: share(x, middle, slope)})),
    visited: visited.map(([level, x, y, low, high, text]) =>
      ({algorithm, x, y, low, high, text: lines(choices.algorithms[algorithm].name, level, `${text} learn`)})),
  }));

  function grid([low, high]) {
    return d3.range(301).map(k => low * (high / low) ** (k / 300));
  }

  function draw() {
    return choices.places.filter(panels.shows, panels).flatMap(i => {
      const chosen = arms.filter(({cell, algorithm}) => cell === i && choices.shown.has(algorithm));
      return chosen.length ? [{
        title: choices.cells[i].label || "All levels", marks: marks(chosen),
        options: (width, count) => ({
          height: height(width, count), y: {label: "Seeds that learn (%)", labelArrow: false, domain: [0, 100], ticks: 5, grid: true},
          x: sparsity("p0: initial success probability (harder to the right)", ofGroup[i]),
        }),
      }] : [];
    });
  }

  function marks(chosen) {
    return [Plot.ruleY([50], {stroke: "currentColor", strokeDasharray: "3 3"}), ...chosen.flatMap(({algorithm, curve, visited}, k) => {
      const stroke = `var(--a${algorithm})`, className = `arm a${algorithm}`;
      const dx = (k - (chosen.length - 1) / 2) * Math.min(3, 12 / chosen.length);
      return [
        Plot.lineY(curve, {x: "x", y: "y", stroke, strokeWidth: 1.7, strokeDasharray: choices.algorithms[algorithm].dash.join(" "), className}),
        ...(intervals.checked ? [Plot.ruleX(visited, {x: "x", y1: "low", y2: "high", dx, stroke, strokeOpacity: 0.6, className})] : []),
        Plot.dot(visited, {x: "x", y: "y", dx, r: 3.5, symbol: choices.symbols[algorithm], fill: stroke, stroke, className}),
      ];
    }), tip(chosen.flatMap(({visited}) => visited), {x: "x", y: "y", title: "text"})];
  }
}

// ---- the page

// What is long is no elements until it is opened: with scripts, the text of a <noscript> is markup that is not read.
function unfold(details) {
  const kept = details.querySelector(":scope > noscript");
  if (!kept) return;
  kept.replaceWith(...new DOMParser().parseFromString(kept.textContent, "text/html").body.childNodes);
  for (const table of details.querySelectorAll("table")) {
    const sortable = new Sortable(table);
    choices.get(details.closest("section"))?.adds(sortable);
  }
}

// A link opens the table that it leads to; those to views show.
function follow() {
  const open = hash => {
    const target = document.getElementById(decodeURIComponent(hash.slice(1)));
    if (target?.localName === "details") {
      unfold(target);
      target.open = true;
    }
    return target;
  };
  for (const link of document.querySelectorAll("nav a")) link.addEventListener("click", () => open(link.hash));
  for (const item of document.querySelectorAll("nav [hidden]")) item.hidden = false;
  open(location.hash)?.scrollIntoView();
}

const drawings = {curves, finals, profile, pairs, breaking, levels};
theme();
const tables = new Map([...document.querySelectorAll("table")].map(table => [table, new Sortable(table)]));
for (const details of document.querySelectorAll(".prints")) details.open = false;
for (const details of document.querySelectorAll("details:has(> noscript)"))
  details.addEventListener("toggle", () => { if (details.open) unfold(details); });
const choices = new Map();  // by section
for (const place of document.querySelectorAll("[data-view]")) {
  const view = views[place.dataset.view];
  place.hidden = false;
  if (view.drawing === "choices") {
    const inSection = [...tables].filter(([table]) => place.parentElement.contains(table)).map(([, sortable]) => sortable);
    choices.set(place.parentElement, new Choices(place, view, inSection));
  } else drawings[view.drawing](place, view, choices.get(place.parentElement));
}
follow();
})();
