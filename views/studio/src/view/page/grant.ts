import type { Grant, GrantShelf, Place } from "./api";

const NAME = /^[a-z][a-z0-9-]{0,62}$/;

export interface Where extends Place {
  view: string;
}

/** `/{workspace}/{app}/{view}`, or `/{workspace}/{app}` for the app's first view. */
export function whereOf(path: string): Where | null {
  const [workspace = "", app = "", view = "", ...rest] = path.split("/").filter(Boolean);
  if (rest.length > 0 || !NAME.test(workspace) || !NAME.test(app) || (view && !NAME.test(view))) return null;
  return { workspace, app, view };
}

/** The grant in an address's fragment: `#k=<link key>` or `#t=<open token>`. */
export function grantIn(hash: string): Grant | null {
  const fragment = new URLSearchParams(hash.replace(/^#/, ""));
  const key = fragment.get("k");
  const token = fragment.get("t");
  if (key) return { kind: "key", value: key };
  return token ? { kind: "open", value: token } : null;
}

/** The grants of one app in this tab: link keys and tokens never leave sessionStorage, and never reach the server's logs. */
export function shelfFor({ workspace, app }: Place, storage: Storage = window.sessionStorage): GrantShelf {
  const key = `tenfold-grant:${workspace}/${app}`;
  return {
    read: () => {
      try {
        const kept = JSON.parse(storage.getItem(key) ?? "null") as Grant | null;
        if (kept && kept.kind !== "none" && typeof kept.value === "string") return kept;
      } catch {
        storage.removeItem(key);
      }
      return { kind: "none" };
    },
    write: (grant) => storage.setItem(key, JSON.stringify(grant)),
  };
}

/**
 * Take the grant out of the address bar, so that it is not copied, bookmarked or shown on a screen, and keep it for
 * this tab, so that a reload works.
 */
export function takeGrant(shelf: GrantShelf, page: Window = window): void {
  const found = grantIn(page.location.hash);
  if (!found) return;
  shelf.write(found);
  page.history.replaceState(page.history.state, "", page.location.pathname + page.location.search);
}
