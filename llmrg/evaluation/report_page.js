// Draws the figures of a comparison report from the JSON block of the page; the words are already in its tables.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("figures").textContent);
  const config = { displayModeBar: false, responsive: true };
  const ids = ["bars", "forest", "curves", "cost"];
  const narrow = () => window.innerWidth < 640;
  let metric = data.metric;

  function ink() {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue("--" + name).trim();
  }

  function layout(color, more) {
    const axis = { gridcolor: color("line"), zerolinecolor: color("quiet"), linecolor: color("line"), automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow() ? 11 : 13, color: color("ink") },
      hoverlabel: { bgcolor: color("panel"), bordercolor: color("line"), font: { color: color("ink") } },
      margin: { l: 8, r: 16, t: 8, b: 44 }, showlegend: false, ...more,
      xaxis: { ...axis, ...(more.xaxis || {}) }, yaxis: { ...axis, ...(more.yaxis || {}) },
    };
  }

  const rows = (color) => ({ autorange: "reversed", showgrid: false, ticksuffix: "  ", type: "category" });
  const armColor = (color, arm) => color("arm-" + (data.arms[arm] % 12));
  const height = (count, each) => 70 + count * each;

  function bars(color) {
    const shown = data.bars[metric];
    return [[{
      type: "bar", orientation: "h", y: shown.map((b) => b.label), x: shown.map((b) => b.mean), width: 0.62,
      marker: { color: shown.map((b) => armColor(color, b.arm)) },
      error_x: {
        type: "data", symmetric: false, color: color("ink"), thickness: 1.3, width: 4,
        array: shown.map((b) => b.high - b.mean), arrayminus: shown.map((b) => b.mean - b.low),
      },
      customdata: shown.map((b) => [b.low, b.high]),
      hovertemplate: "%{y}<br>%{x:.4f} [%{customdata[0]:.4f}, %{customdata[1]:.4f}]<extra></extra>",
    }], layout(color, {
      height: height(shown.length, 30), yaxis: rows(color),
      xaxis: { rangemode: "tozero", title: { text: metric.toUpperCase() } },
    })];
  }

  function forest(color) {
    const looks = { "wins": ["win", "circle"], "loses": ["loss", "diamond"], "no difference shown": ["open", "circle-open"] };
    const shown = data.forest[metric];
    return [shown.map((c) => ({
      type: "scatter", mode: "markers", y: [c.label], x: [c.gain],
      marker: { size: 11, color: color(looks[c.verdict][0]), symbol: looks[c.verdict][1], line: { width: 2 } },
      error_x: {
        type: "data", symmetric: false, array: [c.high - c.gain], arrayminus: [c.gain - c.low],
        color: color(looks[c.verdict][0]), thickness: 2, width: 0,
      },
      hovertemplate: `%{y}<br>%{x:.1f} % [${c.low.toFixed(1)}, ${c.high.toFixed(1)}]<br>`
        + `${c.verdict}, p = ${c.p.toFixed(4)} after Holm<extra></extra>`,
    })), layout(color, {
      height: height(shown.length, 30),
      yaxis: { ...rows(color), categoryorder: "array", categoryarray: shown.map((c) => c.label) },
      xaxis: { rangemode: "tozero", title: { text: `gain in ${metric.toUpperCase()}, per cent` }, zeroline: true, zerolinewidth: 1.5 },
      annotations: shown.length ? [] : [{
        text: "no ratio: the arms it is compared with are too near to zero", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5,
      }],
    })];
  }

  function curves(color) {
    const named = new Set();
    const traces = [];
    for (const run of data.curves) {
      const group = run.group;
      const stroke = armColor(color, run.arm);
      traces.push({
        type: "scatter", mode: "lines", x: run.epochs, y: run.ndcg, name: group, legendgroup: group,
        showlegend: !named.has(group), opacity: 0.85, connectgaps: true,
        line: { color: stroke, width: 1.8, dash: ["solid", "dash", "dot", "dashdot"][run.dash % 4] },
        hovertemplate: `${group}, seed ${run.seed}<br>epoch %{x}: %{y:.4f}<extra></extra>`,
      });
      const best = run.epochs.indexOf(run.best);
      if (best >= 0) traces.push({
        type: "scatter", mode: "markers", x: [run.best], y: [run.ndcg[best]], legendgroup: group, showlegend: false,
        marker: { color: stroke, size: 8, line: { color: color("paper"), width: 1.5 } }, hoverinfo: "skip",
      });
      named.add(group);
    }
    const most = Math.max(...data.curves.flatMap((run) => run.epochs));
    const whole = most <= 10 ? { dtick: 1 } : {};  // few epochs would be marked in fractions
    return [traces, layout(color, {
      height: narrow() ? 380 : 420, showlegend: true, legend: { orientation: "h", y: -0.2, x: 0, yanchor: "top" },
      xaxis: { title: { text: "epoch" }, ...whole }, yaxis: { title: { text: "NDCG@10, validation" } },
    })];
  }

  function cost(color) {
    return [[{
      type: "bar", orientation: "h", y: data.cost.map((c) => c.label), x: data.cost.map((c) => c.seconds), width: 0.62,
      marker: { color: data.cost.map((c) => armColor(color, c.arm)) },
      hovertemplate: "%{y}<br>%{x:.2f} s<extra></extra>",
    }], layout(color, {
      height: height(data.cost.length, 30), yaxis: rows(color),
      xaxis: { rangemode: "tozero", title: { text: "training seconds per epoch" } },
    })];
  }

  const draw = { bars, forest, curves, cost };

  function show(names) {
    const color = ink();
    for (const name of names) {
      const place = document.getElementById(name);
      if (!place) continue;
      const [traces, form] = draw[name](color);
      form.xaxis.fixedrange = form.yaxis.fixedrange = true;
      Plotly.react(place, traces, form, config);
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
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(ids));
  show(ids);
})();
