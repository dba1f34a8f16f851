/** `key:<id>`, `view:<name>` and `user:<email>` as people say them. */
export function callerName(caller: string): string {
  const at = caller.indexOf(":");
  const kind = caller.slice(0, at);
  const name = caller.slice(at + 1);
  if (kind === "key") return `key ${name}`;
  if (kind === "view") return `view ${name}`;
  return (kind === "user" ? name : caller) || "unknown";
}
