import { type Binding, bind } from "../../expr";
import {
  type ActionHost,
  ActionList,
  type DownloadFile,
  type NavigateTarget,
  type ToastKind,
} from "./actions";
import { childrenOf, type Json, type JsonObject, type NodeSpec, ROOT, type ViewDocument } from "./document";
import { Graph } from "./graph";
import {
  type Clock,
  IDLE,
  messageOf,
  type Outcome,
  type QueryAnswer,
  QueryRunner,
  type QueryStatus,
  realClock,
} from "./query";
import { type Address, readParams, readState, windowAddress, withState } from "./url-state";
import { same, truthy } from "./values";

/** What the engine needs to know of a component: the manifest's part, and how its outputs come about. */
export interface ComponentKind {
  defaults: JsonObject;
  feeds: readonly string[];
  outputs: readonly string[];
  gathers: boolean;
  opens: boolean;
  slots: readonly string[];
  /** Pure: from its props, what a person did to it, and (for a form) the outputs of the shown inputs inside it. */
  outputsOf?: (props: JsonObject, local: JsonObject, inside: Record<string, JsonObject>) => JsonObject;
  /** What a person would have done to it for an output to have this value. */
  localFor?: (member: string, value: Json, local: JsonObject) => JsonObject;
}

export interface EngineUi {
  toast(text: string, kind: ToastKind): void;
  confirm(question: string): Promise<boolean>;
  navigate(target: NavigateTarget): void;
  download(file: DownloadFile): void;
  copy(text: string): Promise<void>;
}

export interface EngineOptions {
  components: Record<string, ComponentKind>;
  context: { app: JsonObject; viewer: JsonObject };
  callQuery(name: string, values: Json, signal: AbortSignal): Promise<QueryAnswer>;
  ui: EngineUi;
  address?: Address;
  clock?: Clock;
  now?: () => number;
  schedule?: (task: () => void) => void;
}

/** How the queries that a node shows the data of are doing. */
export interface NodeStatus {
  running: boolean;
  error: string | null;
  /** There is no data of theirs yet. */
  empty: boolean;
}

export interface NodeSnapshot {
  shown: boolean;
  props: JsonObject;
  local: JsonObject;
  outputs: JsonObject;
  status: NodeStatus;
  /** A query that one of its events runs is running. */
  busy: boolean;
  /** What could not be computed, in words. */
  problems: string[];
}

interface Computed {
  value: Json;
  problem: string | null;
}

interface InputsCell {
  values: Json;
  problem: string | null;
  missing: boolean;
}

interface LiveNode {
  name: string;
  spec: NodeSpec;
  kind: ComponentKind;
  literals: JsonObject;
  bound: string[];
  events: Record<string, ActionList>;
  cells: string[];
  reads: string[];
  /** The queries whose errors it says: those it reads, and those whose `error` it looks at itself. */
  tells: Set<string>;
  snapshot: NodeSnapshot | null;
  dirty: boolean;
}

const UNKNOWN: ComponentKind = {
  defaults: {},
  feeds: [],
  outputs: [],
  gathers: false,
  opens: false,
  slots: [],
};
const NEW_STEP_BACK_MS = 1000;

/**
 * One view, running: knows no React and no page. Documents go in; snapshots of nodes, and calls, come out.
 *
 * Cells: `state.x`, `params`, `query.q`, `local.n` are sources; `prop.n.p`, `when.n`, `out.n`, `in.q`, `if.q` are computed.
 */
export class Engine {
  private readonly graph: Graph;
  private readonly nodes = new Map<string, LiveNode>();
  private readonly runners = new Map<string, QueryRunner>();
  private readonly children = new Map<string, string[]>();
  private readonly scope: JsonObject;
  private readonly address: Address;
  private readonly stops: (() => void)[] = [];
  private readonly busyEvents = new Set<string>();
  private lastAddressChange = Number.NEGATIVE_INFINITY;

