import { useEngine } from "../../runtime";
import { flag, oneOf, space, type ViewComponent, type ViewProps } from "../contract";
import styles from "./page.module.css";

const WIDTHS = ["narrow", "normal", "wide", "full"] as const;

function Page({ props, slot }: ViewProps) {
  const { title, description } = useEngine().document;
  return (
    <main
      id="content"
      tabIndex={-1}
      className={styles.page}
      data-width={oneOf(props.width, WIDTHS, "normal")}
    >
      {flag(props.heading) && (
        <header className={styles.header}>
          <h1 className={styles.title}>{title}</h1>
          {description && <p className={styles.description}>{description}</p>}
        </header>
      )}
      <div className={styles.body} style={{ gap: space(props.gap, "lg") }}>
        {slot("body")}
      </div>
    </main>
  );
}

export const page: ViewComponent = { type: "page", Component: Page };
