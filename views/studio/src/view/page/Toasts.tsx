import { CloseButton } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck, IconCircleX, IconInfoCircle } from "@tabler/icons-react";
import { useCallback, useRef, useState } from "react";
import type { ToastKind } from "../engine/actions";
import styles from "./toasts.module.css";

interface Toast {
  id: number;
  text: string;
  kind: ToastKind;
}

const ICONS = {
  info: IconInfoCircle,
  success: IconCircleCheck,
  warning: IconAlertTriangle,
  error: IconCircleX,
} as const;
const SHOWN_MS = 5000;
const MOST = 4;

export function useToasts() {
  const [toasts, setToasts] = useState<Toast[]>([]);
  const last = useRef(0);
  const dismiss = useCallback(
    (id: number) => setToasts((before) => before.filter((toast) => toast.id !== id)),
    [],
  );
  const toast = useCallback(
    (text: string, kind: ToastKind) => {
      last.current += 1;
      const id = last.current;
      setToasts((before) => [
        ...before.filter((shown) => shown.text !== text).slice(1 - MOST),
        { id, text, kind },
      ]);
      // An error stays until it was read.
      if (kind !== "error") window.setTimeout(() => dismiss(id), SHOWN_MS);
    },
    [dismiss],
  );
  return { toasts, toast, dismiss };
}

export function Toasts({ toasts, dismiss }: { toasts: Toast[]; dismiss: (id: number) => void }) {
  return (
    <div className={styles.toasts} role="status" aria-live="polite">
      {toasts.map(({ id, text, kind }) => {
        const Icon = ICONS[kind];
        return (
          <div key={id} className={styles.toast} data-kind={kind}>
            <Icon aria-hidden size={20} className={styles.icon} />
            <span className={styles.text}>{text}</span>
            <CloseButton size="sm" aria-label="Dismiss" onClick={() => dismiss(id)} />
          </div>
        );
      })}
    </div>
  );
}
