import { number, optionalText, text, type ViewComponent, type ViewProps } from "../contract";
import { cellText } from "../table/rows";
import styles from "./statistic.module.css";

function Statistic({ props }: ViewProps) {
  const value = props.value ?? null;
  const unit = optionalText(props.unit);
  const description = optionalText(props.description);
  const shown = value === null || value === "" ? text(props.empty) : cellText(value, number(props.digits));
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset would be a group of inputs
    <div className={styles.statistic} role="group" aria-label={text(props.label)}>
      <div className={styles.label}>{text(props.label)}</div>
      <div className={styles.value} aria-live="polite">
        {shown}
        {unit && value !== null && <span className={styles.unit}> {unit}</span>}
      </div>
      {description && <div className={styles.description}>{description}</div>}
    </div>
  );
}

export const statistic: ViewComponent = { type: "statistic", Component: Statistic, skeleton: 72 };