  constructor(
    readonly document: ViewDocument,
    private readonly options: EngineOptions,
  ) {
    this.graph = new Graph(options.schedule);
    this.address = options.address ?? windowAddress;
    this.scope = {
      app: options.context.app,
      viewer: options.context.viewer,
      view: { name: document.name, title: document.title },
      params: {},
      state: {},
    };
    this.addStateAndParams();
    for (const name of Object.keys(document.queries)) this.addQuerySource(name);
    for (const [name, spec] of this.withRoot()) this.addNode(name, spec);
    for (const node of this.nodes.values()) this.addOutputs(node);
    for (const name of Object.keys(document.queries)) this.addQueryInputs(name);
    this.graph.seal();
    for (const node of this.nodes.values())
      this.graph.watch(node.cells, () => {
        node.dirty = true;
      });
  }

  /** Begin: automatic queries run, the address is followed. */
  start(): void {
    this.stops.push(this.address.onReturn(() => this.readAddress()));
    for (const [name, runner] of this.runners) {
      this.stops.push(this.graph.watch([`in.${name}`, `if.${name}`], () => runner.inputsChanged()));
      runner.start();
    }
  }

  dispose(): void {
    for (const stop of this.stops.splice(0)) stop();
    for (const runner of this.runners.values()) runner.dispose();
  }

  childrenOf(name: string, slot: string): string[] {
    const key = `${name} ${slot}`;
    const known = this.children.get(key) ?? childrenOf(this.document, name, slot);
    this.children.set(key, known);
    return known;
  }

  spec(name: string): NodeSpec {
    return this.node(name).spec;
  }

  subscribe(name: string, listener: () => void): () => void {
    const node = this.node(name);
    return this.graph.watch(node.cells, () => {
      node.dirty = true;
      listener();
    });
  }

  /** The same object until something of the node changes. */
  snapshot(name: string): NodeSnapshot {
    const node = this.node(name);
    if (node.snapshot && !node.dirty) return node.snapshot;
    const fresh = this.freshSnapshot(node);
    node.dirty = false;
    if (!node.snapshot || !same(node.snapshot, fresh)) node.snapshot = fresh;
    return node.snapshot;
  }

  /** A person did something to a component. */
  setLocal(name: string, patch: JsonObject): void {
    this.graph.set(`local.${name}`, { ...this.local(name), ...patch });
  }

  /** Something happened on a component: do its actions. While they run, the same event is not started again. */
  async emit(name: string, event: string, payload: JsonObject = {}): Promise<void> {
    const actions = this.node(name).events[event];
    const key = `${name} ${event}`;
    const once = event === "click" || event === "submit";
    if (!actions || (once && this.busyEvents.has(key))) return;
    this.graph.flush();
    this.busyEvents.add(key);
    try {
      await actions.run(payload, this.actionHost());
    } finally {
      this.busyEvents.delete(key);
    }
  }

  query(name: string): QueryStatus {
    return this.graph.get(`query.${name}`) as QueryStatus;
  }

  /** Bring everything up to date now rather than in the next microtask. */
  flush(): void {
    this.graph.flush();
  }

  // building

  private withRoot(): [string, NodeSpec][] {
    const nodes = this.document.nodes;
    return Object.entries(nodes[ROOT] ? nodes : { [ROOT]: { type: "page" }, ...nodes });
  }

  private addStateAndParams(): void {
    const search = this.address.search();
    const specs = this.document.state ?? {};
    const params = readParams(search, this.document.params ?? {});
    const state = Object.fromEntries(
      Object.entries(specs).map(([name, spec]) => [name, spec.default ?? null]),
    );
    this.scope.params = params;
    this.scope.state = { ...state, ...readState(search, specs) };
    this.graph.source("params", params);
    for (const [name, value] of Object.entries(this.scope.state)) this.graph.source(`state.${name}`, value);
  }

  private addQuerySource(name: string): void {
    this.graph.source(`query.${name}`, IDLE);
    this.scope[name] = { ...IDLE } as unknown as JsonObject;
  }

