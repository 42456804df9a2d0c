// Draws the figures of a comparison report from the JSON block of the page; the words are already in its tables.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("figures").textContent);
  const config = { displayModeBar: false, responsive: true };
  const ids = ["bars", "forest", "curves", "cost"];
  const root = document.documentElement;
  const paper = 640; // pixels: fits A4 and Letter, whose width is not known before printing
  const printing = () => root.classList.contains("printing");
  const narrow = () => window.innerWidth < 640 || printing();
  const hidden = new Set(); // arms whose curves are not drawn
  let metric = data.metric;

  function ink() {
    const style = getComputedStyle(root);
    return (name) => style.getPropertyValue("--" + name).trim();
  }

  function layout(color, more) {
    const axis = { gridcolor: color("line"), zerolinecolor: color("quiet"), linecolor: color("line"), automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow() ? 11 : 13, color: color("ink") },
      hoverlabel: { bgcolor: color("panel"), bordercolor: color("line"), font: { color: color("ink") } },
      margin: { l: 8, r: 16, t: 8, b: 44 }, showlegend: false, barmode: "overlay", ...more,
      xaxis: { ...axis, ...(more.xaxis || {}) }, yaxis: { ...axis, ...(more.yaxis || {}) },
    };
  }

  // a row is placed by its number: two names may look the same
  const places = (shown) => shown.map((_, place) => place);
  const names = (shown, between = " · ") => shown.map((row) => row.group + between + row.name);
  const rows = (shown) => ({
    range: [Math.max(shown.length, 1) - 0.5, -0.5], showgrid: false, zeroline: false,
    tickmode: "array", tickvals: places(shown),
    ticktext: names(shown, narrow() ? "  <br>" : " · ").map((name) => name + "  "),
  });
  const armColor = (color, arm) => color("arm-" + (arm % data.colours));
  const height = (shown) => 70 + shown.length * (narrow() ? 34 : 30);

  function bars(color) {
    const shown = data.bars[metric];
    return [[{
      type: "bar", orientation: "h", y: places(shown), x: shown.map((b) => b.mean), width: 0.62,
      marker: { color: shown.map((b) => armColor(color, b.arm)) },
      error_x: {
        type: "data", symmetric: false, color: color("ink"), thickness: 1.3, width: 4,
        array: shown.map((b) => b.high - b.mean), arrayminus: shown.map((b) => b.mean - b.low),
      },
      customdata: shown.map((b) => [b.low, b.high]), hovertext: names(shown),
      hovertemplate: "%{hovertext}<br>%{x:.4f} [%{customdata[0]:.4f}, %{customdata[1]:.4f}]<extra></extra>",
    }], layout(color, {
      height: height(shown), yaxis: rows(shown),
      xaxis: { rangemode: "tozero", title: { text: metric.toUpperCase() } },
    })];
  }

  function forest(color) {
    const looks = { "wins": ["win", "circle"], "loses": ["loss", "diamond"], "no difference shown": ["open", "circle-open"] };
    const shown = data.forest[metric];
    return [shown.map((c, place) => ({
      type: "scatter", mode: "markers", y: [place], x: [c.gain], hovertext: names([c]),
      marker: { size: 11, color: color(looks[c.verdict][0]), symbol: looks[c.verdict][1], line: { width: 2 } },
      error_x: {
        type: "data", symmetric: false, array: [c.high - c.gain], arrayminus: [c.gain - c.low],
        color: color(looks[c.verdict][0]), thickness: 2, width: 0,
      },
      hovertemplate: `%{hovertext}<br>%{x:.1f} % [${c.low.toFixed(1)}, ${c.high.toFixed(1)}]<br>`
        + `${c.verdict}, p = ${c.p.toFixed(4)} after Holm<extra></extra>`,
    })), layout(color, {
      height: height(shown), yaxis: rows(shown),
      xaxis: { rangemode: "tozero", title: { text: `gain in ${metric.toUpperCase()}, per cent` }, zeroline: true, zerolinewidth: 1.5 },
      annotations: shown.length ? [] : [{
        text: "no ratio: the arms it is compared with are too near to zero", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5,
      }],
    })];
  }

  function curves(color) { // one panel for each model on each data set
    const traces = [];
    const panels = [];
    for (const run of data.curves) {
      const stroke = armColor(color, run.arm);
      const number = run.panel ? run.panel + 1 : "";
      const common = { type: "scatter", xaxis: "x" + number, yaxis: "y" + number, visible: !hidden.has(run.arm) };
      panels[run.panel] = run.group;
      traces.push({
        ...common, mode: "lines", x: run.epochs, y: run.ndcg, opacity: 0.85, connectgaps: true,
        line: { color: stroke, width: 1.8, dash: data.dashes[run.arm] || "solid" },
        hovertemplate: `${run.name}, seed ${run.seed}<br>epoch %{x}: %{y:.4f}<extra></extra>`,
      });
      const best = run.epochs.indexOf(run.best);
      if (best >= 0) traces.push({
        ...common, mode: "markers", x: [run.best], y: [run.ndcg[best]],
        marker: { color: stroke, size: 8, line: { color: color("paper"), width: 1.5 } }, hoverinfo: "skip",
      });
    }
    const most = Math.max(...data.curves.flatMap((run) => run.epochs));
    const whole = most <= 10 ? { dtick: 1 } : {};  // few epochs would be marked in fractions
    const columns = narrow() ? 1 : Math.min(2, panels.length);
    const form = layout(color, {});
    const axes = {
      xaxis: { title: { text: "epoch" }, zeroline: false, ...whole }, yaxis: { title: { text: "NDCG@10, validation" } },
    };
    panels.forEach((_, n) => {
      for (const axis of ["xaxis", "yaxis"]) form[axis + (n ? n + 1 : "")] = { ...form[axis], ...axes[axis] };
    });
    return [traces, {
      ...form, height: 360 * Math.ceil(panels.length / columns), margin: { ...form.margin, t: 30 },
      grid: { rows: Math.ceil(panels.length / columns), columns, pattern: "independent", xgap: 0.16, ygap: 0.28 },
      annotations: panels.map((text, n) => ({
        text, showarrow: false, x: 0, xanchor: "left", y: 1, yanchor: "bottom",
        xref: `x${n ? n + 1 : ""} domain`, yref: `y${n ? n + 1 : ""} domain`,
      })),
    }];
  }

  function cost(color) {
    return [[{
      type: "bar", orientation: "h", y: places(data.cost), x: data.cost.map((c) => c.seconds), width: 0.62,
      marker: { color: data.cost.map((c) => armColor(color, c.arm)) },
      hovertext: names(data.cost), hovertemplate: "%{hovertext}<br>%{x:.2f} s<extra></extra>",
    }], layout(color, {
      height: height(data.cost), yaxis: rows(data.cost),
      xaxis: { rangemode: "tozero", title: { text: "training seconds per epoch" } },
    })];
  }

  const draw = { bars, forest, curves, cost };

  function show(names, plot = Plotly.react) {
    const color = ink();
    for (const name of names) {
      const place = document.getElementById(name);
      if (!place) continue;
      const [traces, form] = draw[name](color);
      for (const [part, axis] of Object.entries(form)) if (/^[xy]axis/.test(part)) axis.fixedrange = true;
      if (printing()) form.width = paper;
      plot(place, traces, form, config);
    }
  }

  const choices = [...document.querySelectorAll("select.metric")];
  for (const choice of choices) {
    choice.value = metric; // a browser may have kept another one over a reload
    choice.addEventListener("change", () => {
      metric = choice.value;
      for (const other of choices) other.value = metric;
      show(["bars", "forest"]);
    });
  }
  for (const box of document.querySelectorAll(".legend input")) {
    box.addEventListener("change", () => {
      hidden[box.checked ? "delete" : "add"](Number(box.value));
      show(["curves"]);
    });
  }
  for (const [event, on] of [["beforeprint", true], ["afterprint", false]]) {
    window.addEventListener(event, () => {
      root.classList.toggle("printing", on);
      show(ids, Plotly.newPlot); // which measures the width anew
    });
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(ids));
  show(ids);
})();
