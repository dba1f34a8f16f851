/** Whether the API answers. The client reports, the banner listens. */

export type Connection = "up" | "down";

let current: Connection = "up";
const listeners = new Set<() => void>();

export const connection = {
  get: (): Connection => current,
  report(next: Connection): void {
    if (next === current) return;
    current = next;
    for (const listener of listeners) listener();
  },
  subscribe(listener: () => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};
