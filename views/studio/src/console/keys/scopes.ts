import type { Key, Scope } from "../api/types";

export interface ScopeChoice {
  scope: Scope;
  title: string;
  explanation: string;
  needs: "write" | "manage" | "system";
}

export const SCOPES: readonly ScopeChoice[] = [
  {
    scope: "predict",
    title: "Predict",
    explanation: "Call models and worklets. For applications.",
    needs: "write",
  },
  {
    scope: "read",
    title: "Read",
    explanation: "See models, apps, runs and environments. For dashboards.",
    needs: "write",
  },
  {
    scope: "deploy",
    title: "Deploy",
    explanation: "Both of these, and deploy models and apps. For notebooks and CI.",
    needs: "write",
  },
  {
    scope: "admin",
    title: "Admin",
    explanation: "Everything in this workspace, members and keys included.",
    needs: "manage",
  },
  {
    scope: "system",
    title: "System",
    explanation: "See the state of this installation. For monitoring.",
    needs: "system",
  },
];

export type KeyState = "active" | "expired" | "revoked";

export function keyState(
  { revoked_at, expires_at }: Pick<Key, "revoked_at" | "expires_at">,
  now: number,
): KeyState {
  if (revoked_at) return "revoked";
  return expires_at && new Date(expires_at).getTime() <= now ? "expired" : "active";
}
