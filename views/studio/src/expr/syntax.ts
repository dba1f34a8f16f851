/** The syntax tree. `size` counts nodes, which is what a step of fuel pays for. */

export const MAX_SOURCE = 10_000;
export const MAX_NESTING = 64;
export const MAX_DEPTH = 200;

export const FORBIDDEN: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

export interface Literal {
  readonly type: "literal";
  readonly value: null | boolean | number | string;
  readonly position: number;
}

/** A root of the scope, or (with a slot) a parameter of an arrow function. */
export interface Name {
  readonly type: "name";
  readonly name: string;
  readonly position: number;
  readonly slot: number | null;
}

export interface Member {
  readonly type: "member";
  readonly base: Node;
  readonly key: string;
  readonly position: number;
}

export interface Index {
  readonly type: "index";
  readonly base: Node;
  readonly index: Node;
  readonly position: number;
}

export interface Unary {
  readonly type: "unary";
  readonly operator: string;
  readonly operand: Node;
  readonly position: number;
}

export interface Step {
  readonly operator: string;
  readonly operand: Node;
  readonly position: number;
}

/** `first + a - b`: one level of precedence, so that a long sum is wide and not deep. */
export interface Arithmetic {
  readonly type: "arithmetic";
  readonly first: Node;
  readonly rest: readonly Step[];
  readonly position: number;
}

export interface Logic {
  readonly type: "logic";
  readonly operator: string;
  readonly operands: readonly Node[];
  readonly position: number;
}

export interface Compare {
  readonly type: "compare";
  readonly operator: string;
  readonly left: Node;
  readonly right: Node;
  readonly position: number;
}

/** `a ? b : c ? d : e`, kept flat for the same reason. */
export interface Conditional {
  readonly type: "conditional";
  readonly branches: readonly (readonly [Node, Node])[];
  readonly otherwise: Node;
  readonly position: number;
}

export interface Template {
  readonly type: "template";
  readonly parts: readonly Node[];
  readonly position: number;
}

export interface Spread {
  readonly type: "spread";
  readonly value: Node;
  readonly position: number;
}

export interface ArrayLiteral {
  readonly type: "array";
  readonly items: readonly (Node | Spread)[];
  readonly position: number;
}

export interface Entry {
  readonly type: "entry";
  readonly key: Node;
  readonly value: Node;
}

export interface ObjectLiteral {
  readonly type: "object";
  readonly entries: readonly (Entry | Spread)[];
  readonly position: number;
}

export interface Arrow {
  readonly type: "arrow";
  readonly slots: readonly number[];
  readonly body: Node;
  readonly position: number;
}

export interface Call {
  readonly type: "call";
  readonly function: string;
  readonly arguments: readonly (Node | Arrow)[];
  readonly position: number;
}

export interface Method {
  readonly type: "method";
  readonly base: Node;
  readonly name: string;
  readonly arguments: readonly (Node | Arrow)[];
  readonly position: number;
}

export type Node =
  | Literal
  | Name
  | Member
  | Index
  | Unary
  | Arithmetic
  | Logic
  | Compare
  | Conditional
  | Template
  | ArrayLiteral
  | ObjectLiteral
  | Call
  | Method;

export type Any = Node | Arrow | Spread;

/** The nodes directly below, in the order they are written. */
export function children(node: Any): readonly Any[] {
  switch (node.type) {
    case "literal":
    case "name":
      return [];
    case "member":
      return [node.base];
    case "index":
      return [node.base, node.index];
    case "unary":
      return [node.operand];
    case "arithmetic":
      return [node.first, ...node.rest.map((step) => step.operand)];
    case "logic":
      return node.operands;
    case "compare":
      return [node.left, node.right];
    case "conditional":
      return [...node.branches.flat(), node.otherwise];
    case "template":
      return node.parts;
    case "spread":
      return [node.value];
    case "array":
      return node.items;
    case "object":
      return node.entries.flatMap((entry): Any[] =>
        entry.type === "entry" ? [entry.key, entry.value] : [entry],
      );
    case "arrow":
      return [node.body];
    case "call":
      return node.arguments;
    case "method":
      return [node.base, ...node.arguments];
  }
}

/** Count the nodes. An arrow function counts as one: its body is paid for each time it is called. */
export function size(node: Any): number {
  let count = 0;
  const waiting: Any[] = [node];
  for (let current = waiting.pop(); current; current = waiting.pop()) {
    count += 1;
    if (current.type !== "arrow") waiting.push(...children(current));
  }
  return count;
}

/** The longest way down. Walked without recursion, because this is what protects the recursive walks. */
export function depth(node: Node): number {
  let deepest = 0;
  const waiting: [Any, number][] = [[node, 1]];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [current, level] = next;
    deepest = Math.max(deepest, level);
    for (const child of children(current)) waiting.push([child, level + 1]);
  }
  return deepest;
}
