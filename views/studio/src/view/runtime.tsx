import { Alert, Skeleton } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { createContext, memo, type ReactNode, use, useCallback, useMemo, useSyncExternalStore } from "react";
import type { ViewComponent, ViewProps } from "./components/contract";
import { ErrorBoundary } from "./ErrorBoundary";
import { type JsonObject, ROOT } from "./engine/document";
import type { ComponentKind, Engine, NodeSnapshot } from "./engine/engine";
import { defaultsOf, components as manifest } from "./manifest";
import styles from "./runtime.module.css";

export type Registry = Record<string, ViewComponent>;

interface Running {
  engine: Engine;
  registry: Registry;
}

const RunningView = createContext<Running | null>(null);

export function useEngine(): Engine {
  const running = use(RunningView);
  if (!running) throw new Error("This is outside of a view.");
  return running.engine;
}

/** What the engine must know of the registered components: the manifest's part joined with their own. */
export function kindsOf(registry: Registry): Record<string, ComponentKind> {
  const entries = Object.values(registry).map(({ type, outputsOf, localFor }): [string, ComponentKind] => {
    const entry = manifest[type];
    if (!entry) throw new Error(`The component ${type} is not in the manifest.`);
    return [
      type,
      {
        defaults: defaultsOf(entry),
        feeds: Object.keys(entry.props).filter((name) => entry.props[name]?.feeds),
        outputs: Object.keys(entry.outputs),
        gathers: entry.gathers ?? false,
        opens: entry.opens ?? false,
        slots: Object.keys(entry.slots),
        outputsOf,
        localFor,
      },
    ];
  });
  return Object.fromEntries(entries);
}

/** A whole view, drawn from its engine. */
export function ViewRenderer({ engine, registry }: { engine: Engine; registry: Registry }) {
  const running = useMemo(() => ({ engine, registry }), [engine, registry]);
  return (
    <RunningView value={running}>
      <NodeView name={ROOT} />
    </RunningView>
  );
}

function useNode(engine: Engine, name: string): NodeSnapshot {
  const subscribe = useCallback((listener: () => void) => engine.subscribe(name, listener), [engine, name]);
  return useSyncExternalStore(subscribe, () => engine.snapshot(name));
}

/** The children of a node in one slot, each in a wrapper when `wrap` is given. */
export function Slot({
  parent,
  slot = "body",
  wrap,
}: {
  parent: string;
  slot?: string;
  wrap?: (name: string, child: ReactNode) => ReactNode;
}) {
  const engine = useEngine();
  return engine
    .childrenOf(parent, slot)
    .map((name) =>
      wrap ? <ShownOnly key={name} name={name} wrap={wrap} /> : <NodeView key={name} name={name} />,
    );
}

/** A wrapper must go when its node is not shown, or it would leave a gap. */
function ShownOnly({ name, wrap }: { name: string; wrap: (name: string, child: ReactNode) => ReactNode }) {
  const { shown } = useNode(useEngine(), name);
  return shown ? wrap(name, <NodeView name={name} />) : null;
}

export const NodeView = memo(function NodeView({ name }: { name: string }) {
  const running = use(RunningView);
  if (!running) throw new Error("This is outside of a view.");
  const { engine, registry } = running;
  const snapshot = useNode(engine, name);
  const spec = engine.document.nodes[name] ?? { type: "page" };
  const component = registry[spec.type];
  const setLocal = useCallback((patch: JsonObject) => engine.setLocal(name, patch), [engine, name]);
  const emit = useCallback(
    (event: string, payload: JsonObject = {}) => void engine.emit(name, event, payload),
    [engine, name],
  );
  const slot = useCallback((slotName: string) => <Slot parent={name} slot={slotName} />, [name]);
  if (!snapshot.shown) return null;
  if (!component)
    return <Trouble title={`“${spec.type}” cannot be shown`} text="This server does not know it." />;
  const given: ViewProps = { name, ...snapshot, setLocal, emit, slot };
  return (
    <ErrorBoundary
      resetKey={snapshot}
      fallback={(error) => <Trouble title={`${component.type} could not be shown`} text={error.message} />}
    >
      <WithStatus component={component} given={given} problems={snapshot.problems} />
    </ErrorBoundary>
  );
});

/** Around every component: what could not be computed, and how the queries are doing whose data it shows. */
function WithStatus({
  component,
  given,
  problems,
}: {
  component: ViewComponent;
  given: ViewProps;
  problems: string[];
}) {
  const { status } = given;
  const displays = manifest[component.type]?.group === "display";
  const trouble = [...problems.map((text) => ({ title: "This could not be computed", text }))];
  if (status.error !== null) trouble.push({ title: "This did not work", text: status.error });
  const troubles = trouble.map(({ title, text }) => <Trouble key={title + text} title={title} text={text} />);
  if (displays && trouble.length > 0) return <div className={styles.troubles}>{troubles}</div>;
  if (displays && status.running && status.empty) {
    return <Skeleton height={component.skeleton ?? 64} role="status" aria-label="Loading" />;
  }
  const drawn = <component.Component {...given} />;
  return (
    <>
      {trouble.length > 0 && <div className={styles.troubles}>{troubles}</div>}
      {displays && status.running ? (
        <div className={styles.refreshing} aria-busy="true">
          {drawn}
        </div>
      ) : (
        drawn
      )}
    </>
  );
}

function Trouble({ title, text }: { title: string; text: string }) {
  return (
    <Alert
      role="alert"
      color="red"
      variant="light"
      title={title}
      icon={<IconAlertTriangle aria-hidden size={18} />}
    >
      {text}
    </Alert>
  );
}
