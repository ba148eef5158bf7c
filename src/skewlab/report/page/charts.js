"use strict";
// Charts, drawn by Plotly: learning curves, confusion of classes, the trade-off of methods.
// Needs page.js.

// ---- Plotly comes compressed. ----

async function unpacked(id) {
  const packed = atob(document.getElementById(id).textContent), bytes = new Uint8Array(packed.length);
  for (let k = 0; k < packed.length; k++) bytes[k] = packed.charCodeAt(k);
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).text();
}
async function loadPlotly() {
  document.head.append(el("script", {}, await unpacked("plotly")));
  if (typeof Plotly === "undefined") throw new Error("it does not understand Plotly's script");
}

// ---- Colours and what all charts share. ----

const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const channels = (hex) => (hex.length === 4 ? [...hex.slice(1)].map((c) => c + c) : hex.slice(1).match(/../g)).map((c) => parseInt(c, 16));
const mixed = (a, b, share) => {
  const [x, y] = [channels(a), channels(b)];
  return "rgb(" + x.map((c, k) => Math.round(c + share * (y[k] - c))).join(",") + ")";
};
const faint = (hex, opacity) => "rgba(" + channels(hex).join(",") + "," + opacity + ")";
const GROUPS = ["majority", "minority", "many", "medium", "few"];
const SERIES = 8;
const seriesColour = (k) => colourOf("c" + (k % SERIES));

function layoutOf(more) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: false,
    font: {family: getComputedStyle(document.body).fontFamily, size: 12, color: colourOf("ink")},
    hoverlabel: {bgcolor: colourOf("card"), bordercolor: colourOf("rule"), font: {color: colourOf("ink"), size: 12}, namelength: -1},
    modebar: {bgcolor: "rgba(0,0,0,0)", color: colourOf("soft"), activecolor: colourOf("accent")},
    ...more,
  };
}
const axisOf = (more) => ({gridcolor: colourOf("rule"), linecolor: colourOf("soft"), tickcolor: colourOf("soft"),
  tickfont: {color: colourOf("soft")}, zeroline: false, automargin: true, ...more});
const withTitle = (text) => ({text, font: {size: 12, color: colourOf("soft")}, standoff: 6});

function configOf(name) {
  const asVector = {name: "save as SVG", title: "Save as SVG", icon: Plotly.Icons.disk, click: (chart) => Plotly.downloadImage(chart, {format: "svg", filename: name})};
  // Named one by one: among Plotly's own is one that sends a chart to a server.
  const buttons = [["toImage", asVector], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]];
  return {displaylogo: false, displayModeBar: true, modeBarButtons: buttons, plotlyServerURL: "",
    toImageButtonOptions: {format: "png", scale: 3, filename: name}};
}
// One after the other: Plotly hangs where a chart is drawn anew before it has been drawn.
let drawing = Promise.resolve();
function draw(chart, traces, layout, name) {
  if (typeof Plotly !== "undefined") drawing = drawing.then(() => Plotly.react(chart, traces, layout, configOf(name)));
  return drawing;
}

// ---- Choices. ----

const fieldset = (title, ...inside) => el("fieldset", {}, el("legend", {}, title), el("div", {class: "options"}, inside));
const option = (type, name, label, checked, change, mark) =>
  el("label", {}, el("input", {type, name, checked, onchange: (event) => change(event.target.checked)}), mark, label);
const select = (id, title, labels, chosen, change) => el("label", {class: "select"}, el("span", {class: "soft small"}, title),
  el("select", {id, onchange: (event) => change(+event.target.value)}, labels.map((label, k) => el("option", {value: k, selected: k === chosen}, label))));

// ---- Learning curves: what can be chosen. ----

// Dashes of Plotly, and as the keys beside the choices show them.
const DASHES = {train: ["solid", ""], test: ["dash", "7 5"], val: ["dot", "1.5 4.5"]};
const swatch = (dash, colour) => svg("svg", {class: "key", viewBox: "0 0 26 10", "aria-hidden": "true"},
  svg("line", {x1: 1, x2: 25, y1: 5, y2: 5, "stroke-width": 2.4, "stroke-linecap": "round", "stroke-dasharray": dash, style: "stroke:" + colour}));
