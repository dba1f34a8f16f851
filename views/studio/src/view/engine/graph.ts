import { same } from "./values";

/** A loop of cells, each made from the next. The document's lint refuses these; this is the second net. */
export class CycleError extends Error {
  constructor(readonly path: string[]) {
    super(`This view depends on itself: ${path.join(" → ")}.`);
  }
}

interface Cell {
  id: string;
  value: unknown;
  compute: (() => unknown) | null;
  uses: readonly string[];
  usedBy: Cell[];
  rank: number;
  watchers: Set<() => void>;
}

const MOST_FLUSHES = 100;

/**
 * Cells and what they are made from, known before anything runs.
 *
 * `set` marks; a flush, at most one per microtask, computes every marked cell once, in topological order, stops where
 * a value stays the same, and then calls each watcher once.
 */
export class Graph {
  private readonly cells = new Map<string, Cell>();
  private readonly marked = new Set<Cell>();
  private changed = new Set<Cell>();
  private scheduled = false;
  private flushesInARow = 0;

  constructor(
    private readonly schedule: (task: () => void) => void = (task) => queueMicrotask(task),
    private readonly onRunaway: (cells: string[]) => void = (cells) =>
      console.error(`This view never comes to rest; it stopped at ${cells.join(", ")}.`),
  ) {}

  source(id: string, value: unknown): void {
    this.add({ id, value, compute: null, uses: [], usedBy: [], rank: 0, watchers: new Set() });
  }

  computed(id: string, uses: readonly string[], compute: () => unknown): void {
    this.add({ id, value: undefined, compute, uses, usedBy: [], rank: -1, watchers: new Set() });
  }

  /** Connect and order the cells, and compute them all once. Throws `CycleError`. */
  seal(): void {
    for (const cell of this.cells.values()) {
      for (const used of new Set(cell.uses)) this.cell(used).usedBy.push(cell);
    }
    for (const cell of this.cells.values()) this.rank(cell);
    for (const cell of this.inOrder(this.cells.values())) {
      if (cell.compute) cell.value = cell.compute();
    }
  }

  has(id: string): boolean {
    return this.cells.has(id);
  }

  get(id: string): unknown {
    return this.cell(id).value;
  }

  set(id: string, value: unknown): void {
    const cell = this.cell(id);
    if (same(cell.value, value)) return;
    cell.value = value;
    this.changed.add(cell);
    for (const user of cell.usedBy) this.marked.add(user);
    this.scheduleFlush();
  }

  /** Call `watcher` once after each flush in which any of the cells changed. Gives the way to stop. */
  watch(ids: Iterable<string>, watcher: () => void): () => void {
    const cells = [...ids].map((id) => this.cell(id));
    for (const cell of cells) cell.watchers.add(watcher);
    return () => {
      for (const cell of cells) cell.watchers.delete(watcher);
    };
  }

  /** Bring everything up to date now. Called by itself; tests and `set` actions may call it sooner. */
  flush(): void {
    this.computeMarked();
    const watchers = new Set<() => void>();
    for (const cell of this.changed) for (const watcher of cell.watchers) watchers.add(watcher);
    this.changed = new Set();
    for (const watcher of watchers) watcher();
  }

  private computeMarked(): void {
    const waiting: Cell[][] = [];
    const put = (cell: Cell) => {
      waiting[cell.rank] ??= [];
      waiting[cell.rank]?.push(cell);
    };
    for (const cell of this.marked) put(cell);
    for (let rank = 0; rank < waiting.length; rank++) {
      for (const cell of waiting[rank] ?? []) {
        this.marked.delete(cell);
        const value = cell.compute?.();
        if (same(cell.value, value)) continue;
        cell.value = value;
        this.changed.add(cell);
        for (const user of cell.usedBy) {
          if (!this.marked.has(user)) {
            this.marked.add(user);
            put(user);
          }
        }
      }
    }
  }

  private scheduleFlush(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    if (this.flushesInARow === 0) setTimeout(() => (this.flushesInARow = 0), 0);
    this.schedule(() => {
      this.scheduled = false;
      this.flushesInARow += 1;
      if (this.flushesInARow > MOST_FLUSHES) {
        this.onRunaway([...this.changed].map((cell) => cell.id));
        this.changed.clear();
        return;
      }
      this.flush();
    });
  }

  private rank(start: Cell): void {
    const path: Cell[] = [];
    const visit = (cell: Cell): number => {
      if (cell.rank >= 0) return cell.rank;
      const at = path.indexOf(cell);
      if (at >= 0) throw new CycleError([...path.slice(at), cell].map(({ id }) => id));
      path.push(cell);
      const highest = Math.max(-1, ...cell.uses.map((used) => visit(this.cell(used))));
      path.pop();
      cell.rank = highest + 1;
      return cell.rank;
    };
    visit(start);
  }

  private inOrder(cells: Iterable<Cell>): Cell[] {
    return [...cells].sort((left, right) => left.rank - right.rank);
  }

  private add(cell: Cell): void {
    if (this.cells.has(cell.id)) throw new Error(`There are two cells named ${cell.id}.`);
    this.cells.set(cell.id, cell);
  }

  private cell(id: string): Cell {
    const cell = this.cells.get(id);
    if (!cell) throw new Error(`There is no cell ${id}.`);
    return cell;
  }
}
