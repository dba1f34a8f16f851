import type { CSSProperties } from "react";
import type { Width } from "../../engine/document";
import { Slot, useEngine } from "../../runtime";
import { oneOf, space, type ViewComponent, type ViewProps } from "../contract";
import styles from "./row.module.css";

const ALIGN = ["stretch", "start", "center", "end"] as const;
const WIDTHS: readonly Width[] = ["base", "sm", "md", "lg"];

/** Columns at each width: a wider width takes what the narrower one says. Without any, children share the row. */
export function spanStyle(span: Partial<Record<Width, number>> | undefined, siblings: number): CSSProperties {
  const given =
    span && Object.keys(span).length > 0 ? span : { base: 12, md: Math.max(1, Math.floor(12 / siblings)) };
  let columns = 12;
  const style: Record<string, number> = {};
  for (const width of WIDTHS) {
    columns = given[width] ?? columns;
    style[`--span-${width}`] = columns;
  }
  return style as CSSProperties;
}

function Row({ name, props }: ViewProps) {
  const engine = useEngine();
  const siblings = engine.childrenOf(name, "body").length;
  return (
    <div className={styles.container}>
      <div
        className={styles.row}
        style={{ "--gap": space(props.gap), alignItems: oneOf(props.align, ALIGN, "stretch") }}
      >
        <Slot
          parent={name}
          wrap={(child, drawn) => (
            <div key={child} className={styles.cell} style={spanStyle(engine.spec(child).span, siblings)}>
              {drawn}
            </div>
          )}
        />
      </div>
    </div>
  );
}

export const row: ViewComponent = { type: "row", Component: Row };
