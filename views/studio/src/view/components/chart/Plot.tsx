import { Skeleton, useComputedColorScheme } from "@mantine/core";
import type { PlotlyModule } from "plotly.js-cartesian-dist-min";
import { useEffect, useRef, useState } from "react";
import type { JsonObject } from "../../engine/document";
import { isObject } from "../../engine/values";
import styles from "./chart.module.css";
import { themed } from "./look";
import "./plotly.css";
import type { Figure } from "./traces";

const CARTESIAN = new Set(
  "bar box contour heatmap histogram histogram2d histogram2dcontour image pie scatter scatterternary violin".split(
    " ",
  ),
);

const OWN_STYLES = "plotly.js-style-global";

/** Tell Plotly that its rules are here already, by an element of the name that it looks for. */
function claimStyles(): void {
  if (document.getElementById(OWN_STYLES)) return;
  const claim = document.createElement("meta");
  claim.id = OWN_STYLES;
  claim.className = "no-inline-styles";
  document.head.append(claim);
}

/** Most charts need a third of Plotly. The whole of it comes for maps, 3-D and the rarer kinds. */
async function loadPlotly(figure: Figure): Promise<PlotlyModule> {
  claimStyles();
  const plain = figure.data.every((trace) => CARTESIAN.has(String(trace.type ?? "scatter")));
  const module = plain
    ? await import("plotly.js-cartesian-dist-min")
    : await import("plotly.js-strict-dist-min");
  return module.default;
}

const CONFIG = { displayModeBar: false, displaylogo: false, responsive: false, showTips: false };

export default function Plot({ figure, height, label }: { figure: Figure; height: number; label: string }) {
  const place = useRef<HTMLDivElement>(null);
  const loaded = useRef<PlotlyModule | null>(null);
  const scheme = useComputedColorScheme("light");
  const [state, setState] = useState<"loading" | "drawn" | Error>("loading");

  useEffect(() => {
    const element = place.current;
    if (!element) return;
    let gone = false;
    const draw = async () => {
      try {
        const plotly = await loadPlotly(figure);
        if (gone) return;
        loaded.current = plotly;
        const { data, layout } = themed(copyOf(figure), scheme, height, getComputedStyle(document.body));
        await plotly.react(element, data, layout, CONFIG);
        setState("drawn");
      } catch (thrown) {
        setState(thrown instanceof Error ? thrown : new Error("This chart cannot be drawn."));
      }
    };
    void draw();
    const observer = new ResizeObserver(() => {
      // A hidden element has no size to draw in; it comes back here when it shows.
      if (loaded.current && element.offsetWidth > 0 && element.classList.contains("js-plotly-plot")) {
        void Promise.resolve(loaded.current.Plots.resize(element)).catch(() => {});
      }
    });
    observer.observe(element);
    return () => {
      gone = true;
      observer.disconnect();
    };
  }, [figure, height, scheme]);

  useEffect(() => {
    const element = place.current;
    return () => {
      if (element) loaded.current?.purge(element);
    };
  }, []);

  // The component's boundary says it in its place.
  if (state instanceof Error) throw state;
  return (
    <div className={styles.plot} role="img" aria-label={label}>
      {state === "loading" && <Skeleton height={height} />}
      <div ref={place} />
    </div>
  );
}

/** Plotly writes into what it is given, and the figure belongs to the engine. */
function copyOf(figure: Figure): Figure {
  const copy = structuredClone(figure);
  return { data: copy.data.filter((trace): trace is JsonObject => isObject(trace)), layout: copy.layout };
}
