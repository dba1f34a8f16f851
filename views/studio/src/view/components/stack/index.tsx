import { oneOf, space, type ViewComponent, type ViewProps } from "../contract";
import styles from "./stack.module.css";

const ALIGN = ["stretch", "start", "center", "end"] as const;

function Stack({ props, slot }: ViewProps) {
  return (
    <div
      className={styles.stack}
      data-align={oneOf(props.align, ALIGN, "stretch")}
      style={{ gap: space(props.gap) }}
    >
      {slot("body")}
    </div>
  );
}

export const stack: ViewComponent = { type: "stack", Component: Stack };
