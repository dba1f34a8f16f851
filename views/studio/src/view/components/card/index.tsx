import { useId } from "react";
import { useEngine } from "../../runtime";
import { optionalText, space, type ViewComponent, type ViewProps } from "../contract";
import styles from "./card.module.css";

function Card({ name, props, slot }: ViewProps) {
  const titleId = useId();
  const title = optionalText(props.title);
  const description = optionalText(props.description);
  const hasActions = useEngine().childrenOf(name, "actions").length > 0;
  return (
    <section className={styles.card} aria-labelledby={title ? titleId : undefined}>
      {(title || description || hasActions) && (
        <header className={styles.header}>
          <div className={styles.titles}>
            {title && (
              <h2 className={styles.title} id={titleId}>
                {title}
              </h2>
            )}
            {description && <p className={styles.description}>{description}</p>}
          </div>
          {hasActions && <div className={styles.actions}>{slot("actions")}</div>}
        </header>
      )}
      <div className={styles.body} style={{ gap: space(props.gap) }}>
        {slot("body")}
      </div>
    </section>
  );
}

export const card: ViewComponent = { type: "card", Component: Card };
