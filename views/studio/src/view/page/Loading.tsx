import { Skeleton } from "@mantine/core";
import styles from "./loading.module.css";

/** The shape of a page while it is on its way. */
export function Loading() {
  return (
    <div className={styles.loading} role="status" aria-label="Loading">
      <div className={styles.header}>
        <Skeleton width={28} height={28} radius="md" />
        <Skeleton width={140} height={16} />
      </div>
      <div className={styles.page}>
        <Skeleton width="min(18rem, 70%)" height={30} />
        <Skeleton width="min(32rem, 95%)" height={16} mt={14} mb={34} />
        <div className={styles.columns}>
          <Skeleton height={320} radius="lg" />
          <Skeleton height={220} radius="lg" />
        </div>
      </div>
    </div>
  );
}
