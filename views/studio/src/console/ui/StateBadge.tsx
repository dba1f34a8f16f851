import { Loader } from "@mantine/core";
import classes from "./StateBadge.module.css";

type Tone = "good" | "bad" | "busy" | "warn" | "calm";

const TONES: Record<string, Tone> = {
  ready: "good",
  running: "good",
  succeeded: "good",
  done: "good",
  live: "good",
  alive: "good",
  active: "good",
  reused: "good",
  failed: "bad",
  unhealthy: "bad",
  gone: "bad",
  revoked: "bad",
  pending: "busy",
  building: "busy",
  resolving: "busy",
  starting: "busy",
  loading: "busy",
  preparing: "busy",
  draining: "busy",
  expired: "warn",
  cancelled: "warn",
};

/** A state in words, with a dot for those who scan. Colour is never the only sign. */
export function StateBadge({ state, label }: { state: string; label?: string }) {
  const tone = TONES[state] ?? "calm";
  return (
    <span className={classes.badge} data-tone={tone}>
      {tone === "busy" ? (
        <Loader size={10} color="currentColor" aria-hidden />
      ) : (
        <span className={classes.dot} aria-hidden />
      )}
      {label ?? sentence(state)}
    </span>
  );
}

function sentence(state: string): string {
  return state.charAt(0).toUpperCase() + state.slice(1);
}