const total = (numbers) => numbers.reduce((a, b) => a + b, 0);
// What time is counted in: how each evaluation's time follows from what is stored, for the classes
// of a line. Where a sampler of the method's own chooses the samples, their number is not stored.
const CLOCKS = {
  "updates": (entry, at) => list(at.step),
  "samples seen": (entry, at) => entry.sampled ? [] : list(at.epoch).map((epoch) => epoch * total(list(entry.counts))),
  "samples of the class seen": (entry, at, members) => entry.sampled || !members.length ? []
    : list(at.epoch).map((epoch) => epoch * total(members.map((k) => list(entry.counts)[k])) / members.length),
  "epochs": (entry, at) => list(at.epoch),
};
// Runs of a control, or such as still train, are shown apart from the study itself.
const STUDY = "the study itself";
const kindOf = (entry) => [entry.control && entry.control !== "none" && words(entry.control), entry.note].filter(Boolean).join(", ") || STUDY;
const settings = list(data.curves).filter((s) => list(s.ratios).length);
// Recall, loss, and the metrics that a study brings.
const METRICS = unique(settings.flatMap((s) => list(s.ratios)).flatMap((e) => Object.values(e.splits || {})).flatMap((at) => Object.keys(at).filter((name) => at[name] && at[name].class)));
const className = (entry, k) => list(entry.class_names)[k] ?? "class " + k;
const shownSplits = (entries) => ["train", "test", "val"].filter((split) => entries.some((e) => (e.splits || {})[split]));
const entriesOf = (numbers) => numbers.flatMap((k) => settings[k].ratios);
const classesOf = (entries) => Math.max(0, ...entries.flatMap((e) => Object.values(e.splits || {}).map((s) => list(s.recall && s.recall.class).length)));
const groupsOf = (entries) => GROUPS.filter((group) => entries.some((e) => Object.values(e.splits || {}).some((s) => s.recall && s.recall[group])));
const membersOf = (entry, line) => typeof line === "number" ? [line] : list((entry.groups || {})[line]);

// What is drawn. An address that ends with "#curves?..." keeps it, so that it can be sent.
const chosen = {};
// Where methods are compared, cross-entropy and the best one are shown first; otherwise the first setting.
const sideBySide = list(data.side_by_side).map((name) => settings.findIndex((s) => s.setting === name));
const FIRST_SHOWN = sideBySide.length && !sideBySide.includes(-1) ? sideBySide : [0];
function byDefault(numbers) {
  const entries = entriesOf(numbers), ratios = unique(entries.map((e) => e.ratio)).sort((a, b) => a - b);
  const kinds = unique(entries.map(kindOf)).sort((a, b) => (b === STUDY) - (a === STUDY));
  const splits = shownSplits(entries);
  return {
    setting: numbers, curve: "recall", time: "updates", log: true, zoom: null,
    ratio: ratios.length > 6 ? [ratios[0], ratios[ratios.length >> 1], ratios[ratios.length - 1]] : ratios,
    runs: kinds.filter((kind, k) => k === 0 || (known(data.reload) && entries.some((e) => kindOf(e) === kind && e.note))),
    split: splits.filter((split) => split !== "val" || splits.length < 2),
    line: ["majority", "minority"],
  };
}
const LISTS = ["setting", "ratio", "runs", "split", "line"];
const asText = (key, value) => key === "setting" ? settings[value].setting : String(value);
function address() {
  const initial = byDefault(chosen.setting), query = new URLSearchParams();
  if (String(chosen.setting) !== String(FIRST_SHOWN)) for (const k of chosen.setting) query.append("setting", asText("setting", k));
  for (const key of LISTS.slice(1)) if (String(chosen[key]) !== String(initial[key])) for (const value of chosen[key].length ? chosen[key] : [""]) query.append(key, value);
  for (const key of ["curve", "time", "log"]) if (chosen[key] !== initial[key]) query.set(key, chosen[key]);
  if (chosen.zoom) query.set("zoom", chosen.zoom.map((number) => +number.toPrecision(5)).join(","));
  return "#curves?" + query;
}
function fromAddress() {
  const query = new URLSearchParams(location.hash.startsWith("#curves?") ? location.hash.slice(8) : "");
  const asked = query.getAll("setting").map((name) => settings.findIndex((s) => s.setting === name)).filter((k) => k >= 0);
  Object.assign(chosen, byDefault(asked.length ? asked : FIRST_SHOWN));
  const entries = entriesOf(chosen.setting);
  const values = {ratio: entries.map((e) => e.ratio), runs: entries.map(kindOf), split: shownSplits(entries),
    line: [...groupsOf(entries), ...Array(classesOf(entries)).keys()]};
  for (const [key, among] of Object.entries(values)) {
    if (query.has(key)) chosen[key] = unique(among).filter((value) => query.getAll(key).includes(String(value)));
  }
  if (METRICS.includes(query.get("curve"))) chosen.curve = query.get("curve");
  if (query.get("time") in CLOCKS) chosen.time = query.get("time");
  if (query.has("log")) chosen.log = query.get("log") === "true";
  const zoom = (query.get("zoom") || "").split(",").map(Number);
  if (zoom.length === 4 && zoom.every(known)) chosen.zoom = zoom;
  if (location.hash.startsWith("#curves?")) document.getElementById("curves").scrollIntoView();
}
function choose(key, value) {
  chosen[key] = value;
  if (key !== "zoom") chosen.zoom = null;
  history.replaceState(null, "", address());
  if (key !== "zoom") drawCurves();
}
const toggled = (key, value) => (on) => choose(key, on ? [...chosen[key], value] : chosen[key].filter((other) => other !== value));

