import type { JsonObject } from "../../engine/document";
import { isObject } from "../../engine/values";
import type { Figure } from "./traces";

const SERIES = {
  light: ["#4a60e0", "#12937d", "#d9730d", "#c0397b", "#2f8fd3", "#7a52cc", "#8a8f1d", "#c0392b"],
  dark: ["#7389f4", "#3cc3a9", "#f0a04b", "#ec79ab", "#66b8f0", "#a98af0", "#c5ca4f", "#f08a80"],
};

/**
 * The figure in the page's colours and type. What the figure says itself stays, except that Plotly's own white
 * template gives way: Python writes it into every figure, and it would be a lamp in a dark page.
 */
export function themed(
  figure: Figure,
  scheme: "light" | "dark",
  height: number,
  page: CSSStyleDeclaration,
): Figure {
  const role = (name: string) => page.getPropertyValue(name).trim();
  const text = role("--tf-text-muted") || "#666";
  const line = role("--tf-border") || "#ddd";
  const surface = role("--tf-surface") || "#fff";
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true, ticks: "" };
  const { template: _template, width: _width, ...given } = figure.layout;
  const base: JsonObject = {
    autosize: true,
    height,
    margin: { l: 48, r: 16, t: given.title ? 48 : 12, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: page.fontFamily, size: 12, color: text },
    colorway: SERIES[scheme],
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    hoverlabel: {
      bgcolor: surface,
      bordercolor: line,
      font: { family: page.fontFamily, color: role("--tf-text") || "#111" },
    },
    bargap: 0.3,
    barcornerradius: 4,
  };
  const space = { gridcolor: line, zerolinecolor: line, color: text, showbackground: false };
  const scene = { xaxis: space, yaxis: space, zaxis: space, ...objectOr(given.scene) };
  const axes = Object.fromEntries(
    axisNames(figure).map((name) => [name, { ...axis, ...objectOr(given[name]) }]),
  );
  return {
    data: figure.data,
    layout: {
      ...base,
      ...given,
      ...axes,
      scene,
      height: typeof given.height === "number" ? given.height : height,
    },
  };
}

function axisNames(figure: Figure): string[] {
  const named = Object.keys(figure.layout).filter((key) => /^[xy]axis\d*$/.test(key));
  return [...new Set(["xaxis", "yaxis", ...named])];
}

function objectOr(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}
