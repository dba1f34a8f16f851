/** Keys for people who know them. Pure: an event and what was pressed before, to what is meant. */

import { ROOMS } from "./places";

export type Command = { go: string } | "palette" | "help" | "search";

export interface Press {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  isTyping: boolean;
  at: number;
}

/** How long `g` waits for its second letter. */
const CHORD_MS = 1_200;

export interface Reading {
  command: Command | null;
  /** When `g` was pressed and still counts; null otherwise. */
  chordAt: number | null;
}

export function readPress(press: Press, chordAt: number | null): Reading {
  const key = press.key.toLowerCase();
  if ((press.ctrlKey || press.metaKey) && key === "k") return { command: "palette", chordAt: null };
  if (press.isTyping || press.ctrlKey || press.metaKey || press.altKey)
    return { command: null, chordAt: null };
  if (chordAt !== null && press.at - chordAt < CHORD_MS) {
    const room = ROOMS.find(({ letter }) => letter === key);
    return { command: room ? { go: room.path } : null, chordAt: null };
  }
  if (key === "g") return { command: null, chordAt: press.at };
  if (press.key === "?") return { command: "help", chordAt: null };
  if (press.key === "/") return { command: "search", chordAt: null };
  return { command: null, chordAt: null };
}

export const SHORTCUTS: readonly [keys: string[], meaning: string][] = [
  [["Ctrl", "K"], "Find anything"],
  [["/"], "Search this list"],
  ...ROOMS.map(({ letter, title }): [string[], string] => [["g", letter], `Go to ${title.toLowerCase()}`]),
  [["↑", "↓"], "Move through a list"],
  [["Enter"], "Open the row"],
  [["?"], "Show this help"],
];