// ---- Learning curves: the choices and the chart on the page. ----

const MOST_OVERLAID = 40;
const curvesChart = el("div", {class: "chart", id: "curves-chart"});
const nothing = el("p", {class: "soft", hidden: true}, "Nothing to draw: choose a ratio, a split and a line.");
const choices = el("div", {class: "choices"});

function buildChoices() {
  const entries = entriesOf(chosen.setting), groups = groupsOf(entries), classes = classesOf(entries), last = entries.reduce((a, b) => b.ratio > a.ratio ? b : a);
  const ratios = unique(entries.map((e) => e.ratio)).sort((a, b) => a - b);
  const kinds = unique(entries.map(kindOf)).sort((a, b) => (b === STUDY) - (a === STUDY));
  const check = (key, value, label, mark) => option("checkbox", key, label, chosen[key].includes(value), toggled(key, value), mark);
  const radio = (key, value) => option("radio", key, value, chosen[key] === value, () => choose(key, value));
  const pickSettings = (numbers) => {
    Object.assign(chosen, byDefault(numbers), {curve: chosen.curve, time: chosen.time, log: chosen.log});
    buildChoices();
    choose("setting", numbers);
  };
  const order = [...Array(classes).keys()].sort((a, b) => list(last.counts)[b] - list(last.counts)[a] || a - b);
  const boxes = order.map((k) => check("line", k, className(last, k) + (list(last.counts).length ? " (" + last.counts[k] + ")" : "")));
  const setAll = (on) => () => {
    for (const box of boxes) if (!box.hidden) box.querySelector("input").checked = on;
    const shown = order.filter((k, place) => !boxes[place].hidden);
    choose("line", [...chosen.line.filter((line) => !shown.includes(line)), ...(on ? shown : [])]);
  };
  const find = (event) => {
    for (const box of boxes) box.hidden = !box.textContent.toLowerCase().includes(event.target.value.toLowerCase());
  };
  choices.replaceChildren(...[
    settings.length > 1 && select("setting", "Setting", settings.map((s) => s.setting), chosen.setting[0], (k) => pickSettings([k])),
    settings.length > 1 && el("details", {class: "classes", open: chosen.setting.length > 1}, el("summary", {}, "Several settings in one chart"),
      el("div", {class: "options"}, settings.slice(0, MOST_OVERLAID).map((s, k) => option("checkbox", "settings", s.setting, chosen.setting.includes(k),
        (on) => pickSettings(on ? [...chosen.setting, k] : chosen.setting.filter((other) => other !== k).length ? chosen.setting.filter((other) => other !== k) : [k]))))),
    fieldset("Curve", METRICS.map((metric) => radio("curve", metric))),
    fieldset("Time", Object.keys(CLOCKS).map((clock) => radio("time", clock)), option("checkbox", "log", "logarithmic", chosen.log, (on) => choose("log", on))),
    ratios.length > 1 && fieldset("Imbalance ratio", ratios.map((ratio) => check("ratio", ratio, number(ratio)))),
    fieldset("Split", shownSplits(entries).map((split) => check("split", split, split, swatch(DASHES[split][1], "currentColor")))),
    fieldset("Lines", groups.map((group) => check("line", group, group, swatch("", "var(--" + group + ")")))),
    kinds.length > 1 && fieldset("Runs of", kinds.map((kind) => check("runs", kind, kind))),
    classes > 0 && el("details", {class: "classes"}, el("summary", {}, "Single classes: " + classes + ", with their training samples at ratio " + number(last.ratio)),
      el("p", {class: "small find"}, classes > 12 && el("input", {type: "search", placeholder: "name of a class …", "aria-label": "name of a class", oninput: find}),
        el("button", {class: "plain", type: "button", onclick: setAll(true)}, "all"), el("button", {class: "plain", type: "button", onclick: setAll(false)}, "none")),
      el("div", {class: "options"}, boxes)),
  ].filter(Boolean));
}

// ---- Learning curves: the chart. ----

