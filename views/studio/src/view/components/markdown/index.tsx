import { lazy, Suspense } from "react";
import { text, type ViewComponent, type ViewProps } from "../contract";
import styles from "./markdown.module.css";

const Rendered = lazy(() => import("./Rendered"));

/** The text stands there as written while its renderer loads. */
function Markdown({ props }: ViewProps) {
  const source = text(props.text);
  return (
    <Suspense fallback={<div className={`${styles.markdown} ${styles.plain}`}>{source}</div>}>
      <Rendered source={source} />
    </Suspense>
  );
}

export const markdown: ViewComponent = { type: "markdown", Component: Markdown, skeleton: 48 };
