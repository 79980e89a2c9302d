"use strict";
// Sorts and filters tables.  Every text becomes a text node: names of records are never markup.
(() => {
const TALL = 5;  // rows from which a table has a filter

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
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
    this.rows = [...this.body.rows].map(row => ({row, texts: [...row.cells].map(textOf)}));
    this.words = [];
    this.heads.forEach((head, column) => {
      const button = make("button", {type: "button", title: "Sort"}, ...head.childNodes);
      button.addEventListener("click", () => this.sort(head, column));
      head.replaceChildren(button);
    });
    if (this.rows.length > TALL) this.addFilter(table.closest(".scroll"));
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

  show() {
    let shown = 0;
    for (const {row, texts} of this.rows) {
      const all = texts.join(" ").toLowerCase();
      row.hidden = !this.words.every(word => all.includes(word));
      shown += !row.hidden;
    }
    this.count.textContent = shown < this.rows.length ? `${shown} of ${this.rows.length} rows` : "";
  }
}

// ---- the page

// A link opens the table that it leads to.
function follow() {
  const open = hash => {
    const target = document.getElementById(decodeURIComponent(hash.slice(1)));
    if (target?.localName === "details") target.open = true;
    return target;
  };
  for (const link of document.querySelectorAll("nav a")) link.addEventListener("click", () => open(link.hash));
  open(location.hash)?.scrollIntoView();
}

theme();
for (const table of document.querySelectorAll("table")) new Sortable(table);
follow();
})();
