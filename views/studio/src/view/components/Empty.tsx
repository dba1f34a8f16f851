import type { Icon } from "@tabler/icons-react";
import styles from "./Empty.module.css";

/** A place where something will be: what is missing, calmly. */
export function Empty({ Icon, text }: { Icon: Icon; text: string }) {
  return (
    <div className={styles.empty}>
      <Icon aria-hidden size={26} stroke={1.4} />
      <span>{text}</span>
    </div>
  );
}
