import classes from "./ScoreBars.module.css";

export interface Score {
  label: string;
  value: number;
}

interface ScoreBarsProps {
  scores: readonly Score[];
  label: string;
  /** At most so many bars; the rest is counted. */
  limit?: number;
}

/** Class scores as bars, best first as given. Scores of 0 to 1 read as percentages, others as they are. */
export function ScoreBars({ scores, label, limit = 12 }: ScoreBarsProps) {
  const isShare = scores.every(({ value }) => value >= 0 && value <= 1);
  const largest = isShare ? 1 : Math.max(...scores.map(({ value }) => Math.abs(value)), Number.MIN_VALUE);
  const shown = scores.slice(0, limit);
  return (
    <div className={classes.scores}>
      <ul className={classes.list} aria-label={label}>
        {shown.map(({ label: name, value }, index) => (
          <li key={name} className={classes.row} data-best={index === 0 || undefined}>
            <span className={classes.name} title={name}>
              {name}
            </span>
            <span className={classes.track} aria-hidden>
              <span className={classes.bar} style={{ width: `${(Math.abs(value) / largest) * 100}%` }} />
            </span>
            <span className={classes.value}>{isShare ? percent(value) : value.toPrecision(4)}</span>
          </li>
        ))}
      </ul>
      {scores.length > shown.length && (
        <p className={classes.more}>and {scores.length - shown.length} more</p>
      )}
    </div>
  );
}

function percent(value: number): string {
  return `${(value * 100).toFixed(value > 0 && value < 0.001 ? 3 : 1)} %`;
}
