"use strict";
// Text, verdicts, tables and runs of the page. Charts are in charts.js.
const data = JSON.parse(document.getElementById("payload").textContent);
const VERDICTS = ["supported", "refuted", "undecided", "not applicable"];

// ---- Building blocks. Text of the payload becomes text nodes only, never HTML. ----

const SVG = document.querySelector("svg").namespaceURI;
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const body = (id) => document.querySelector("#" + id + " > .body");
// Take out a section that has nothing to show, and its place in the navigation.
function leave(id) {
  document.getElementById(id).remove();
  document.querySelector('nav a[href="#' + id + '"]').remove();
}
const list = (value) => value || [];
const known = (value) => typeof value === "number" && isFinite(value);
const unique = (values) => [...new Set(values)];
const many = (count, one, more) => count + " " + (count === 1 ? one : more || one + "s");
const order = new Intl.Collator("en", {numeric: true});
// A long name may be broken after its underscores.
const breakable = (text) => typeof text === "string" ? text.split(/(?<=_)/).flatMap((part) => [part, el("wbr")]) : text;
const words = (name) => String(name).replaceAll("_", " ");
const icon = (verdict) => svg("svg", {class: "icon", "aria-hidden": "true"}, svg("use", {href: "#i-" + slug(verdict)}));
const slug = (verdict) => verdict.replaceAll(" ", "-");
const knownVerdict = (verdict) => VERDICTS.includes(verdict) ? verdict : "undecided";

function number(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  let text;
  if (Number.isInteger(value) && size < 1e15) text = String(value);
  else if (size < 0.001 && size > 0) text = value.toPrecision(2);
  else text = size < 10 ? value.toFixed(3) : size < 1e5 ? value.toFixed(1) : value.toPrecision(4);
  return text.replace(/^-/, "−");
}
const measured = (value) => Number.isInteger(value) && Math.abs(value) < 1e5
  ? value.toFixed(Math.abs(value) < 10 ? 3 : 1).replace(/^-/, "−") : number(value);
const chance = (p) => p < 0.001 ? "<0.001" : p.toPrecision(2);
// One minus sign on the whole page. Commands, and ranges such as 3-5, keep their hyphens.
const minus = (text) => String(text).replace(/(?<![^\s(<>≥≤])-(?=\.?\d)/g, "−");
const percent = (value) => known(value) ? (Math.round(value * 100) + "%").replace(/^-/, "−") : "–";
const hasInterval = (e) => known(e.low) && known(e.high) && e.n !== 1;
function withInterval(estimate, format) {
  const interval = hasInterval(estimate) ? " (" + format(estimate.low) + " to " + format(estimate.high) + ")" : "";
  return format(estimate.mean) + interval;
}
function duration(seconds) {
  if (!known(seconds)) return null;
  if (seconds < 100) return seconds.toFixed(seconds < 10 ? 1 : 0) + " s";
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? minutes + " min" : Math.floor(minutes / 60) + " h " + minutes % 60 + " min";
}
function niceTicks(low, high, about) {
  const rough = (high - low) / about || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => rough <= factor * power * 1.0001);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-6); k * step <= high + step * 1e-6; k++) ticks.push(+(k * step).toPrecision(12));
  return ticks;
}

// ---- Title and summary. ----

const verdicts = list(data.verdicts);
document.title = data.title || "Report";
document.getElementById("title").append(data.title || "Report");
document.getElementById("opening").append(minus(data.opening || ""));
document.getElementById("setting-in-full").append(minus(data.setting || ""));
const claims = unique(verdicts.map((v) => v.claim));
function leftOutInWords() {
  const remarks = data.remarks || 0, lines = list(data.left_out).length - remarks;
  return (lines ? lines + " left out" : "nothing left out") + (remarks ? ", " + many(remarks, "remark") : "");
}
document.getElementById("summary").append(
  ...(verdicts.length ? VERDICTS.map((verdict) => el("span", {class: "v-" + slug(verdict)}, icon(verdict), " ",
    el("b", {}, verdicts.filter((v) => knownVerdict(v.verdict) === verdict).length), " " + verdict))
    : [el("span", {}, "no verdicts")]),
  el("span", {class: "soft"}, verdicts.length ? many(claims.length, "claim") + ", " + many(verdicts.length, "verdict") : "no claim judged"),
  el("span", {class: "soft"}, many(list(data.runs).length, "run")),
  el("a", {href: "#left-out"}, leftOutInWords()));
