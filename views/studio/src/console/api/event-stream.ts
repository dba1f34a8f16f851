/** A version's events as React state: the version goes to the query cache, log lines are kept here. */

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useReducer, useState } from "react";
import { openStream } from "./client";
import { ApiError } from "./errors";
import { appendLog, emptyLog, type LogState } from "./logs";
import { usePlace, versionKey } from "./queries";
import { readEvents, type ServerEvent } from "./sse";
import type { LogLine, Version } from "./types";

export type StreamState = "connecting" | "live" | "waiting" | "refused";

type LogAction = { add: LogLine[] } | "clear";

function logReducer(state: LogState, action: LogAction): LogState {
  return action === "clear" ? emptyLog : appendLog(state, action.add);
}

export function useVersionEvents(model: string, number: number): { log: LogState; stream: StreamState } {
  const { api, workspace } = usePlace();
  const client = useQueryClient();
  const [log, dispatch] = useReducer(logReducer, emptyLog);
  const [stream, setStream] = useState<StreamState>("connecting");

  useEffect(() => {
    const abort = new AbortController();
    dispatch("clear");
    void follow({
      url: (after) => api.versionEventsUrl(model, number, after),
      signal: abort.signal,
      onState: setStream,
      onLines: (add) => dispatch({ add }),
      onVersion: (version) => client.setQueryData(versionKey(workspace.name, model, number), version),
    });
    return () => abort.abort();
  }, [api, client, model, number, workspace.name]);

  return { log, stream };
}

interface Following {
  url: (after: number) => string;
  signal: AbortSignal;
  onState: (state: StreamState) => void;
  onLines: (lines: LogLine[]) => void;
  onVersion: (version: Version) => void;
}

/** Reads the stream until aborted; reconnects where it left off, later and later while nobody answers. */
async function follow({ url, signal, onState, onLines, onVersion }: Following): Promise<void> {
  const batch = batched(onLines);
  let lastId = 0;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const response = await openStream(url(lastId), signal);
      failures = 0;
      onState("live");
      await readEvents(response, (event) => {
        if (event.event === "version") onVersion(JSON.parse(event.data) as Version);
        if (event.event !== "log") return;
        const line = lineOf(event);
        lastId = Math.max(lastId, line.id);
        batch(line);
      });
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      if (error instanceof ApiError && error.status < 500) return onState("refused");
    }
    onState("waiting");
    await pause(Math.min(15_000, 1_000 * 2 ** failures), signal);
  }
}

function lineOf(event: ServerEvent): LogLine {
  return JSON.parse(event.data) as LogLine;
}

/** A build may print thousands of lines in one read: they are drawn together. */
function batched(flush: (lines: LogLine[]) => void): (line: LogLine) => void {
  let waiting: LogLine[] = [];
  return (line) => {
    waiting.push(line);
    if (waiting.length > 1) return;
    setTimeout(() => {
      flush(waiting);
      waiting = [];
    }, 50);
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
