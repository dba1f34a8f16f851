import type { Json, JsonObject } from "../../engine/document";
import { isObject } from "../../engine/values";
import { optionalText, text } from "../contract";
import { rowsOf } from "../table/rows";

export interface Figure {
  data: JsonObject[];
  layout: JsonObject;
}

const MANY_SERIES = 40;

/** The Plotly figure for a chart: the given one as it is, or one made from rows; null when there is nothing to draw. */
export function figureOf(props: JsonObject): Figure | null {
  if (isObject(props.figure)) return givenFigure(props.figure);
  const rows = rowsOf(props.rows);
  if (rows.length === 0) return null;
  const kind = text(props.kind, "bar");
  const keys = Object.keys(rows[0] ?? {});
  const x = optionalText(props.x) ?? keys[0] ?? "x";
  const ys = namesOf(props.y) ?? defaultY(kind, keys, rows, x);
  if (ys.length === 0) return null;
  const color = optionalText(props.color);
  const groups = color ? groupBy(rows, color) : [["", rows] as const];
  const data = groups.flatMap(([group, members]) =>
    ys.map((y) =>
      trace(kind, x, y, members, [ys.length > 1 || !color ? y : "", group].filter(Boolean).join(" · ")),
    ),
  );
  const single = data.length === 1;
  return {
    data,
    layout: {
      showlegend: !single || kind === "pie",
      xaxis: { title: { text: kind === "pie" ? "" : kind === "histogram" ? (ys[0] ?? "") : x } },
      yaxis: { title: { text: kind === "histogram" ? "count" : ys.length === 1 ? (ys[0] ?? "") : "" } },
      ...(kind === "bar" && data.length > 1 ? { barmode: "group" } : {}),
    },
  };
}

function givenFigure(figure: JsonObject): Figure | null {
  const data = Array.isArray(figure.data) ? figure.data.filter(isObject) : [];
  return data.length > 0 ? { data, layout: isObject(figure.layout) ? figure.layout : {} } : null;
}

function namesOf(value: Json | undefined): string[] | null {
  if (typeof value === "string" && value) return [value];
  return Array.isArray(value) && value.length > 0 ? value.map((name) => text(name)) : null;
}

function defaultY(kind: string, keys: string[], rows: JsonObject[], x: string): string[] {
  if (kind === "histogram") return [x];
  const numeric = keys.filter((key) => key !== x && rows.some((row) => typeof row[key] === "number"));
  return kind === "pie" ? numeric.slice(0, 1) : numeric;
}

function groupBy(rows: JsonObject[], key: string): (readonly [string, JsonObject[]])[] {
  const groups = new Map<string, JsonObject[]>();
  for (const row of rows) {
    const name = text(row[key], "–");
    groups.set(name, [...(groups.get(name) ?? []), row]);
  }
  return [...groups].slice(0, MANY_SERIES);
}

function trace(kind: string, x: string, y: string, rows: JsonObject[], name: string): JsonObject {
  const xs = rows.map((row) => row[x] ?? null);
  const ys = rows.map((row) => row[y] ?? null);
  switch (kind) {
    case "line":
      return { type: "scatter", mode: rows.length > 60 ? "lines" : "lines+markers", x: xs, y: ys, name };
    case "area":
      return { type: "scatter", mode: "lines", fill: "tozeroy", x: xs, y: ys, name };
    case "scatter":
      return { type: "scatter", mode: "markers", x: xs, y: ys, name };
    case "pie":
      return { type: "pie", labels: xs, values: ys, hole: 0.5, name };
    case "histogram":
      return { type: "histogram", x: ys, name };
    default:
      return { type: "bar", x: xs, y: ys, name };
  }
}

/** What someone who cannot see the chart is told. */
export function descriptionOf(props: JsonObject, figure: Figure): string {
  const given = optionalText(props.label) ?? optionalText(props.title);
  const series = figure.data.map((entry) => text(entry.name)).filter(Boolean);
  const shown = series.length > 0 ? ` of ${series.slice(0, 6).join(", ")}` : "";
  return given ?? `${isObject(props.figure) ? "Chart" : `${text(props.kind, "bar")} chart`}${shown}`;
}