document.getElementById("made").append(
  ...[data.generated, data.command && el("code", {}, data.command)].filter(Boolean).flatMap((part, k) => k ? [" · ", part] : [part]));

// ---- Verdicts. ----

const place = (v) => String(v.setting || "").startsWith(v.data || "") ? v.setting || "" : v.data + ", " + v.setting;
const places = unique(verdicts.map(place));
// More settings than these are the rows of the glance, and all but the first are folded in a claim.
const FEW = 3;
// What all settings have in common is said once.
const shared = places.length < 2 ? "" : places.reduce((a, b) => {
  let k = 0;
  while (k < a.length && a[k] === b[k]) k++;
  return a.slice(0, a.slice(0, k).lastIndexOf(", ") + 2 * a.slice(0, k).includes(", "));
});
const named = (name) => name.slice(shared.length);
function limit(verdict) {
  const match = /(-?\d+(?:\.\d+)?(?:e-?\d+)?)\s*(%?)/i.exec(verdict.threshold || "");
  if (!match) return null;
  return {value: Number(match[1]) / (match[2] ? 100 : 1), below: /most|below|under|less|</i.test(verdict.threshold)};
}

function glance() {
  const columns = unique(verdicts.map((v) => JSON.stringify([place(v), String(v.ratio)]))).map((key) => JSON.parse(key))
    .sort((a, b) => places.indexOf(a[0]) - places.indexOf(b[0]) || a[1] - b[1]);
  const spans = places.map((name) => [named(name), columns.filter((column) => column[0] === name).length]);
  const cell = (claim, [name, ratio]) => {
    const k = verdicts.findIndex((v) => v.claim === claim && place(v) === name && String(v.ratio) === ratio);
    if (k < 0) return el("td", {class: "soft"}, "");
    const v = verdicts[k], verdict = knownVerdict(v.verdict);
    const label = verdict + ", claim " + claim + ", ratio " + ratio + ", " + name;
    return el("td", {}, el("a", {href: "#verdict-" + k, class: "v-" + slug(verdict), title: label, "aria-label": label},
      icon(verdict), " ", v.estimate && known(v.estimate.mean) ? v.estimate.mean.toFixed(2).replace("-", "−") : "–"));
  };
  if (places.length > FEW) {
    const asked = unique(verdicts.map((v) => JSON.stringify([v.claim, String(v.ratio)]))).map((key) => JSON.parse(key))
      .sort((a, b) => claims.indexOf(a[0]) - claims.indexOf(b[0]) || a[1] - b[1]);
    return el("div", {class: "card scroll", tabindex: 0, role: "region", "aria-label": "Verdicts at a glance"}, el("table", {class: "glance"},
      el("thead", {}, el("tr", {}, el("th", {}, "at a glance"), asked.map(([claim, ratio]) =>
        el("th", {scope: "col", title: verdicts.find((v) => v.claim === claim).title}, el("b", {}, "claim " + claim), "ratio " + ratio)))),
      el("tbody", {}, places.map((name) => el("tr", {}, el("th", {scope: "row"}, named(name)), asked.map(([claim, ratio]) => cell(claim, [name, ratio])))))));
  }
  return el("div", {class: "card scroll", tabindex: 0, role: "region", "aria-label": "Verdicts at a glance"}, el("table", {class: "glance"},
    el("thead", {},
      places.length > 1 && el("tr", {}, el("th", {}), spans.map(([name, span]) => el("th", {colspan: span}, name))),
      el("tr", {}, el("th", {}, "at a glance"), columns.map(([, ratio]) => el("th", {scope: "col"}, "ratio " + ratio)))),
    el("tbody", {}, claims.map((claim) => el("tr", {},
      el("th", {scope: "row"}, el("b", {}, claim), verdicts.find((v) => v.claim === claim).title),
      columns.map((column) => cell(claim, column)))))));
}

