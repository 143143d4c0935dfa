// Draws the charts of the report from its tables, in the colours of the page.
(() => {
  "use strict";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // Okabe and Ito's palette: told apart with any colour vision.
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c7ae6", "#7f8c8d"];
  const colour = i => COLOURS[i % COLOURS.length];
  const plots = [];

  const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const rows = id => [...document.querySelectorAll("#" + id + " tbody tr")];
  const number = text => (text === "" || text === undefined || !(+text > 0) ? null : +text);
  const digits = text => (text.match(/(\d+)$/) || [null, text])[1];
  const short = v => (v == null ? "–" : v >= 0.001 ? +v.toPrecision(3) + "" : v.toExponential(2));

  // Axes of one look; x counts blocks, so only whole numbers are marked.
  const axis = options => ({
    stroke: style("--soft"), grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line"), width: 1 },
    font: "12px system-ui, sans-serif", ...options });
  const blockAxis = names => axis({
    space: 28, incrs: [1, 2, 5, 10, 20, 50, 100],
    values: (u, at) => at.map(i => (Number.isInteger(i) && names[i] !== undefined ? digits(names[i]) : "")) });

  function draw(id, height, options, data) {
    const place = document.getElementById(id);
    if (!place || data[0].length === 0) return;
    place.textContent = "";
    const width = () => Math.max(240, place.clientWidth);
    const plot = new uPlot({ width: width(), height, cursor: { drag: { x: false, y: false } }, ...options }, data, place);
    const watch = new ResizeObserver(() => plot.setSize({ width: width(), height }));
    watch.observe(place);
    plots.push(() => { watch.disconnect(); plot.destroy(); });
    return plot;
  }

  function errors() {
    const names = [], kinds = new Map();
    for (const row of rows("linears")) {
      const { block, kind, error, rounding } = row.dataset;
      if (number(error) === null) continue;
      if (names[names.length - 1] !== block && !names.includes(block)) names.push(block);
      if (!kinds.has(kind)) kinds.set(kind, { error: [], rounding: [] });
      const at = names.indexOf(block);
      kinds.get(kind).error[at] = number(error);
      kinds.get(kind).rounding[at] = number(rounding);
    }
    const full = list => names.map((_, i) => list[i] ?? null);
    const data = [names.map((_, i) => i)], series = [{ label: "block", value: (u, v) => (v == null ? "–" : names[v]) }];
    let i = 0;
    for (const [kind, values] of kinds) {
      data.push(full(values.error));
      series.push({ label: kind, stroke: colour(i), width: 2, points: { show: names.length <= 40, size: 6 },
        value: (u, v) => short(v) });
      i++;
    }
    i = 0;
    for (const [kind, values] of kinds) {
      const list = full(values.rounding);
      if (list.some(v => v !== null)) {
        data.push(list);
        series.push({ label: kind + ", rounding", stroke: colour(i), width: 1, dash: [4, 4], show: false, class: "rounding",
          points: { show: false }, value: (u, v) => short(v) });
      }
      i++;
    }
    const plot = draw("error-chart", 340, {
      title: "Relative error by block, log scale",
      scales: { x: { time: false, range: [-0.5, names.length - 0.5] }, y: { distr: 3 } },
      axes: [blockAxis(names), axis({ size: 64, values: (u, at) => at.map(v => (v === null ? "" : short(v))) })],
      series }, data);
    if (plot && series.length > kinds.size + 1) compare(plot, kinds.size + 1);
  }

  // A button that shows the dashed lines of rounding to nearest, which begin at a series.
  function compare(plot, first) {
    const place = document.getElementById("error-chart"), button = document.createElement("button");
    button.type = "button";
    const show = on => {
      place.classList.toggle("comparing", on);
      button.setAttribute("aria-pressed", String(on));
      button.textContent = (on ? "Hide" : "Compare with") + " rounding to nearest (dashed)";
      plot.batch(() => { for (let i = first; i < plot.series.length; i++) plot.setSeries(i, { show: on }); });
    };
    button.onclick = () => show(!place.classList.contains("comparing"));
    show(place.classList.contains("comparing"));
    place.append(button);
  }

  function times() {
    const heads = [...document.querySelectorAll("#blocks thead th")].slice(1).map(h => h.textContent);
    const table = rows("blocks"), names = table.map(r => r.cells[0].textContent);
    const seconds = heads.map((_, k) => table.map(r => +r.cells[k + 1].dataset.seconds));
    // Bars are drawn over each other, the whole first: each shows what the next does not cover.
    const sums = seconds.map((_, k) => names.map((_, b) => seconds.slice(k).reduce((sum, s) => sum + s[b], 0)));
    const bars = uPlot.paths.bars({ size: [0.7, 60] });
    draw("time-chart", 280, {
      title: "Seconds by block",
      scales: { x: { time: false, range: [-0.5, names.length - 0.5] }, y: { range: (u, low, high) => [0, high * 1.05] } },
      axes: [blockAxis(names), axis({ size: 56 })],
      series: [{ label: "block", value: (u, v) => (v == null ? "–" : names[v]) }].concat(heads.map((label, k) => ({
        label, stroke: colour(k), fill: colour(k), width: 0, paths: bars, points: { show: false },
        value: (u, v, s, at) => (at == null ? "–" : seconds[k][at].toFixed(3) + " s") }))) },
      [names.map((_, i) => i), ...sums]);
  }

  function all() {
    plots.splice(0).forEach(remove => remove());
    errors();
    times();
  }
  all();
  dark.addEventListener("change", all);
})();