// A class has the colour of its group, paler the fewer samples it has.
function classColour(entry, k) {
  const group = list((entry.groups || {}).minority).includes(k) ? "minority" : "majority";
  const order = list(entry.groups[group]).slice().sort((a, b) => entry.counts[b] - entry.counts[a] || a - b);
  return mixed(colourOf(group), colourOf("card"), order.length > 1 ? 0.6 * order.indexOf(k) / (order.length - 1) : 0);
}
// Panels, and the lines of each. Settings that are compared share a panel, and have the colours.
function panelsOf() {
  const several = chosen.setting.length > 1, panels = new Map();
  for (const number_ of chosen.setting) {
    const entries = settings[number_].ratios.filter((e) => chosen.ratio.includes(e.ratio) && chosen.runs.includes(kindOf(e)))
      .sort((a, b) => a.ratio - b.ratio || (kindOf(b) === STUDY) - (kindOf(a) === STUDY));
    for (const entry of entries) {
      for (const split of ["train", "test", "val"].filter((name) => chosen.split.includes(name) && (entry.splits || {})[name])) {
        const at = entry.splits[split], values = at[chosen.curve] || {};
        for (const line of chosen.line) {
          const single = typeof line === "number", series = single ? list(values.class)[line] : values[line];
          if (!series || !list(series.mean).some(known)) continue;
          const name = single ? className(entry, line) : line, kind = kindOf(entry) === STUDY ? "" : ", " + kindOf(entry);
          const title = "ratio " + number(entry.ratio) + kind + (several ? ", " + name : "");
          if (!panels.has(title)) panels.set(title, {entry, lines: []});
          // Where many are the majority's classes, both lines are seen: the wide one lies below the other.
          const width = single ? 1.6 : line === "majority" || line === "minority" ? 2.6 : 1.4;
          panels.get(title).lines.push({split, series, single, width,
            name: (several ? settings[number_].setting : name) + (chosen.split.length > 1 ? ", " + split : ""),
            times: CLOCKS[chosen.time](entry, at, membersOf(entry, line)),
            colour: several ? seriesColour(chosen.setting.indexOf(number_)) : single ? classColour(entry, line) : colourOf(line)});
        }
      }
    }
  }
  return [...panels].map(([title, panel]) => ({title, ...panel, lines: panel.lines.filter((line) => line.times.some(known))}))
    .filter((panel) => panel.lines.length);
}
function sizeOf(entry) {
  const counts = list(entry.counts), high = Math.max(...counts), low = Math.min(...counts);
  const size = !counts.length ? "" : high === low ? many(high, "sample") + " a class" : high + " to " + low + " samples a class";
  return [size, list(entry.seeds).length && many(entry.seeds.length, "seed")].filter(Boolean).join(", ");
}
// The outline of a band, a closed part for each stretch without a missing value.
function outline(times, low, high) {
  const [x, y] = [[], []];
  const close = (part) => {
    if (!part.some((k) => high[k] > low[k])) return;
    const back = part.slice().reverse();
    x.push(...part.map((k) => times[k]), ...back.map((k) => times[k]), null);
    y.push(...part.map((k) => high[k]), ...back.map((k) => low[k]), null);
  };
  let part = [];
  times.forEach((time, k) => {
    if (known(low[k]) && known(high[k]) && known(time)) return void part.push(k);
    close(part);
    part = [];
  });
  close(part);
  return {x, y};
}
function tracesOf(panel, place, named) {
  const axes = {xaxis: "x" + (place || ""), yaxis: "y" + (place || "")}, traces = [];
  const bands = panel.lines.length <= 16;  // the bands of many lines would hide each other
  for (const line of panel.lines) {
    const {mean, low, high} = line.series, kept = line.times.map((time) => chosen.log && time <= 0 ? null : time);
    const common = {...axes, legendgroup: line.name, x: kept};
    if (bands && low) traces.push({...common, ...outline(kept, low, high), type: "scatter", mode: "lines", fill: "toself", line: {width: 0},
      fillcolor: line.colour.startsWith("#") ? faint(line.colour, 0.16) : line.colour.replace("rgb(", "rgba(").replace(")", ",0.16)"), hoverinfo: "skip", showlegend: false});
    traces.push({...common, type: "scatter", mode: mean.filter(known).length < 25 ? "lines+markers" : "lines", name: line.name, y: mean, showlegend: !named.has(line.name),
      line: {color: line.colour, dash: DASHES[line.split][0], width: line.width}, marker: {size: 4, color: line.colour},
      text: mean.map((value, k) => measured(value) + (low && high && high[k] > low[k] ? " (" + measured(low[k]) + " to " + measured(high[k]) + ")" : "")),
      hovertemplate: "%{text}"});
    named.add(line.name);
  }
  return traces;
}

