import { Button } from "@mantine/core";
import { IconCloudOff, IconLinkOff } from "@tabler/icons-react";
import { useEffect } from "react";
import styles from "./notice.module.css";

interface NoticeProps {
  kind: "missing" | "failed";
  text?: string;
  retry?: () => void;
}

const SAID = {
  missing: {
    title: "This app is not available",
    text: "It may have moved, or the link is not valid any more. Ask whoever sent it to you for a new one.",
    Icon: IconLinkOff,
  },
  failed: { title: "Something went wrong", text: "This page could not be loaded.", Icon: IconCloudOff },
} as const;

/** Instead of a view: says what is the matter and what to do, and no more than a stranger may know. */
export function Notice({ kind, text, retry }: NoticeProps) {
  const { title, text: usual, Icon } = SAID[kind];
  useEffect(() => {
    document.title = title;
  }, [title]);
  return (
    <main className={styles.notice} role="alert">
      <span className={styles.icon}>
        <Icon aria-hidden size={28} stroke={1.6} />
      </span>
      <h1 className={styles.title}>{title}</h1>
      <p className={styles.text}>{kind === "missing" ? usual : (text ?? usual)}</p>
      {retry && (
        <Button mt="lg" onClick={retry}>
          Try again
        </Button>
      )}
    </main>
  );
}
