/** The little of Plotly that is used here; its strict and cartesian builds carry no types. */
declare module "plotly.js-cartesian-dist-min" {
  export interface PlotlyModule {
    react(element: HTMLElement, data: unknown[], layout: object, config: object): Promise<unknown>;
    purge(element: HTMLElement): void;
    Plots: { resize(element: HTMLElement): unknown };
  }
  const plotly: PlotlyModule;
  export default plotly;
}

declare module "plotly.js-strict-dist-min" {
  import type { PlotlyModule } from "plotly.js-cartesian-dist-min";

  const plotly: PlotlyModule;
  export default plotly;
}