// One scale for all rows of a claim, so that they can be compared; x positions are in percent,
// so that the browser stretches the bars, and not the text.
function scaleOf(rows) {
  const values = [0];
  for (const v of rows) {
    const t = limit(v);
    if (t) values.push(t.value);
    if (v.estimate) values.push(...[v.estimate.mean, v.estimate.low, v.estimate.high].filter(known));
  }
  let low = Math.min(...values), high = Math.max(...values);
  const pad = (high - low || 1) * 0.07;
  low -= pad; high += pad;
  return {low, high, at: (value) => (100 * (value - low) / (high - low)).toFixed(2) + "%"};
}
function bar(v, scale, verdict) {
  const e = v.estimate, t = limit(v);
  const label = "estimate " + withInterval(e, measured) + (v.threshold ? ", threshold " + minus(v.threshold) : "");
  const side = t && (t.below ? [0, parseFloat(scale.at(t.value))] : [parseFloat(scale.at(t.value)), 100]);
  return svg("svg", {class: "bar v-" + verdict, role: "img", "aria-label": label},
    side && svg("rect", {class: "side", x: side[0] + "%", width: (side[1] - side[0]) + "%", y: 0, height: 30}),
    svg("line", {class: "zero", x1: scale.at(0), x2: scale.at(0), y1: 0, y2: 30}),
    t && svg("line", {class: "threshold", x1: scale.at(t.value), x2: scale.at(t.value), y1: 0, y2: 30}),
    hasInterval(e) && svg("line", {class: "range", x1: scale.at(e.low), x2: scale.at(e.high), y1: 15, y2: 15}),
    known(e.mean) && svg("circle", {cx: scale.at(e.mean), cy: 15, r: 5.5}));
}
function thresholdHead(rows, scale) {
  const texts = unique(rows.map((v) => v.threshold)), t = limit(rows[0]);
  if (texts.length > 1 || !t || !rows.some((v) => v.estimate)) return null;
  const far = parseFloat(scale.at(t.value)) > 55;
  return el("div", {class: "scale"}, svg("svg", {class: "bar", "aria-hidden": "true"},
    svg("text", {class: "key", x: scale.at(t.value), y: 15, dx: far ? 3 : -3, "text-anchor": far ? "end" : "start"}, minus(rows[0].threshold))));
}
function ticksRow(scale) {
  return el("div", {class: "scale"}, svg("svg", {class: "bar", "aria-hidden": "true"},
    niceTicks(scale.low, scale.high, 5).map((tick) =>
      svg("text", {x: scale.at(tick), y: 13, "text-anchor": "middle"}, String(tick).replace("-", "−")))));
}
// A note's command stands apart, to be copied whole.
function noteOf(v) {
  if (!v.note) return null;
  const [said, command] = v.note.split(/;?\s*to decide:\s*/);
  return el("div", {class: "note"}, minus(said) + (command && said ? ". " : ""), command && "What would change that:", command && el("code", {}, command));
}
function verdictRow(v, scale) {
  const verdict = knownVerdict(v.verdict);
  return el("div", {class: "row", id: "verdict-" + verdicts.indexOf(v)},
    el("div", {}, el("span", {class: "badge v-" + verdict}, icon(verdict), verdict)),
    el("div", {class: "ratio"}, places.length > 1 ? [named(place(v)), el("small", {}, "ratio " + v.ratio)] : "ratio " + v.ratio),
    v.estimate ? bar(v, scale, verdict) : el("div", {class: "none"}, "no estimate"),
    el("div", {}, v.estimate ? withInterval(v.estimate, measured) : "",
      known(v.p) && el("div", {class: "soft small"}, "p " + chance(v.p), el("br"), "corrected " + chance(v.p_corrected))),
    el("div", {class: "seeds"}, known(v.seeds) ? many(v.seeds, "seed") : ""),
    noteOf(v));
}
const trained = (control) => control.outcome !== "not controlled" && !String(control.outcome).startsWith("by design");
function controlsTable(rows) {
  const controlled = rows.filter((v) => list(v.controls).length);
  if (!controlled.length) return null;
  const missing = unique(controlled.flatMap((v) => v.controls.filter((c) => c.outcome === "not controlled").map((c) => c.label)));
  if (!controlled.some((v) => v.controls.some(trained))) {
    const designed = unique(controlled.flatMap((v) => v.controls.filter((c) => String(c.outcome).startsWith("by design")).map((c) => c.label + " " + c.outcome)));
    return el("p", {class: "soft small under"}, "No control was trained." + (missing.length ? " So it is not known whether the effects are there " + missing.join(", ") + "." : "") +
      designed.map((text) => " They are there " + text + ".").join(""));
  }
  const names = unique(controlled.flatMap((v) => v.controls.map((c) => c.control)));
  const labels = Object.fromEntries(controlled.flatMap((v) => v.controls.map((c) => [c.control, c.label || words(c.control)])));
  const cell = (v, name) => {
    const control = v.controls.find((c) => c.control === name);
    if (!control) return el("td", {class: "soft"}, "not run");
    const left = control.survives;
    if (control.outcome === "not controlled") return el("td", {class: "soft"}, control.outcome);
    return el("td", {}, control.outcome && el("div", {}, control.outcome.split(",")[0]),
      left ? [el("b", {}, percent(left.mean)), hasInterval(left) && el("span", {class: "soft"}, " (" + percent(left.low) + " to " + percent(left.high) + ")"),
        el("div", {class: "share"}, el("i", {style: "width:" + 100 * Math.max(0, Math.min(1, left.mean || 0)) + "%"}))]
        : control.estimate && el("div", {class: "soft"}, "no share: the whole effect is not clearly above 0"),
      control.estimate && el("div", {class: "soft small"}, "effect " + withInterval(control.estimate, measured)));
  };
  return el("div", {class: "under"}, el("h4", {}, "Does the effect survive its controls?"),
    el("p", {class: "soft small"}, "100%: the control changes nothing. 0%: the control explains all of it."),
    el("div", {class: "scroll"}, el("table", {class: "left"},
      el("thead", {}, el("tr", {}, el("th", {}, "control"), controlled.map((v) => el("th", {scope: "col"}, "ratio " + v.ratio)))),
      el("tbody", {}, names.map((name) => el("tr", {}, el("th", {scope: "row"}, labels[name]), controlled.map((v) => cell(v, name))))))));
}
// What all verdicts of a claim share is said once; what differs, with its setting and ratio.
function said(rows, key) {
  const texts = unique(rows.map((v) => minus(v[key] || "")).filter(Boolean));
  if (texts.length < 2) return texts[0] ? [texts[0] + (/[.?!]$/.test(texts[0]) ? "" : ".")] : [];
  return rows.filter((v) => v[key]).map((v) => el("span", {}, " " + place(v) + ", ratio " + v.ratio + ": " + minus(v[key]) + "."));
}
function claimCard(claim) {
  const rows = verdicts.filter((v) => v.claim === claim).sort((a, b) => places.indexOf(place(a)) - places.indexOf(place(b)) || a.ratio - b.ratio);
  const scale = scaleOf(rows), why = said(rows, "why");
  const shown = places.length > FEW ? [place(rows[0])] : places, folded = rows.filter((v) => !shown.includes(place(v)));
  return el("article", {class: "card claim"},
    el("div", {class: "name"}, el("span", {class: "number"}, "Claim " + claim), el("h3", {}, rows[0].title)),
    el("p", {class: "measure small"}, el("b", {}, "Measured: "), said(rows, "statistic"), " ",
      rows.some((v) => v.threshold) && [el("b", {}, "Threshold: "), said(rows, "threshold")]),
    said(rows, "needs").length > 0 && el("p", {class: "measure small"}, el("b", {}, "Asked only if: "), said(rows, "needs")),
    why.length && el("details", {class: "small matters"}, el("summary", {}, "Why this measures the claim"), el("p", {}, why)),
    verdictRows(rows.filter((v) => shown.includes(place(v))), scale),
    folded.length > 0 && el("details", {class: "small folded"},
      el("summary", {}, many(unique(folded.map(place)).length, "more setting") + ": " + VERDICTS.map((verdict) => [folded.filter((v) => knownVerdict(v.verdict) === verdict).length, verdict])
        .filter(([count]) => count).map((pair) => pair.join(" ")).join(", ")),
      verdictRows(folded, scale)));
}
function verdictRows(rows, scale) {
  const none = !rows.some((v) => list(v.controls).some(trained));
  const controls = none ? [["", controlsTable(rows)]] : unique(rows.map(place)).map((name) => [name, controlsTable(rows.filter((v) => place(v) === name))]);
  return [el("div", {class: places.length > 1 ? "rows several" : "rows"}, thresholdHead(rows, scale), rows.map((v) => verdictRow(v, scale)), rows.some((v) => v.estimate) && ticksRow(scale)),
    controls.filter(([, table]) => table).map(([name, table]) => [places.length > 1 && !none && el("h4", {}, named(name)), table])];
}
// A link to a row inside what is folded opens that first.
addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']"), folded = link && document.getElementById(link.getAttribute("href").slice(1))?.closest("details");
  if (folded) folded.open = true;
});
if (verdicts.length) {
  const common = places.length === 1 ? places[0] && "Setting: " + places[0] : shared && "All settings: " + shared.slice(0, -2);
  body("verdicts").append(...(common ? [el("p", {class: "soft small", style: "margin-bottom:10px"}, common)] : []),
    glance(), ...claims.map(claimCard));
} else body("verdicts").append(el("p", {class: "card"}, "No claim could be judged: no run for one was trained to its end."));

