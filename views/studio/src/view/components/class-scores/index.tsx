import { IconChartBar } from "@tabler/icons-react";
import { ScoreBars } from "../../../kit/ScoreBars";
import { number, text, type ViewComponent, type ViewProps } from "../contract";
import { Empty } from "../Empty";
import styles from "./class-scores.module.css";
import { scoresOf } from "./scores";

function ClassScores({ props }: ViewProps) {
  const scores = scoresOf(props.scores, props.classes);
  const label = text(props.label, "Prediction");
  const best = scores?.[0];
  if (!scores || !best) return <Empty Icon={IconChartBar} text={text(props.empty)} />;
  const isShare = scores.every(({ value }) => value >= 0 && value <= 1);
  return (
    <div className={styles.scores}>
      <p className={styles.best} aria-live="polite">
        <span className={styles.label}>{label}</span>
        <span className={styles.name}>{best.label}</span>
        {isShare && <span className={styles.share}>{Math.round(best.value * 1000) / 10} % sure</span>}
      </p>
      <ScoreBars scores={scores} label={`${label}: scores by class`} limit={number(props.top) ?? 5} />
    </div>
  );
}

export const classScores: ViewComponent = { type: "class-scores", Component: ClassScores, skeleton: 200 };
