import type { EnvironmentSummary } from "../api/types";

/** Environments have no names; what sets one apart is its Python and its first packages. */
export function environmentName({
  python_version,
  requirements,
}: Pick<EnvironmentSummary, "python_version" | "requirements">): string {
  const names = requirements.map((line) => line.split(/[\s<>=!~;[@]/)[0] ?? line).filter(Boolean);
  const shown = names.slice(0, 3).join(", ");
  const rest = names.length > 3 ? ` and ${names.length - 3} more` : "";
  return [`Python ${python_version ?? "default"}`, shown && shown + rest].filter(Boolean).join(" with ");
}
