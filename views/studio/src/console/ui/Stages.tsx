/** How far a preparation is: each stage with its own clock. */

import { Loader, Text } from "@mantine/core";
import { IconCheck, IconMinus, IconX } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import type { Stage } from "../api/types";
import { formatSeconds } from "./format";
import classes from "./Stages.module.css";

const TITLES: Record<string, string> = {
  upload: "Upload",
  fetch: "Fetch external data",
  environment: "Environment",
  start: "Start",
  load: "Load the model",
  example: "Try the example",
  app: "Ready-made app",
  validate: "Check documents",
  code: "Unpack code",
  live: "Go live",
};

const SAYS: Record<Stage["state"], string> = {
  waiting: "waiting",
  running: "running",
  done: "done",
  reused: "reused",
  skipped: "skipped",
  failed: "failed",
};

export function Stages({ stages }: { stages: Stage[] }) {
  return (
    <ol className={classes.list}>
      {stages.map((stage) => (
        <li key={stage.name} className={classes.stage} data-state={stage.state}>
          <span className={classes.mark}>
            <Mark state={stage.state} />
          </span>
          <div className={classes.body}>
            <Text size="sm" fw={550} component="span">
              {TITLES[stage.name] ?? stage.name}
            </Text>
            <Text size="xs" c="dimmed" component="span" className={classes.time}>
              {stage.state === "running" ? <Elapsed since={stage.started_at ?? null} /> : timeOf(stage)}
            </Text>
            {stage.detail && <div className={classes.detail}>{stage.detail}</div>}
          </div>
        </li>
      ))}
    </ol>
  );
}

function timeOf({ state, seconds }: Stage): string {
  if (state === "waiting" || state === "skipped") return SAYS[state];
  const time = seconds === null ? "" : formatSeconds(seconds);
  return state === "done" ? time : [SAYS[state], time].filter(Boolean).join(" · ");
}

function Mark({ state }: { state: Stage["state"] }) {
  if (state === "running") return <Loader size={14} aria-label={SAYS.running} />;
  if (state === "failed") return <IconX size={14} stroke={3} aria-label={SAYS.failed} />;
  if (state === "done" || state === "reused")
    return <IconCheck size={14} stroke={3} aria-label={SAYS[state]} />;
  if (state === "skipped") return <IconMinus size={14} aria-label={SAYS.skipped} />;
  return <span className={classes.dot} aria-hidden />;
}

function Elapsed({ since }: { since: string | null }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  if (!since) return "running";
  return `${Math.max(0, Math.floor((now - new Date(since).getTime()) / 1000))} s`;
}
