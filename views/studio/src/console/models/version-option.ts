import type { Version } from "../api/types";

/** A version as a choice of a list. */
export function versionOption({ number, aliases }: Version): { value: string; label: string } {
  const also = aliases.length > 0 ? ` (${aliases.join(", ")})` : "";
  return { value: String(number), label: `version ${number}${also}` };
}
