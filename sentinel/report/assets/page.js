"use strict";
// Draws the plots. Numbers and labels come from the page's own JSON; no text from outside passes through here.
(() => {
  const read = () => JSON.parse(document.getElementById("data").textContent);
  let data = read();
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const dashes = [[], [8, 4], [2, 3]];
  const height = 150;
  // A4 less its margins, at 96 dots an inch.
  const paperWidth = 640;
  // A label there would be cut off.
  const nearEnd = () => data.end - (data.end - data.begin) * 0.02;
  let drawn = [];

  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const number = (value) => (value === null || value === undefined ? "?" : Math.abs(value) >= 100 ? value.toFixed(0) : String(+value.toPrecision(3)));
  const local = (seconds) => new Date((seconds + data.offset) * 1000);
  const two = (value) => String(value).padStart(2, "0");
  const after = (seconds) => {
    const whole = Math.round(seconds);
    return `+${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  };
  const time = (seconds) => {
    if (data.relative) return after(seconds);
    const at = local(seconds);
    const day = local(data.begin).getUTCDate() !== local(data.end).getUTCDate() ? `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())} ` : "";
    return `${day}${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
  };

  function columns(plot) {
    const count = plot.lines[0][1].length;
    const times = Array.from({ length: count }, (_, n) => plot.begin + n * plot.step);
    // Of each value the largest, the least and the mean: uPlot fills between the first two.
    return [times, ...plot.lines.flatMap(([least, mean, most]) => [most, least, mean])];
  }

  // A value without a neighbour makes no line: it is a point.
  function alone(u, series) {
    const values = u.data[series];
    return Array.from(values.keys()).filter((n) => values[n] !== null && (values[n - 1] ?? null) === null && (values[n + 1] ?? null) === null);
  }

  function bands(plot) {
    const fills = ["critical", "warning", "info"].map(colour);
    return (u) => {
      const { ctx, bbox } = u;
      ctx.save();
      for (const [from, to, severity] of plot.bands) {
        const left = Math.max(u.valToPos(from, "x", true), bbox.left);
        const right = Math.min(Math.max(u.valToPos(to, "x", true), left + 2), bbox.left + bbox.width);
        if (right <= left) continue;
        ctx.fillStyle = fills[severity];
        ctx.globalAlpha = 0.12;
        ctx.fillRect(left, bbox.top, right - left, bbox.height);
        ctx.globalAlpha = 1;
        ctx.fillRect(left, bbox.top, right - left, 3 * devicePixelRatio);
      }
      ctx.restore();
    };
  }

  function draw(place, width) {
    const plot = data.plots[Number(place.dataset.plot)];
    const now = place.parentNode.querySelector(".now");
    const ink = { stroke: colour("quiet"), grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const lines = plot.labels.flatMap((_, n) => [
      { width: 0, points: { show: false } },
      { width: 0, points: { show: false } },
      { width: 1.75, stroke: colour(`line-${n}`), dash: dashes[n], points: { show: true, size: 5, fill: colour(`line-${n}`), filter: alone } },
    ]);
    const fills = plot.labels.map((_, n) => ({ series: [3 * n + 1, 3 * n + 2], fill: `${colour(`line-${n}`)}33` }));
    return new uPlot(
      {
        width,
        height,
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: { y: false, sync: { key: "page" }, drag: { setScale: false, x: false, y: false }, points: { show: false } },
        tzDate: (seconds) => uPlot.tzDate(new Date((seconds + data.offset) * 1000), "Etc/UTC"),
        scales: {
          x: { time: true, range: () => [data.begin, data.end] },
          y: { range: (_, least, most) => [0, plot.top || (most > 0 ? most * 1.1 : 1)] },
        },
        axes: [
          { ...ink, size: 30, space: 64, values: (u, splits, axis, space, step) => splits.map((at) => (at > nearEnd() ? "" : stamp(at, step))) },
          { ...ink, size: 56, space: 32, values: (_, splits) => splits.map(number) },
        ],
        series: [{}, ...lines],
        bands: fills,
        hooks: {
          drawClear: [bands(plot)],
          setCursor: [
            (u) => {
              const at = u.cursor.idx;
              now.textContent = at === null || at === undefined || u.cursor.left < 0 ? "" : said(plot, u, at);
            },
          ],
        },
      },
      columns(plot),
      place,
    );
  }

  function stamp(at, step) {
    if (data.relative) return after(at);
    const when = local(at);
    const clock = `${two(when.getUTCHours())}:${two(when.getUTCMinutes())}`;
    if (step >= 86400 || clock === "00:00") return `${when.getUTCDate()} ${["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][when.getUTCMonth()]}`;
    return step < 60 ? `${clock}:${two(when.getUTCSeconds())}` : clock;
  }

  function said(plot, u, at) {
    const parts = plot.lines.map(([least, mean, most], n) => {
      if (mean[at] === null) return `${plot.labels[n]} not known`;
      const span = least[at] === most[at] ? "" : ` (${number(least[at])} to ${number(most[at])})`;
      return `${plot.labels[n]} ${number(mean[at])}${span} ${plot.unit}`;
    });
    return `${time(u.data[0][at])}: ${parts.join(", ")}`;
  }

  function all() {
    for (const u of drawn) u.destroy();
    const paper = root.classList.contains("paper");
    drawn = [...document.querySelectorAll("[data-plot]")].map((place) => draw(place, paper ? paperWidth : place.clientWidth));
  }

  all();
  // A live page has other values.
  document.addEventListener("plots", () => {
    data = read();
    all();
  });
  dark.addEventListener("change", all);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width || root.classList.contains("paper")) return;
    width = innerWidth;
    drawn.forEach((u) => u.setSize({ width: u.root.parentNode.clientWidth, height }));
  });
  // On paper: light, and nothing folded.
  let folded = [];
  addEventListener("beforeprint", () => {
    root.classList.add("paper");
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((one) => (one.open = true));
    all();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("paper");
    folded.forEach((one) => (one.open = false));
    all();
  });
  // Where a link leads to a folded alert, it is opened.
  const unfold = () => {
    const there = location.hash.startsWith("#alert-") && document.getElementById(location.hash.slice(1));
    if (there) there.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();
  root.classList.add("drawn");
})();
