import { useCallback, useEffect, useMemo, useState } from "react";
import { registry } from "../components";
import { ErrorBoundary } from "../ErrorBoundary";
import type { NavigateTarget } from "../engine/actions";
import type { Json } from "../engine/document";
import { Engine } from "../engine/engine";
import { messageOf } from "../engine/query";
import { searchOf } from "../engine/url-state";
import { kindsOf, ViewRenderer } from "../runtime";
import { ApiError, type LoadedView, type Session, ViewApi } from "./api";
import { copyText, saveFile } from "./desk";
import { shelfFor, takeGrant, type Where, whereOf } from "./grant";
import { Loading } from "./Loading";
import { Notice } from "./Notice";
import { Shell } from "./Shell";
import { Toasts, useToasts } from "./Toasts";
import { useConfirm } from "./use-confirm";
import { useOnline } from "./use-online";

const KINDS = kindsOf(registry);
const CHECK_RELEASE_MS = 60_000;

type Screen =
  | { state: "loading" }
  | { state: "failed"; error: Error }
  | { state: "ready"; session: Session; loaded: LoadedView };

/** The whole page of published views: which app, with what grant, which view. */
export function App() {
  const [where, setWhere] = useState(() => whereOf(window.location.pathname));
  useEffect(() => {
    const follow = () => setWhere((before) => sameOr(before, whereOf(window.location.pathname)));
    window.addEventListener("popstate", follow);
    return () => window.removeEventListener("popstate", follow);
  }, []);
  if (!where) return <Notice kind="missing" />;
  return <AppAt key={`${where.workspace}/${where.app}`} where={where} go={setWhere} />;
}

function sameOr(before: Where | null, after: Where | null): Where | null {
  const same =
    before?.workspace === after?.workspace && before?.app === after?.app && before?.view === after?.view;
  return same ? before : after;
}

function AppAt({ where, go }: { where: Where; go: (where: Where) => void }) {
  const { workspace, app, view } = where;
  const api = useMemo(() => {
    const shelf = shelfFor({ workspace, app });
    takeGrant(shelf);
    return new ViewApi({ workspace, app }, shelf);
  }, [workspace, app]);
  const [screen, setScreen] = useState<Screen>({ state: "loading" });
  const [attempt, setAttempt] = useState(0);
  const online = useOnline();
  const retry = useCallback(() => setAttempt((before) => before + 1), []);

  // `attempt` is what trying again changes.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  useEffect(() => {
    const controller = new AbortController();
    setScreen((before) =>
      before.state === "ready" && before.loaded.view === view ? before : { state: "loading" },
    );
    loadScreen(api, view, controller.signal)
      .then((ready) => !controller.signal.aborted && setScreen(ready))
      .catch((error: unknown) => {
        if (!controller.signal.aborted) setScreen({ state: "failed", error: asError(error) });
      });
    return () => controller.abort();
  }, [api, view, attempt]);

  const unreached =
    screen.state === "failed" && screen.error instanceof ApiError && screen.error.status === 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: only coming back online is a reason to try again by itself
  useEffect(() => {
    if (online && unreached) retry();
  }, [online]);

  const navigate = useCallback(
    (target: string, search = "") => {
      window.history.pushState(null, "", `/${workspace}/${app}/${target}${search}`);
      window.scrollTo(0, 0);
      go({ workspace, app, view: target });
    },
    [workspace, app, go],
  );

  if (screen.state === "loading") return <Loading />;
  if (screen.state === "failed") {
    const missing = screen.error instanceof ApiError && [401, 403, 404].includes(screen.error.status);
    return (
      <Notice
        kind={missing ? "missing" : "failed"}
        text={screen.error.message}
        retry={missing ? undefined : retry}
      />
    );
  }
  const { session, loaded } = screen;
  return (
    <RunningPage
      key={`${loaded.view} ${loaded.release} ${attempt}`}
      api={api}
      session={session}
      loaded={loaded}
      online={online}
      navigate={navigate}
      reload={retry}
    />
  );
}

async function loadScreen(api: ViewApi, view: string, signal: AbortSignal): Promise<Screen> {
  const session = await api.open();
  const name = view || session.home || session.views[0]?.name;
  if (!name) throw new ApiError(404, "not_found", "This app has no views yet.");
  return { state: "ready", session, loaded: await api.view(name, signal) };
}

interface RunningPageProps {
  api: ViewApi;
  session: Session;
  loaded: LoadedView;
  online: boolean;
  navigate: (view: string, search?: string) => void;
  reload: () => void;
}

function RunningPage({ api, session, loaded, online, navigate, reload }: RunningPageProps) {
  const { document: view } = loaded;
  const { toasts, toast, dismiss } = useToasts();
  const { confirm, dialog } = useConfirm();
  const outdated = useNewerRelease(api, loaded);
  const [engine, setEngine] = useState<Engine | Error | null>(null);

  useEffect(() => {
    document.title = view.title === session.app.title ? view.title : `${view.title} · ${session.app.title}`;
  }, [view.title, session.app.title]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: one engine for each loaded document
  useEffect(() => {
    let made: Engine;
    try {
      made = new Engine(view, {
        components: KINDS,
        context: { app: session.app, viewer: session.viewer },
        callQuery: (query: string, values: Json, signal: AbortSignal) =>
          api.query(loaded.view, query, values, signal),
        ui: {
          toast,
          confirm,
          navigate: (target: NavigateTarget) => follow(target, navigate),
          download: saveFile,
          copy: copyText,
        },
      });
    } catch (error) {
      setEngine(asError(error));
      return;
    }
    made.start();
    setEngine(made);
    return () => made.dispose();
  }, [loaded]);

  if (engine === null) return <Loading />;
  if (engine instanceof Error) return <Notice kind="failed" text={engine.message} retry={reload} />;
  return (
    <Shell
      app={session.app}
      views={session.views}
      current={loaded.view}
      viewer={session.viewer}
      online={online}
      outdated={outdated}
      onReload={reload}
      onNavigate={(name) => navigate(name)}
    >
      <ErrorBoundary fallback={(error) => <Notice kind="failed" text={error.message} retry={reload} />}>
        <ViewRenderer engine={engine} registry={registry} />
      </ErrorBoundary>
      {dialog}
      <Toasts toasts={toasts} dismiss={dismiss} />
    </Shell>
  );
}

function follow(target: NavigateTarget, navigate: (view: string, search?: string) => void): void {
  if ("view" in target) navigate(target.view, searchOf(target.params));
  else if (target.newTab) window.open(target.url, "_blank", "noopener,noreferrer");
  else window.location.assign(target.url);
}

/** Whether another release went live since this page was loaded. Asked when someone comes back to the page. */
function useNewerRelease(api: ViewApi, loaded: LoadedView): boolean {
  const [outdated, setOutdated] = useState(false);
  useEffect(() => {
    let asked = Date.now();
    const ask = async () => {
      if (document.visibilityState !== "visible" || Date.now() - asked < CHECK_RELEASE_MS) return;
      asked = Date.now();
      try {
        const { release } = await api.view(loaded.view);
        if (release !== loaded.release) setOutdated(true);
      } catch {
        // Being offline or signed out shows elsewhere, when something is asked for.
      }
    };
    const timer = window.setInterval(ask, CHECK_RELEASE_MS);
    document.addEventListener("visibilitychange", ask);
    return () => {
      window.clearInterval(timer);
      document.removeEventListener("visibilitychange", ask);
    };
  }, [api, loaded]);
  return outdated;
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(messageOf(thrown));
}