const PANEL = {one: 400, several: 300, least: 290, above: 44, below: 44, gap: 34, left: 52, right: 14};
function drawCurves(width) {
  const panels = panelsOf();
  nothing.hidden = panels.length > 0;
  curvesChart.hidden = !panels.length;  // a hidden chart has no width
  // On paper panels are smaller, so that the first page has what was found and its picture.
  const size = width ? {...PANEL, one: 300, several: 235, least: 200, above: 60} : PANEL;
  width = width || curvesChart.clientWidth;
  if (!width || !panels.length) return;
  const fits = Math.max(1, Math.min(4, Math.floor((width - PANEL.left) / size.least))), rows = Math.ceil(panels.length / fits), columns = Math.ceil(panels.length / rows);
  const named = new Set(), traces = panels.flatMap((panel, k) => tracesOf(panel, k && k + 1, named));
  const each = rows > 1 || columns > 1 ? size.several : size.one, tall = rows * each;
  // Names stand beside the panels where there are many, otherwise in lines below the buttons.
  const aside = named.size > 14, buttons = 30;
  const widest = 60 + 7 * Math.max(...[...named].map((name) => name.length));
  const legend = buttons + (aside ? 0 : 24 * Math.ceil(named.size / Math.max(1, Math.floor(width / widest)))) + 14;
  const inner = width - PANEL.left - PANEL.right - (aside ? 190 : 0), one = (inner - (columns - 1) * PANEL.gap) / columns;
  const layout = layoutOf({width, height: tall + legend, margin: {l: PANEL.left, r: PANEL.right + (aside ? 190 : 0), t: legend, b: 0}, hovermode: named.size > 20 ? "closest" : "x unified", annotations: [],
    legend: aside ? {x: 1.01, y: 1, tracegroupgap: 0} : {orientation: "h", x: 0, xanchor: "left", y: 1 - buttons / (tall + legend), yref: "container", yanchor: "top", tracegroupgap: 0}});
  // A logarithmic axis has a number at each power of ten; a short one also at 2 and 5 times that.
  // Plotly's own ticks there say 2 and 5, whatever the power.
  const times = panels.flatMap((panel) => panel.lines.flatMap((line) => line.times.filter((time) => known(time) && time > 0)));
  const [first, last] = chosen.zoom ? chosen.zoom : [Math.min, Math.max].map((end) => Math.log10(times.reduce((a, b) => end(a, b), times[0])));
  const powers = Array.from({length: Math.ceil(last) - Math.floor(first) + 1}, (_, k) => Math.floor(first) + k);
  const tickvals = powers.flatMap((power) => [1, 2, 5].map((k) => k * 10 ** power));
  const ticks = !chosen.log ? {} : last - first < 1.6 ? {tickvals, ticktext: tickvals.map(number)} : {dtick: 1};
  panels.forEach((panel, k) => {
    const name = k ? String(k + 1) : "", row = Math.floor(k / columns), column = k % columns;
    const left = (column * (one + PANEL.gap)) / inner, top = row * each + size.above, bottom = (row + 1) * each - PANEL.below;
    layout["xaxis" + name] = axisOf({domain: [left, left + one / inner], anchor: "y" + name, type: chosen.log ? "log" : "linear", matches: k ? "x" : undefined, showgrid: false, ticks: "outside",
      showline: true, hoverformat: ".5~g", ...ticks, exponentformat: "none", title: withTitle(chosen.time), range: chosen.zoom ? chosen.zoom.slice(0, 2) : undefined,
      nticks: Math.max(3, Math.floor(one / 60)), automargin: false, unifiedhovertitle: {text: "<b>" + chosen.time + " %{x}</b>"}});
    layout["yaxis" + name] = axisOf({domain: [1 - bottom / tall, 1 - top / tall], anchor: "x" + name, matches: k ? "y" : undefined, showticklabels: column === 0, automargin: false,
      range: chosen.zoom ? chosen.zoom.slice(2) : chosen.curve === "recall" ? [-0.02, 1.02] : undefined, rangemode: "tozero", nticks: 6,
      title: column ? undefined : withTitle(chosen.curve)});
    layout.annotations.push({xref: "x" + name + " domain", yref: "y" + name + " domain", x: 0, y: 1, xanchor: "left", yanchor: "bottom", showarrow: false, align: "left",
      text: "<b>" + safe(panel.title) + "</b><br><span style='color:" + colourOf("soft") + "'>" + safe(sizeOf(panel.entry)).replace(", ", one < 250 ? "<br>" : ", ") + "</span>"});
  });
  curvesChart.style.height = tall + legend + "px";
  draw(curvesChart, traces, layout, "learning_curves").then(followZoom);
}
// The address keeps what is zoomed to. A chart can be listened to once it has been drawn.
let follows = false;
function followZoom() {
  if (follows || !curvesChart.on) return;
  follows = true;
  curvesChart.on("plotly_relayout", (change) => {
    const end = (axis, k) => Object.entries(change).find(([key]) => new RegExp("^" + axis + "axis\\d*\\.range\\[" + k + "\\]").test(key))?.[1];
    const {xaxis, yaxis} = curvesChart.layout, zoomed = [0, 1].some((k) => known(end("x", k)) || known(end("y", k)));
    if (zoomed) choose("zoom", [...xaxis.range, ...yaxis.range]);
    else if (Object.keys(change).some((key) => key.endsWith("autorange"))) choose("zoom", null);
  });
}
// Plotly reads some HTML in texts: what comes from data is shown as it is written.
const safe = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// ---- Confusion of classes at the end of training, and the difference of two. ----