  private addNode(name: string, spec: NodeSpec): void {
    const kind = this.options.components[spec.type] ?? UNKNOWN;
    const literals: JsonObject = { ...kind.defaults };
    const bound: string[] = [];
    const reads = new Set<string>();
    const tells = new Set(spec.when === undefined ? [] : errorsIn(bindOrProblem(spec.when)));
    this.graph.source(`local.${name}`, {});
    for (const [prop, value] of Object.entries(spec.props ?? {})) {
      const binding = bindOrProblem(value);
      if (typeof binding === "string") this.graph.computed(`prop.${name}.${prop}`, [], () => failed(binding));
      else if (binding.dependencies.length === 0 && binding.expressions.length === 0) {
        literals[prop] = binding.evaluate({}) as Json;
        continue;
      } else {
        this.graph.computed(`prop.${name}.${prop}`, this.cellsOf(binding), () => this.compute(binding));
        for (const query of this.dataReads(binding)) {
          reads.add(query);
          tells.add(query);
        }
        for (const query of errorsIn(binding)) tells.add(query);
      }
      bound.push(prop);
    }
    const cells = [`local.${name}`, ...bound.map((prop) => `prop.${name}.${prop}`)];
    cells.push(this.addWhen(`when.${name}`, spec.when));
    const events = mapObject(spec.on ?? {}, (steps) => new ActionList(steps));
    const runs = Object.values(events).flatMap((actions) => actions.queries);
    for (const query of new Set([...reads, ...runs])) {
      if (this.document.queries[query]) cells.push(`query.${query}`);
    }
    this.nodes.set(name, {
      name,
      spec,
      kind,
      literals,
      bound,
      events,
      cells,
      reads: [...reads],
      tells,
      snapshot: null,
      dirty: true,
    });
  }

  /** The condition's cell: true where there is none. */
  private addWhen(id: string, when: Json | undefined): string {
    const binding = when === undefined ? null : bindOrProblem(when);
    if (binding === null || typeof binding === "string") this.graph.source(id, binding === null);
    else this.graph.computed(id, this.cellsOf(binding), () => truthy(this.compute(binding).value));
    return id;
  }

  private addOutputs(node: LiveNode): void {
    const { name, kind } = node;
    if (kind.outputs.length === 0) return;
    const feeding = node.bound.filter((prop) => kind.feeds.includes(prop));
    const inside = kind.gathers ? this.inputsInside(name) : [];
    const gathered = inside.flatMap((input) => [
      `out.${input.name}`,
      ...input.path.map((step) => `when.${step}`),
    ]);
    const fed = feeding.map((prop) => `prop.${name}.${prop}`);
    this.graph.computed(`out.${name}`, [`local.${name}`, ...fed, ...gathered], () => {
      const shown = inside.filter((input) => input.path.every((step) => this.graph.get(`when.${step}`)));
      const outputs = Object.fromEntries(
        shown.map((input) => [input.name, this.graph.get(`out.${input.name}`)]),
      );
      const value =
        kind.outputsOf?.(
          this.propsOf(node, feeding),
          this.local(name),
          outputs as Record<string, JsonObject>,
        ) ?? {};
      this.scope[name] = value;
      return value;
    });
    node.cells.push(`out.${name}`);
  }

  /** The inputs of a form, each with the nodes that must be shown for it to count. */
  private inputsInside(form: string): { name: string; path: string[] }[] {
    const found: { name: string; path: string[] }[] = [];
    const visit = (parent: string, path: string[]) => {
      for (const [name, spec] of Object.entries(this.document.nodes)) {
        if (spec.at?.[0] !== parent || path.includes(name)) continue;
        const kind = this.options.components[spec.type] ?? UNKNOWN;
        if (kind.outputs.includes("value")) found.push({ name, path: [...path, name] });
        if (!kind.gathers) visit(name, [...path, name]);
      }
    };
    visit(form, []);
    return found;
  }

  private addQueryInputs(name: string): void {
    const spec = this.document.queries[name];
    if (!spec) return;
    const binding = bindOrProblem(spec.in);
    const uses = typeof binding === "string" ? [] : this.cellsOf(binding);
    this.graph.computed(`in.${name}`, uses, (): InputsCell => {
      const { value, problem } = typeof binding === "string" ? failed(binding) : this.compute(binding);
      return { values: value, problem, missing: isMissing(spec.in, value) };
    });
    this.addWhen(`if.${name}`, spec.when);
    const inputs = () => this.graph.get(`in.${name}`) as InputsCell;
    const runner = new QueryRunner(spec, {
      inputs: () => {
        const { values, problem } = inputs();
        if (problem !== null) throw new Error(problem);
        return values;
      },
      allowed: () => {
        if (!this.graph.get(`if.${name}`)) return false;
        return spec.when !== undefined || spec.run !== "auto" || !inputs().missing;
      },
      call: (values, signal) => this.options.callQuery(name, values, signal),
      confirm: (question) => this.options.ui.confirm(question),
      publish: (status) => this.publish(name, status),
      clock: this.options.clock ?? realClock,
    });
    this.runners.set(name, runner);
  }

