import type { Access, App, Json, Port, Worklet } from "../api/types";

/** The address of one view to send to people: the app's own carries the link key in its fragment, shared by all views. */
export function shareUrl(app: Pick<App, "access" | "url">, viewUrl: string): string {
  const at = app.url.indexOf("#");
  return app.access === "link" && at >= 0 ? viewUrl + app.url.slice(at) : viewUrl;
}

export const ACCESS: Record<Access, { title: string; explanation: string }> = {
  workspace: {
    title: "Members only",
    explanation: "Members of this workspace open it from here. Its address alone opens nothing.",
  },
  link: {
    title: "Anyone with the link",
    explanation:
      "Whoever has the share link can use it, without an account. Renewing the link ends the old one at once.",
  },
  public: {
    title: "Public",
    explanation: "Whoever knows the address can use it, without an account. Its models run for all of them.",
  },
};

/** A body for a worklet's endpoint that shows its shape. */
export function workletExample({ input }: Pick<Worklet, "input">): Json {
  return Object.fromEntries(input.map((port) => [port.name, port.example ?? sampleOf(port)]));
}

function sampleOf({ type }: Port): Json {
  const bare = type.replace(/\?$/, "");
  if (bare.startsWith("list")) return [];
  switch (bare) {
    case "str":
      return "text";
    case "int":
    case "float":
      return 0;
    case "bool":
      return false;
    case "file":
    case "image":
      return { name: "file", type: "application/octet-stream", size: 0, data: "" };
    default:
      return {};
  }
}