const confusions = list(data.confusion);
const confusionChart = el("div", {class: "chart", id: "confusion-chart"});
const compared = {shown: Math.max(0, confusions.findLastIndex((c) => c.setting === confusions[0].setting && kindOf(c) === STUDY)), from: -1};
function drawConfusion(width) {
  width = width || confusionChart.clientWidth;
  if (!width || !confusions.length) return;
  const one = confusions[compared.shown], other = confusions[compared.from], names = list(one.class_names).map(String), n = names.length;
  const order = [...Array(n).keys()].sort((a, b) => one.counts[b] - one.counts[a] || a - b);
  const values = order.map((i) => order.map((j) => one.shares[i][j] === null ? null : one.shares[i][j] - (other ? other.shares[i][j] : 0)));
  // Without the sign of a zero. Plotly's own format has a hyphen for a minus sign.
  const written = (digits) => values.map((row) => row.map((value) => known(value) ? minus((+value.toFixed(digits)).toFixed(digits)) : ""));
  // The middle of a long name is left out beside the axes: names often differ in their ends.
  const wide = width > 500, most = wide ? 24 : 10, short = (name) => name.length > most ? name.slice(0, most - 5) + "…" + name.slice(-4) : name;
  const labelled = (name) => order.map((k) => safe(name(names[k])) + " (" + one.counts[k] + ")");
  const labels = labelled(String), shortened = labelled(short), limit = other ? Math.max(0.01, ...values.flat().map(Math.abs)) : 1;
  const few = n <= 12, side = Math.min(width, Math.max(420, 150 + 40 * Math.min(n, 14)));
  const scale = [...(other ? ["heat-less"] : []), "card", "heat-more"].map((name, k, all) => [k / (all.length - 1), colourOf(name)]);
  const every = Math.ceil(n / Math.floor((side - 160) / 16)), ticks = [labels, shortened].map((texts) => texts.filter((_, k) => k % every === 0));
  const axis = (more) => axisOf({...more, type: "category", showgrid: false, tickvals: ticks[0], ticktext: ticks[1]});
  draw(confusionChart, [{type: "heatmap", z: values, x: labels, y: labels, zmin: other ? -limit : 0, zmax: limit, colorscale: scale, xgap: few ? 1 : 0, ygap: few ? 1 : 0,
    text: few && wide ? written(2) : undefined, texttemplate: few && wide ? "%{text}" : "", textfont: {color: colourOf("ink")}, customdata: written(3), hovertemplate: "%{y}<br>predicted as %{x}<br><b>%{customdata}</b><extra></extra>", colorbar: {thickness: 12, tickfont: {color: colourOf("soft")}, ...(wide ? {len: 0.8} : {orientation: "h", y: 1.04})}}],
  layoutOf({width: side, height: wide ? side : side + 60, margin: {l: 10, r: 10, t: wide ? 34 : 80, b: 10},
    xaxis: axis({title: withTitle("predicted"), tickangle: -45}), yaxis: axis({title: withTitle("class (training samples)"), autorange: "reversed"})}), "confusion");
}
if (confusions.length) {
  const labels = confusions.map((c) => [confusions.some((d) => d.setting !== c.setting) && c.setting, "ratio " + number(c.ratio), kindOf(c) !== STUDY && kindOf(c)].filter(Boolean).join(", "));
  body("confusion").append(el("div", {class: "card"}, el("div", {class: "choices"},
    select("confusion-of", "Shown", labels, compared.shown, (k) => { compared.shown = k; drawConfusion(); }),
    confusions.length > 1 && select("confusion-from", "Minus", ["nothing", ...labels], 0, (k) => { compared.from = k - 1; drawConfusion(); })), confusionChart));
} else leave("confusion");

// ---- The trade-off of settings: recall of the majority against the minority. ----

