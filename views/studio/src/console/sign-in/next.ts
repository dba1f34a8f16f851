/** Where to go after signing in: only to a path of this console, whatever the address says. */
export function nextAddress(wanted: string | null): string {
  if (!wanted?.startsWith("/") || wanted.startsWith("//") || wanted.includes("\\")) return "/";
  return wanted.startsWith("/sign-in") ? "/" : wanted;
}