// ---- Figures, table, what was left out. ----

const figuresOf = (section) => list(data.figures).filter((f) => (f.section || "") === section).map((f) =>
  el("figure", {class: "figure card"}, el("h3", {}, f.title),
    el("div", {class: "picture"}, el("img", {class: f.plot && "plot", src: f.source, width: f.width, height: f.height, alt: f.title + ". " + f.caption})), f.caption && el("figcaption", {}, minus(f.caption))));
const figures = figuresOf("");
document.querySelector("#figures > .lead").append(data.in_full || "");
body("figures").append(...(figures.length ? figures : [el("p", {class: "card"}, "No figures.")]));

// A table with more rows than these can be searched, and scrolls under its heads; more than those
// are not drawn at once.
const SEARCHED = 25, MOST_ROWS = 300;
// A table with more columns than these is printed on a page turned to landscape.
const BROAD = 12;
const NUMBERS = /^[<>≥≤]?[-−]?\d[\d.]*( to [\d.]+|-\d+| of \d+| \(.* to .*\))?$/;
function sortableTable(table) {
  const columns = list(table.columns), rows = list(table.rows), whole = list(table.whole);
  const absent = (value) => value === null || value === undefined || value === "" || value === "–";
  // Columns of numbers, and of texts of numbers such as intervals, stand at the right, also where
  // few of their cells are words; names that are numbers, in the first column, do not.
  const ofNumbers = (value, k) => known(value) || (k > 0 && NUMBERS.test(value));
  const numeric = columns.map((_, k) => {
    const there = rows.map((row) => row[k]).filter((value) => !absent(value));
    return there.filter((value) => ofNumbers(value, k)).length > there.length / 2;
  });
  const shown = (value, k) => columns[k] === "setting" && String(value).startsWith(shared) ? named(value) : typeof value === "number" ? (whole[k] ? number : measured)(value) : minus(value ?? "–");
  // A mean, and the interval after it. All intervals of a column take the room of the widest one,
  // which has the most signs and digits: so means stand below one another.
  const halves = (text) => NUMBERS.test(text) ? /^(\S*)(.*)$/.exec(text).slice(1) : [text, ""];
  const signsAndDigits = (interval) => [/−/g, /\d/g].map((kind) => list(interval.match(kind)).length);
  const widest = columns.map((_, k) => numeric[k] ? rows.map((row) => signsAndDigits(halves(shown(row[k], k))[1])).reduce((a, b) => a.map((size, at) => Math.max(size, b[at]))) : null);
  const best = new Map(rows.map((row, k) => [row, list(list(table.best)[k])]));
  function cell(row, k) {
    if (!numeric[k]) return shown(row[k], k);
    const [mean, interval] = halves(shown(row[k], k)), size = signsAndDigits(interval);
    const room = ["−", "0"].map((sign, at) => sign.repeat(widest[k][at] - size[at])).join("");
    return [best.get(row).includes(k) ? el("b", {}, mean) : mean, interval && el("span", {class: "interval", "data-room": room}, interval)];
  }
  // A head takes three lines at most, however narrow its column is.
  const heads = columns.map((name, k) => el("th", {scope: "col", class: numeric[k] && "number", "aria-sort": "none"},
    el("button", {type: "button", style: "--letters:" + Math.ceil(name.length / 2.5), onclick: () => sort(k)}, name, el("span", {"aria-hidden": "true"}, ""))));
  const lines = el("tbody", {});
  // Texts that begin with a number, such as ">30", are sorted by it.
  const size = (value) => known(value) ? value : parseFloat(String(value).replace(/^[<>≥≤]\s*/, "").replace("−", "-")) + (/^[>≥]/.test(value) ? 1e-9 : 0);
  const compare = (x, y) => isNaN(size(x)) || isNaN(size(y)) ? order.compare(x, y) : size(x) - size(y) || order.compare(x, y);
  let by = -1, down = false;
  function sort(k) {
    down = by === k && !down;
    by = k;
    // Missing values last, in either direction.
    sorted = rows.slice().sort((a, b) => {
      const [x, y] = [a[k], b[k]], missing = (x === null || x === undefined) - (y === null || y === undefined);
      return missing || (down ? -1 : 1) * compare(x ?? "", y ?? "");
    });
    heads.forEach((head, at) => {
      head.setAttribute("aria-sort", at !== k ? "none" : down ? "descending" : "ascending");
      head.querySelector("span").textContent = at !== k ? "" : down ? " ▼" : " ▲";
    });
    show();
  }
  const count = el("span", {class: "soft small", role: "status"});
  let sorted = rows, asked = [];
  function show() {
    const found = sorted.filter((row) => asked.every((word) => row.join(" ").toLowerCase().includes(word)));
    const first = found.slice(0, MOST_ROWS);
    count.textContent = first.length < rows.length ? first.length + " of " + many(rows.length, "row") + (first.length < found.length ? "; search or sort to see others" : "") : many(rows.length, "row");
    lines.replaceChildren(...first.map((row) => el("tr", {}, columns.map((_, k) =>
      k ? el("td", {class: numeric[k] && "number"}, cell(row, k)) : el("th", {class: numeric[k] && "number", scope: "row"}, el("div", {}, breakable(cell(row, k))))))));
  }
  show();
  const find = rows.length > SEARCHED && el("div", {class: "find"}, el("input", {type: "search", placeholder: "search the rows …", "aria-label": "search the rows",
    oninput: (event) => { asked = event.target.value.toLowerCase().split(/\s+/).filter(Boolean); show(); }}), count);
  return el("div", {class: columns.length > BROAD ? "card broad" : "card"}, find, el("div", {class: rows.length > SEARCHED ? "scroll long" : "scroll", tabindex: 0, role: "region", "aria-label": "Table"}, el("table", {class: "table"}, el("thead", {}, el("tr", {}, heads)), lines)));
}
const table = data.table || {};
body("numbers").append(list(table.rows).length ? sortableTable(table) : el("p", {class: "card"}, "No rows."));