const tradeOff = list(data.trade_off);
const tradeChart = el("div", {class: "chart", id: "trade-off-chart"});
const tradeNote = el("p", {class: "soft small"}), MOST_NAMED = 12;
let tradeRatio = null;
// Names beside dots, and where a name is drawn there: to the side and up or down, in pixels.
const BESIDE = ["top right", "top left", "bottom right", "bottom left", "middle right", "middle left", "top center", "bottom center"];
const LETTER = 6.8, LINE = 14, AWAY = 7;
function nameBox([x, y], text, position) {
  const [up, side] = position.split(" "), wide = LETTER * text.length;
  const left = side === "right" ? x + AWAY : side === "left" ? x - AWAY - wide : x - wide / 2;
  const top = up === "top" ? y - AWAY - LINE : up === "bottom" ? y + AWAY : y - LINE / 2;
  return {left, right: left + wide, top, bottom: top + LINE};
}
const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
// One name after the other takes the place where it covers least: best no dot and no other name,
// then as few bars of intervals as can be. All in pixels; `inside` is the box they must stay in.
function placesOf(names, dots, bars, inside) {
  const taken = dots.map(([x, y]) => ({left: x - 5, right: x + 5, top: y - 5, bottom: y + 5}));
  return names.map((name, k) => {
    if (!name) return "top center";
    const covered = (position) => {
      const box = nameBox(dots[k], name, position), within = box.left >= inside.left && box.right <= inside.right && box.top >= inside.top && box.bottom <= inside.bottom;
      return (within ? 0 : 1000) + 10 * taken.filter((other) => overlap(box, other)).length + bars.filter((bar) => overlap(box, bar)).length;
    };
    const costs = BESIDE.map(covered), best = BESIDE[costs.indexOf(Math.min(...costs))];
    taken.push(nameBox(dots[k], name, best));
    return best;
  });
}
function drawTradeOff(width) {
  width = width || tradeChart.clientWidth;
  if (!width || !tradeOff.length) return;
  const points = tradeOff.filter((p) => p.ratio === tradeRatio);
  // Of many settings cross-entropy is named, and those that no other beats: that is as good for both groups and better for one.
  const beaten = (p) => points.some((q) => q.majority.mean >= p.majority.mean && q.minority.mean >= p.minority.mean && (q.majority.mean > p.majority.mean || q.minority.mean > p.minority.mean));
  const kinds = [["others", "quiet", (p) => !p.base && beaten(p)], ["beaten by none", "accent", (p) => !p.base && !beaten(p)], ["cross-entropy", "ink", (p) => p.base]];
  const wide = width > 500, all = points.length <= MOST_NAMED;
  tradeNote.textContent = !wide ? "Touch a dot to read its name." : all ? "" : "Named are cross-entropy and those that no other setting beats for both groups; point at a dot to read the others.";
  const size = {l: 60, r: 20, t: wide ? 70 : 110, b: 50, width: Math.min(width, 860), height: Math.min(width, 560) + (wide ? 0 : 60)};
  const ends = (e) => hasInterval(e) ? [e.low, e.high] : [e.mean, e.mean];
  const rangeOf = (group) => {
    const values = points.flatMap((p) => [p[group].mean, ...ends(p[group])]), low = Math.min(...values), high = Math.max(...values), room = 0.04 * (high - low || 1);
    return [low - room, high + room];
  };
  const [across, up] = [rangeOf("majority"), rangeOf("minority")], inner = [size.width - size.l - size.r, size.height - size.t - size.b];
  const x = (value) => inner[0] * (value - across[0]) / (across[1] - across[0]), y = (value) => inner[1] * (up[1] - value) / (up[1] - up[0]);
  const dots = points.map((p) => [x(p.majority.mean), y(p.minority.mean)]);
  const bars = points.flatMap((p, k) => {
    const [[left, right], [low, high]] = [ends(p.majority), ends(p.minority)], [atX, atY] = dots[k];
    return [{left: x(left), right: x(right), top: atY, bottom: atY}, {left: atX, right: atX, top: y(high), bottom: y(low)}];
  });
  const names = points.map((p) => wide && (all || p.base || !beaten(p)) ? p.setting : "");
  const positions = placesOf(names, dots, bars, {left: -size.l, right: inner[0] + size.r, top: -20, bottom: inner[1]});
  const error = (e, colour) => ({type: "data", symmetric: false, array: e.map((v) => ends(v)[1] - v.mean), arrayminus: e.map((v) => v.mean - ends(v)[0]), thickness: 1, width: 0, color: faint(colour, 0.6)});
  const traces = kinds.map(([name, of, belongs]) => {
    const which = [...points.keys()].filter((k) => belongs(points[k])), own = which.map((k) => points[k]), colour = colourOf(of);
    const [majority, minority] = [own.map((p) => p.majority), own.map((p) => p.minority)];
    return {type: "scatter", mode: "markers+text", name, x: majority.map((e) => e.mean), y: minority.map((e) => e.mean), error_x: error(majority, colour), error_y: error(minority, colour), cliponaxis: false,
      text: which.map((k) => safe(names[k])), textposition: which.map((k) => positions[k]), textfont: {color: colourOf("ink")}, marker: {size: 9, color: colour},
      customdata: own.map((p) => [safe(p.setting), withInterval(p.majority, measured), withInterval(p.minority, measured)]),
      hovertemplate: "<b>%{customdata[0]}</b><br>majority %{customdata[1]}<br>minority %{customdata[2]}<extra></extra>"};
  }).filter((trace) => trace.x.length);
  const axis = (group, range) => axisOf({title: withTitle("recall on test, " + group), range, automargin: false});
  draw(tradeChart, traces, layoutOf({width: size.width, height: size.height, margin: size, hovermode: "closest", showlegend: true,
    legend: {orientation: "h", x: 0, xanchor: "left", y: 1 - 30 / size.height, yref: "container", yanchor: "top"},
    xaxis: axis("majority", across), yaxis: axis("minority", up)}), "trade_off");
}
if (unique(tradeOff.map((p) => p.setting)).length > 1) {
  const ratios = unique(tradeOff.map((p) => p.ratio)).sort((a, b) => a - b);
  tradeRatio = ratios[ratios.length - 1];
  body("trade-off").append(el("div", {class: "card"}, ratios.length > 1 && el("div", {class: "choices"},
    fieldset("Imbalance ratio", ratios.map((ratio) => option("radio", "trade-ratio", number(ratio), ratio === tradeRatio, () => { tradeRatio = ratio; drawTradeOff(); })))), tradeChart, tradeNote));
} else leave("trade-off");

