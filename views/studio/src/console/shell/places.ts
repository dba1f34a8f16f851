/** The rooms of the console, once: navigation, palette and shortcuts all read this. */

import {
  type Icon,
  IconActivity,
  IconBoxModel2,
  IconCpu,
  IconHistory,
  IconKey,
  IconLayoutDashboard,
  IconLock,
  IconPlanet,
  IconStack2,
  IconUsers,
} from "@tabler/icons-react";

export type Right = "write" | "operate" | "manage" | "system";

export interface Room {
  path: string;
  title: string;
  icon: Icon;
  /** Pressed after `g`. */
  letter: string;
  needs?: Right;
}

export const ROOMS: readonly Room[] = [
  { path: "models", title: "Models", icon: IconBoxModel2, letter: "m" },
  { path: "zoo", title: "Zoo", icon: IconPlanet, letter: "z", needs: "write" },
  { path: "apps", title: "Apps", icon: IconLayoutDashboard, letter: "a" },
  { path: "runs", title: "Runs", icon: IconHistory, letter: "r", needs: "operate" },
  { path: "load", title: "Load", icon: IconActivity, letter: "l", needs: "operate" },
  { path: "environments", title: "Environments", icon: IconStack2, letter: "e", needs: "operate" },
  { path: "secrets", title: "Secrets", icon: IconLock, letter: "p", needs: "write" },
  { path: "keys", title: "Keys", icon: IconKey, letter: "k", needs: "write" },
  { path: "members", title: "Members", icon: IconUsers, letter: "u" },
  { path: "system", title: "System", icon: IconCpu, letter: "s", needs: "system" },
];

const LAST = "tenfold-workspace";

/** Remembered so that the address without a workspace leads where one was. */
export const lastWorkspace = {
  get(): string | null {
    try {
      return localStorage.getItem(LAST);
    } catch {
      return null;
    }
  },
  set(name: string): void {
    try {
      localStorage.setItem(LAST, name);
    } catch {
      // A browser that keeps nothing: the first workspace is used.
    }
  },
};
