import { Box, Group, Text } from "@mantine/core";
import { type PointerEvent, useId, useMemo, useState } from "react";
import classes from "./TimeChart.module.css";
import { linePath, momentText, niceMaximum, timeTicks } from "./time-chart";

export interface Series {
  name: string;
  colour: string;
  /** One value a moment; null where there is nothing to say, which leaves a gap. */
  values: (number | null)[];
}

interface TimeChartProps {
  title: string;
  /** Milliseconds, evenly spaced, oldest first. */
  times: number[];
  series: Series[];
  /** Bars that stand on one another, for counts; lines for measures. */
  kind: "bars" | "lines";
  format: (value: number) => string;
  /** What is said where no value is. */
  emptyText: string;
}

const WIDTH = 460;
const HEIGHT = 150;
const LEFT = 52;
const BOTTOM = 20;
const TOP = 8;
const PLOT = WIDTH - LEFT - 4;

/** Values over time, small enough for three on a page. Hovering, or the arrow keys, reads one moment. */
export function TimeChart({ title, times, series, kind, format, emptyText }: TimeChartProps) {
  const [at, setAt] = useState<number | null>(null);
  const label = useId();
  const step = PLOT / Math.max(times.length, 1);
  const top = useMemo(() => niceMaximum(highest(series, times.length, kind)), [series, times.length, kind]);
  const y = (value: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const x = (index: number) => LEFT + step * (index + 0.5);
  const isEmpty = series.every(({ values }) => values.every((value) => value === null || value === 0));
  const move = (event: PointerEvent<SVGSVGElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const index = Math.floor((((event.clientX - box.left) / box.width) * WIDTH - LEFT) / step);
    setAt(index >= 0 && index < times.length ? index : null);
  };
  const shown = at ?? times.length - 1;

  return (
    <Box component="figure" m={0} aria-labelledby={label}>
      <Group justify="space-between" gap="xs" mb={4} component="figcaption">
        <Text id={label} size="sm" fw={600} component="span">
          {title}
        </Text>
        <Group gap="sm" aria-live={at === null ? "off" : "polite"}>
          {series.map(({ name, colour, values }) => (
            <Group key={name} gap={5} wrap="nowrap">
              <span className={classes.swatch} style={{ background: colour }} aria-hidden />
              <Text size="xs" c="dimmed" component="span">
                {name} {at !== null && told(values[shown], format)}
              </Text>
            </Group>
          ))}
          {at !== null && times[shown] !== undefined && (
            <Text size="xs" c="dimmed" component="span" ff="monospace">
              {momentText(times[shown], times)}
            </Text>
          )}
        </Group>
      </Group>
      <div
        className={classes.frame}
        role="slider"
        aria-labelledby={label}
        aria-valuemin={0}
        aria-valuemax={Math.max(times.length - 1, 0)}
        aria-valuenow={Math.max(shown, 0)}
        aria-valuetext={valueText(series, times, shown, format)}
        tabIndex={0}
        onBlur={() => setAt(null)}
        onKeyDown={(event) => {
          const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
          if (by === undefined) return;
          event.preventDefault();
          setAt(Math.min(Math.max(shown + by, 0), times.length - 1));
        }}
      >
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          className={classes.chart}
          aria-hidden
          onPointerMove={move}
          onPointerLeave={() => setAt(null)}
        >
          {[0, 0.5, 1].map((share) => (
            <g key={share}>
              <line
                x1={LEFT}
                x2={WIDTH - 4}
                y1={y(top * share)}
                y2={y(top * share)}
                className={share === 0 ? classes.axis : classes.grid}
              />
              <text x={LEFT - 8} y={y(top * share) + 4} className={classes.tick} textAnchor="end">
                {share === 0 ? "0" : isEmpty ? "" : format(top * share)}
              </text>
            </g>
          ))}
          {timeTicks(times).map((index) => (
            <text key={index} x={x(index)} y={HEIGHT - 4} className={classes.tick} textAnchor="middle">
              {momentText(times[index] ?? 0, times)}
            </text>
          ))}
          {at !== null && (
            <rect
              x={LEFT + step * at}
              y={TOP}
              width={step}
              height={HEIGHT - TOP - BOTTOM}
              className={classes.cursor}
            />
          )}
          {kind === "bars"
            ? stacked(series, times.length).map(({ index, colour, from, to, name }) => (
                <rect
                  key={`${name}-${index}`}
                  x={LEFT + step * (index + 0.12)}
                  width={Math.max(step * 0.76, 0.5)}
                  y={y(to)}
                  height={Math.max(y(from) - y(to), 0.75)}
                  fill={colour}
                />
              ))
            : series.map(({ name, colour, values }) => (
                <g key={name}>
                  <path d={linePath(values, x, y)} fill="none" stroke={colour} strokeWidth={1.75} />
                  {values.map(
                    (value, index) =>
                      value !== null &&
                      (values[index - 1] ?? null) === null &&
                      (values[index + 1] ?? null) === null && (
                        // biome-ignore lint/suspicious/noArrayIndexKey: a moment is its place
                        <circle key={index} cx={x(index)} cy={y(value)} r={2.25} fill={colour} />
                      ),
                  )}
                </g>
              ))}
          {isEmpty && (
            <text x={LEFT + PLOT / 2} y={HEIGHT / 2} className={classes.empty} textAnchor="middle">
              {emptyText}
            </text>
          )}
        </svg>
      </div>
    </Box>
  );
}

interface Bar {
  name: string;
  index: number;
  colour: string;
  from: number;
  to: number;
}

function stacked(series: Series[], length: number): Bar[] {
  const bars: Bar[] = [];
  for (let index = 0; index < length; index += 1) {
    let from = 0;
    for (const { name, colour, values } of series) {
      const value = values[index] ?? 0;
      if (value > 0) bars.push({ name, index, colour, from, to: from + value });
      from += value;
    }
  }
  return bars;
}

function highest(series: Series[], length: number, kind: "bars" | "lines"): number {
  let most = 0;
  for (let index = 0; index < length; index += 1) {
    const values = series.map(({ values }) => values[index] ?? 0);
    most = Math.max(
      most,
      kind === "bars" ? values.reduce((sum, value) => sum + value, 0) : Math.max(0, ...values),
    );
  }
  return most;
}

function told(value: number | null | undefined, format: (value: number) => string): string {
  return value === null || value === undefined ? "–" : format(value);
}

function valueText(
  series: Series[],
  times: number[],
  index: number,
  format: (value: number) => string,
): string {
  const time = times[index];
  if (time === undefined) return "nothing yet";
  const values = series.map(({ name, values }) => `${name} ${told(values[index], format)}`);
  return [momentText(time, times), ...values].join(", ");
}
