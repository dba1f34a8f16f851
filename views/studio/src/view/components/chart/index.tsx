import { Skeleton } from "@mantine/core";
import { IconChartHistogram } from "@tabler/icons-react";
import { lazy, Suspense, useMemo } from "react";
import { number, optionalText, text, type ViewComponent, type ViewProps } from "../contract";
import { Empty } from "../Empty";
import styles from "./chart.module.css";
import { descriptionOf, figureOf } from "./traces";

const Plot = lazy(() => import("./Plot"));

function Chart({ props }: ViewProps) {
  const figure = useMemo(() => figureOf(props), [props]);
  const height = number(props.height) ?? 320;
  const title = optionalText(props.title);
  if (!figure) return <Empty Icon={IconChartHistogram} text={text(props.empty)} />;
  return (
    <figure className={styles.chart}>
      {title && <figcaption className={styles.title}>{title}</figcaption>}
      <Suspense fallback={<Skeleton height={height} role="status" aria-label="Loading the chart" />}>
        <Plot figure={figure} height={height} label={descriptionOf(props, figure)} />
      </Suspense>
    </figure>
  );
}

export const chart: ViewComponent = { type: "chart", Component: Chart, skeleton: 320 };
