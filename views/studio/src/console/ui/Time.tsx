import { Text, Tooltip } from "@mantine/core";
import { useSyncExternalStore } from "react";
import { formatAgo, formatExact } from "./format";

const TICK_MS = 10_000;

let now = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | null = null;

/** One clock for all: a list of fifty rows needs no fifty timers. */
function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  now = Date.now();
  timer ??= setInterval(() => {
    now = Date.now();
    for (const each of listeners) each();
  }, TICK_MS);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0 || !timer) return;
    clearInterval(timer);
    timer = null;
  };
}

/** "3 minutes ago", with the exact time on hover and for machines. */
export function Ago({ at, fallback = "–" }: { at: string | null | undefined; fallback?: string }) {
  useSyncExternalStore(subscribe, () => now); // draws again as time goes by
  if (!at)
    return (
      <Text span c="dimmed" inherit>
        {fallback}
      </Text>
    );
  return (
    <Tooltip label={formatExact(at)}>
      <time dateTime={at} style={{ whiteSpace: "nowrap" }}>
        {formatAgo(at, Date.now())}
      </time>
    </Tooltip>
  );
}