const classTable = data.classes || {};
if (list(classTable.rows).length) body("classes").append(sortableTable(classTable));
else leave("classes");

// What compares settings stands before the verdicts, parts of a probe between the figures and
// the table; each with its place in the navigation.
for (const part of list(data.parts)) {
  const after = part.compares ? "trade-off" : "classes", pictures = figuresOf(part.key);
  document.getElementById(after).before(el("section", {id: part.key}, el("h2", {}, part.title), el("p", {class: "lead"}, minus(part.lead)),
    el("div", {class: "body"}, pictures.slice(0, 1), list(part.tables).map((t) => el("div", {class: "under part"}, el("h3", {}, t.title), sortableTable(t))), pictures.slice(1))));
  document.querySelector('nav a[href="#' + after + '"]').before(el("a", {href: "#" + part.key}, part.title.split(":")[0]), " ");
}

const leftOut = list(data.left_out), FIRST = 15;
const items = (lines) => el("ul", {class: "plainlist"}, lines.map((line) => el("li", {}, minus(line))));
body("left-out").append(el("div", {class: "card"}, leftOut.length ? items(leftOut.slice(0, FIRST)) : "Nothing: every run that was found is in this report.",
  leftOut.length > FIRST && el("details", {class: "matters"}, el("summary", {}, "and " + (leftOut.length - FIRST) + " more"), items(leftOut.slice(FIRST)))));

