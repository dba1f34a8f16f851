/** The arithmetic of a chart over time. */

const STEPS = [1, 2, 2.5, 5, 10];

/** The first round number at or above a value: what the axis ends at. */
export function niceMaximum(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = STEPS.find((each) => each * power >= value * (1 - 1e-9)) ?? 10;
  return step * power;
}

/** Which moments are named below the axis: about five, at the same distance. */
export function timeTicks(times: number[]): number[] {
  const every = Math.max(Math.ceil(times.length / 6), 1);
  const ticks: number[] = [];
  for (let index = Math.floor(every / 2); index < times.length; index += every) ticks.push(index);
  return ticks;
}

const HOURS = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAYS = new Intl.DateTimeFormat("en", {
  weekday: "short",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const DAY_MS = 24 * 3600 * 1000;

/** When a moment of a chart was: with its day where the hour alone could be one of several days. */
export function momentText(time: number, times: number[]): string {
  const spanMs = (times.at(-1) ?? 0) - (times[0] ?? 0);
  return (spanMs > DAY_MS ? DAYS : HOURS).format(time);
}

/** A line through the values, lifted where there is none. */
export function linePath(
  values: (number | null)[],
  x: (index: number) => number,
  y: (value: number) => number,
): string {
  let path = "";
  let isDown = false;
  values.forEach((value, index) => {
    if (value !== null) path += `${isDown ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    isDown = value !== null;
  });
  return path;
}