  // running

  private publish(name: string, status: QueryStatus): void {
    this.scope[name] = { ...status } as unknown as JsonObject;
    this.graph.set(`query.${name}`, status);
    if (status.state !== "error") return;
    this.graph.flush();
    if (!this.isErrorShown(name)) this.options.ui.toast(status.error ?? "Something went wrong.", "error");
  }

  /** Whether a component that says the query's error is on the screen. */
  private isErrorShown(query: string): boolean {
    return [...this.nodes.values()].some((node) => node.tells.has(query) && this.isOnScreen(node.name));
  }

  private isOnScreen(name: string): boolean {
    for (let at: string | undefined = name, steps = 0; at !== undefined && steps < 64; steps++) {
      const node = this.nodes.get(at);
      if (!node || !this.graph.get(`when.${at}`)) return false;
      if (node.kind.opens && this.local(at).opened !== true) return false;
      at = node.spec.at?.[0];
    }
    return true;
  }

  private actionHost(): ActionHost {
    const { ui } = this.options;
    return {
      scope: (event) => ({ ...this.scope, event }),
      runQuery: (name) => this.runQuery(name),
      set: (path, value) => this.set(path, value),
      reset: (name) => this.reset(name),
      setOpen: (node, open) => this.setLocal(node, { opened: open }),
      toast: ui.toast,
      navigate: ui.navigate,
      download: ui.download,
      copy: ui.copy,
    };
  }

  private async runQuery(name: string): Promise<Outcome> {
    this.graph.flush();
    const runner = this.runners.get(name);
    if (!runner) throw new Error(`There is no query ${name}.`);
    return runner.run();
  }

  private set(path: string, value: Json): void {
    const [root = "", member = ""] = path.split(".");
    if (root === "state") this.setState({ [member]: value });
    else {
      const { kind } = this.node(root);
      const local = this.local(root);
      this.graph.set(`local.${root}`, kind.localFor?.(member, value, local) ?? { ...local, [member]: value });
    }
    this.graph.flush();
  }

  private reset(name: string): void {
    if (name.startsWith("state.")) {
      const member = name.slice("state.".length);
      this.setState({ [member]: this.document.state?.[member]?.default ?? null });
    } else if (this.runners.has(name)) this.runners.get(name)?.reset();
    else {
      for (const node of [name, ...this.below(name)]) this.graph.set(`local.${node}`, {});
    }
    this.graph.flush();
  }

  private below(name: string): string[] {
    const kind = this.node(name).kind;
    return kind.gathers ? this.inputsInside(name).map((input) => input.name) : [];
  }

  private setState(values: Record<string, Json>): void {
    const specs = this.document.state ?? {};
    this.scope.state = { ...(this.scope.state as JsonObject), ...values };
    for (const [name, value] of Object.entries(values)) this.graph.set(`state.${name}`, value);
    if (!Object.keys(values).some((name) => specs[name]?.scope === "url")) return;
    const search = withState(this.address.search(), specs, this.scope.state as JsonObject);
    if (search === this.address.search()) return;
    const now = (this.options.now ?? Date.now)();
    // A slider moves many times in a row; that is one step back, not fifty.
    if (now - this.lastAddressChange < NEW_STEP_BACK_MS) this.address.replace(search);
    else this.address.push(search);
    this.lastAddressChange = now;
  }

  private readAddress(): void {
    const search = this.address.search();
    const params = readParams(search, this.document.params ?? {});
    const state = readState(search, this.document.state ?? {});
    this.scope.params = params;
    this.scope.state = { ...(this.scope.state as JsonObject), ...state };
    this.graph.set("params", params);
    for (const [name, value] of Object.entries(state)) this.graph.set(`state.${name}`, value);
  }