// ---- Runs: the lines now, what is inside when one is opened. ----

const runs = list(data.runs).sort((a, b) => order.compare(a.name, b.name));
function runDetails(run) {
  const packages = Object.entries(run.packages || {}).map(([name, version]) => name + " " + version).join(", ");
  const commit = run.commit && run.commit + (run.changed_since_commit ? ", with changes since" : run.changed_since_commit === false ? ", unchanged" : "");
  const fields = {state: run.state, reason: run.reason, study: run.study, "imbalance ratio": known(run.ratio) ? number(run.ratio) : run.ratio, seed: run.seed, started: run.started,
    took: known(run.seconds) && duration(run.seconds) + " by the clock" + (run.resumed ? ", since it was last taken up" : "") + ": loading data, training, evaluations, probes and loggers. What was printed while it trained is of the training and what is within it", commit: commit && el("code", {}, commit), command: run.command && el("code", {}, run.command), Python: run.python, packages};
  const pairs = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return [el("dl", {class: "fields"}, pairs.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    run.config && el("p", {class: "soft small"}, "Configuration"), run.config && el("pre", {tabindex: 0}, run.config)];
}
function runLine(run) {
  const facts = [known(run.ratio) && "ratio " + number(run.ratio), known(run.seed) && "seed " + run.seed, duration(run.seconds)].filter(Boolean);
  const details = el("details", {class: "run"}, el("summary", {}, el("b", {}, run.name), el("span", {class: "state state-" + (/^\w+$/.test(run.state) ? run.state : "unknown")}, run.state),
    el("span", {class: "soft small"}, " · " + [run.study, ...facts].filter(Boolean).join(" · "))));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) fill(details, {}, runDetails(run));
  });
  return details;
}
if (runs.length) {
  const lines = runs.map(runLine), count = el("span", {class: "soft small", role: "status"}, many(runs.length, "run"));
  const texts = runs.map((run) => [run.name, run.study, run.state, run.reason, "ratio " + run.ratio, "seed " + run.seed, run.commit, run.started].join(" ").toLowerCase());
  const filter = (event) => {
    const asked = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    lines.forEach((line, k) => {
      line.hidden = !asked.every((word) => texts[k].includes(word));
      shown += !line.hidden;
    });
    count.textContent = shown < runs.length ? shown + " of " + many(runs.length, "run") : many(runs.length, "run");
  };
  body("runs").append(el("div", {class: "card"},
    el("div", {class: "find"}, el("label", {for: "filter"}, "Filter"), el("input", {type: "search", id: "filter", placeholder: "name, state, reason …", oninput: filter}), count),
    lines));
} else body("runs").append(el("p", {class: "card"}, "No runs."));

