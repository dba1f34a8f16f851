/** What a log viewer holds: lines in order, each once, and no more than a browser can bear. */

import type { LogLine } from "./types";

export interface LogState {
  lines: readonly LogLine[];
  lastId: number;
  droppedCount: number;
}

export const emptyLog: LogState = { lines: [], lastId: 0, droppedCount: 0 };

const MOST_LINES = 20_000;

/**
 * Adds what arrived. A stream that reconnects sends lines again: those at or before the last one are ignored.
 * The server sends chunks of text; each line becomes a row of its own.
 */
export function appendLog(state: LogState, arrived: readonly LogLine[], mostLines = MOST_LINES): LogState {
  const fresh = arrived.filter((line) => line.id > state.lastId).sort((a, b) => a.id - b.id);
  if (fresh.length === 0) return state;
  const unique = fresh.filter((line, index) => index === 0 || line.id !== fresh[index - 1]?.id);
  const lines = [...state.lines, ...unique.flatMap(splitLines)];
  const surplus = Math.max(0, lines.length - mostLines);
  return {
    lines: surplus ? lines.slice(surplus) : lines,
    lastId: unique[unique.length - 1]?.id ?? state.lastId,
    droppedCount: state.droppedCount + surplus,
  };
}

export function searchLog(lines: readonly LogLine[], text: string): number[] {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  return lines.flatMap((line, index) => (line.text.toLowerCase().includes(wanted) ? [index] : []));
}

export function logAsText(lines: readonly LogLine[]): string {
  return lines.map((line) => `${line.at} ${line.source} ${line.text}\n`).join("");
}

function splitLines(chunk: LogLine): LogLine[] {
  return chunk.text
    .replace(/\r?\n$/, "")
    .split(/\r?\n/)
    .map((text) => ({ ...chunk, text: afterCarriageReturn(stripControl(text)) }));
}

/** A progress bar redraws its line with CR; what is left on a terminal is the last drawing. */
function afterCarriageReturn(text: string): string {
  const drawings = text.split("\r").filter(Boolean);
  return drawings[drawings.length - 1] ?? "";
}

function stripControl(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal escapes are control characters
  return text.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "");
}