  // reading

  private freshSnapshot(node: LiveNode): NodeSnapshot {
    const computed = node.bound.map((prop) => this.graph.get(`prop.${node.name}.${prop}`) as Computed);
    const queries = node.reads.map((name) => this.query(name));
    const runs = Object.values(node.events).flatMap((actions) => actions.queries);
    return {
      shown: this.graph.get(`when.${node.name}`) as boolean,
      props: this.propsOf(node, node.bound),
      local: this.local(node.name),
      outputs: this.graph.has(`out.${node.name}`) ? (this.graph.get(`out.${node.name}`) as JsonObject) : {},
      status: {
        running: queries.some(({ running }) => running),
        error: queries.find(({ error }) => error !== null)?.error ?? null,
        empty: queries.every(({ data }) => data === null),
      },
      busy: runs.some((name) => this.document.queries[name] && this.query(name).running),
      problems: computed.flatMap(({ problem }) => (problem === null ? [] : [problem])),
    };
  }

  private propsOf(node: LiveNode, bound: readonly string[]): JsonObject {
    const props = { ...node.literals };
    for (const prop of bound) {
      const { value } = this.graph.get(`prop.${node.name}.${prop}`) as Computed;
      props[prop] = value ?? node.kind.defaults[prop] ?? null;
    }
    return props;
  }

  private local(name: string): JsonObject {
    return this.graph.get(`local.${name}`) as JsonObject;
  }

  private node(name: string): LiveNode {
    const node = this.nodes.get(name);
    if (!node) throw new Error(`There is no component ${name}.`);
    return node;
  }

  private compute(binding: Binding): Computed {
    try {
      return { value: binding.evaluate(this.scope) as Json, problem: null };
    } catch (error) {
      return failed(messageOf(error));
    }
  }

  /** The cells that a binding is made from. */
  private cellsOf(binding: Binding): string[] {
    return [
      ...new Set(binding.dependencies.flatMap(([root = "", member]) => this.cellsBehind(root, member))),
    ];
  }

  private cellsBehind(root: string, member: string | undefined): string[] {
    if (root === "params") return ["params"];
    if (root === "state") {
      const names = Object.keys(this.document.state ?? {});
      return names.filter((name) => member === undefined || name === member).map((name) => `state.${name}`);
    }
    if (this.document.queries[root]) return [`query.${root}`];
    const spec = this.document.nodes[root];
    return spec && this.options.components[spec.type]?.outputs.length ? [`out.${root}`] : [];
  }

  /** The queries whose data it shows, unless it looks at their errors itself. */
  private dataReads(binding: Binding): string[] {
    const handled = new Set(errorsIn(binding));
    return binding.dependencies
      .filter(
        ([root = "", member]) => this.document.queries[root] && (member === "data" || member === undefined),
      )
      .map(([root = ""]) => root)
      .filter((root) => !handled.has(root));
  }
}

function bindOrProblem(value: Json): Binding | string {
  try {
    return bind(value);
  } catch (error) {
    return messageOf(error);
  }
}

/** The roots whose `error` it looks at. */
function errorsIn(binding: Binding | string): string[] {
  if (typeof binding === "string") return [];
  return binding.dependencies.flatMap(([root = "", member]) => (member === "error" ? [root] : []));
}

function failed(problem: string): Computed {
  return { value: null, problem };
}

/** Whether an input that is an expression has no value yet, so that asking would be too early. */
function isMissing(written: Json, value: Json): boolean {
  if (typeof written === "string") return value === null;
  if (typeof written !== "object" || written === null || Array.isArray(written)) return false;
  const values = (value ?? {}) as JsonObject;
  return Object.entries(written).some(
    ([name, entry]) => typeof entry === "string" && entry.startsWith("=") && (values[name] ?? null) === null,
  );
}

function mapObject<In, Out>(entries: Record<string, In>, map: (value: In) => Out): Record<string, Out> {
  return Object.fromEntries(Object.entries(entries).map(([name, value]) => [name, map(value)]));
}