// ---- Draw, and draw anew when the width or the colours change. ----

// The others are drawn once they come near the window: the first one does not wait for them.
const others = new Map([[confusionChart, drawConfusion], [tradeChart, drawTradeOff]]), near = new Set();
const approach = new IntersectionObserver((entries) => {
  for (const {target, isIntersecting} of entries) {
    if (!isIntersecting) continue;
    approach.unobserve(target);
    near.add(target);
    others.get(target)();
  }
}, {rootMargin: "100% 0px"});
// With a width, as for print, those that are not near as well.
function drawAll(width) {
  if (settings.length) drawCurves(width);
  for (const [chart, drawOther] of others) if (width || near.has(chart)) drawOther(width);
}
if (!settings.some((s) => s.ratios.some((entry) => list(entry.seeds).length > 1))) for (const said of document.querySelectorAll(".of-seeds")) said.remove();
if (settings.length) {
  fromAddress();
  buildChoices();
  body("curves").append(el("div", {class: "card"}, curvesChart, nothing, choices));
  addEventListener("hashchange", () => {
    if (!location.hash.startsWith("#curves?")) return;
    fromAddress();
    buildChoices();
    drawCurves();
  });
} else body("curves").append(el("p", {class: "card"}, "No run was trained to its end, so there are no curves."));

const ready = loadPlotly().then(async () => {
  drawAll();
  await drawing;
  let width = document.body.clientWidth;
  new ResizeObserver(() => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    drawAll();
  }).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
  for (const chart of others.keys()) approach.observe(chart);
  document.documentElement.dataset.drawn = "yes";
}).catch((error) => {
  for (const chart of document.querySelectorAll(".chart")) chart.replaceWith(el("p", {}, "This browser cannot draw the charts (" + error.message + "). Figures and tables below have the numbers."));
});

// ---- A page that is kept current shows itself anew; its address keeps what was chosen. ----

const KEPT = "skewlab-kept";
if (known(data.reload)) {
  document.getElementById("made").append(" · kept current: shows itself anew every " + data.reload + " s");
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT)) || {open: [], top: 0};
    for (const summary of document.querySelectorAll("details > summary")) if (kept.open.includes(summary.textContent)) summary.parentNode.open = true;
    scrollTo(0, kept.top);
  } catch { /* A browser that keeps nothing for files shows the page from its start. */ }
  // A slow machine shows its charts first.
  ready.then(() => setInterval(() => {
    if (document.hidden || !getSelection().isCollapsed) return;  // nobody looks, or somebody copies
    const open = [...document.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
    try { sessionStorage.setItem(KEPT, JSON.stringify({open, top: scrollY})); } catch { /* as above */ }
    location.reload();
  }, 1000 * data.reload));
}

// ---- Print: what is folded and matters is opened, and charts fit the paper. ----

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details.matters:not([open])")];
  for (const details of opened) details.open = true;
  drawAll(680);
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
  drawAll();
});
