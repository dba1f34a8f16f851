/** Syntax tree to closures: each node becomes a function of the frame. */

import { ExpressionError } from "./errors";
import { Arrow, FUNCTIONS, METHODS } from "./methods";
import {
  type Arithmetic,
  type ArrayLiteral,
  type Arrow as ArrowNode,
  type Call,
  type Compare,
  type Conditional,
  type Logic,
  type Method,
  type Node,
  type ObjectLiteral,
  size,
  type Template,
} from "./syntax";
import { comparePoints } from "./text";
import {
  allowKey,
  atIndex,
  checkItems,
  checkText,
  clean,
  equal,
  type Frame,
  isObject,
  type Kind,
  kind,
  number,
  numberText,
  own,
  type Place,
  type Plain,
  type Scope,
  TYPE_NAME,
  toText,
  truthy,
} from "./values";

export type Run = (frame: Frame) => unknown;

export function compileNode(node: Node): Run {
  switch (node.type) {
    case "literal": {
      const value = node.value;
      return () => value;
    }
    case "name": {
      const { name, slot } = node;
      return slot === null ? (frame) => readRoot(frame.scope, name) : (frame) => frame.slots[slot];
    }
    case "member":
      return member(compileNode(node.base), node.key);
    case "index":
      return index(compileNode(node.base), compileNode(node.index), node.position);
    case "unary": {
      const operand = compileNode(node.operand);
      if (node.operator === "!") return (frame) => !truthy(operand(frame));
      return (frame) => negative(operand(frame), node.position);
    }
    case "arithmetic":
      return arithmetic(node);
    case "logic":
      return logic(node);
    case "compare":
      return comparison(node);
    case "conditional":
      return conditional(node);
    case "template":
      return template(node);
    case "array":
      return array(node);
    case "object":
      return object(node);
    case "call":
      return call(node);
    case "method":
      return method(node);
  }
}

/** The path of `a.b['c'].d`, when it starts at a root of the scope and every key is written out. */
export function staticPath(node: Node): readonly string[] | null {
  const keys: string[] = [];
  for (let current = node; ; ) {
    if (current.type === "name" && current.slot === null) return [current.name, ...keys.reverse()];
    if (current.type === "member") keys.push(current.key);
    else if (current.type === "index" && current.index.type === "literal") {
      if (typeof current.index.value !== "string") return null;
      keys.push(current.index.value);
    } else return null;
    current = current.base;
  }
}

export function readRoot(scope: Scope, name: string): unknown {
  return Object.hasOwn(scope, name) ? clean(scope[name]) : null;
}

function member(base: Run, key: string): Run {
  if (key !== "length") return (frame) => own(base(frame), key);
  return (frame) => {
    const value = base(frame);
    if (typeof value === "string") frame.spendText(value);
    return own(value, key);
  };
}

function index(base: Run, key: Run, position: number): Run {
  return (frame) => {
    const value = base(frame);
    if (value === null || value === undefined) return null;
    if (typeof value === "string") frame.spendText(value);
    const at = key(frame);
    return placed(position, () => atIndex(value, at));
  };
}

/** Run something that does not know where it is written, and give its errors the place. */
function placed<T>(position: number, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof ExpressionError && error.position === 0) error.position = position;
    throw error;
  }
}

function negative(value: unknown, position: number): number | null {
  const of = kind(value);
  if (of === "null") return null;
  if (of !== "number") throw badOperand("-", position, of);
  return number(-(value as number));
}

const OPERAND_HINTS: Readonly<Partial<Record<Kind, string>>> = {
  text: "Use num() to read a number from text.",
  list: "To join lists, write [...a, ...b].",
};

function badOperand(operator: string, position: number, of: Kind): ExpressionError {
  const message = `\`${operator}\` cannot work on ${TYPE_NAME[of]}`;
  return new ExpressionError("bad_operand", message, position, OPERAND_HINTS[of] ?? "");
}

function arithmetic(node: Arithmetic): Run {
  const first = compileNode(node.first);
  const rest = node.rest.map(({ operator, operand, position }) => ({
    operator,
    run: compileNode(operand),
    position,
  }));
  return (frame) => {
    let value = first(frame);
    for (const { operator, run, position } of rest)
      value = operate(frame, operator, value, run(frame), position);
    return value;
  };
}

function operate(frame: Frame, operator: string, left: unknown, right: unknown, position: number): unknown {
  if (typeof left === "number" && typeof right === "number") return calculate(operator, left, right);
  const mine = kind(left);
  const theirs = kind(right);
  if (operator === "+" && (mine === "text" || theirs === "text")) {
    return checkText(frame, toText(frame, left) + toText(frame, right));
  }
  for (const of of [mine, theirs]) {
    if (of !== "number" && of !== "null") throw badOperand(operator, position, of);
  }
  return null;
}

function calculate(operator: string, left: number, right: number): number | null {
  if (!Number.isFinite(left) || !Number.isFinite(right)) return null;
  switch (operator) {
    case "+":
      return number(left + right);
    case "-":
      return number(left - right);
    case "*":
      return number(left * right);
    case "/":
      return number(left / right);
    default:
      return number(left % right);
  }
}

function logic(node: Logic): Run {
  const operands = node.operands.map(compileNode);
  const stops: (value: unknown) => boolean =
    node.operator === "&&" ? (value) => !truthy(value) : node.operator === "||" ? truthy : isThere;
  const last = operands.length - 1;
  return (frame) => {
    let value: unknown = null;
    for (let at = 0; at <= last; at += 1) {
      value = operands[at]?.(frame);
      if (at < last && stops(value)) return value;
    }
    return value;
  };
}

function isThere(value: unknown): boolean {
  return value !== null && value !== undefined;
}

function comparison(node: Compare): Run {
  const left = compileNode(node.left);
  const right = compileNode(node.right);
  if (node.operator === "==") return (frame) => equal(frame, left(frame), right(frame));
  if (node.operator === "!=") return (frame) => !equal(frame, left(frame), right(frame));
  const holds = RELATIONS.get(node.operator) ?? (() => false);
  return (frame) => {
    const order = ordered(left(frame), right(frame));
    return order !== null && holds(order);
  };
}

const RELATIONS: ReadonlyMap<string, (order: number) => boolean> = new Map([
  ["<", (order) => order < 0],
  ["<=", (order) => order <= 0],
  [">", (order) => order > 0],
  [">=", (order) => order >= 0],
]);

/** Which comes first, for two numbers, texts, dates or truths; null for anything else. */
function ordered(left: unknown, right: unknown): number | null {
  const of = kind(left);
  if (of !== kind(right)) return null;
  switch (of) {
    case "number":
    case "boolean":
      return Number(left) - Number(right);
    case "date":
      return (
        (left as { milliseconds: number }).milliseconds - (right as { milliseconds: number }).milliseconds
      );
    case "text":
      return comparePoints(left as string, right as string);
    default:
      return null;
  }
}

function conditional(node: Conditional): Run {
  const branches = node.branches.map(([condition, value]) => ({
    condition: compileNode(condition),
    value: compileNode(value),
  }));
  const otherwise = compileNode(node.otherwise);
  return (frame) => {
    for (const { condition, value } of branches) if (truthy(condition(frame))) return value(frame);
    return otherwise(frame);
  };
}

function template(node: Template): Run {
  const parts = node.parts.map(compileNode);
  return (frame) => {
    let text = "";
    for (const part of parts) text = checkText(frame, text + toText(frame, part(frame)));
    return text;
  };
}

function array(node: ArrayLiteral): Run {
  const items = node.items.map((item) => ({
    spread: item.type === "spread",
    run: compileNode(item.type === "spread" ? item.value : item),
    position: item.position,
  }));
  return (frame) => {
    const result: unknown[] = [];
    for (const { spread, run, position } of items) {
      const value = run(frame);
      if (!spread) result.push(value);
      else if (Array.isArray(value)) {
        for (const item of value) result.push(item);
        checkItems(frame, result.length);
      } else if (kind(value) !== "null") {
        const message = `\`...\` needs a list here, not ${TYPE_NAME[kind(value)]}`;
        throw new ExpressionError("bad_operand", message, position);
      }
    }
    return result;
  };
}

function object(node: ObjectLiteral): Run {
  const entries = node.entries.map((entry) =>
    entry.type === "spread"
      ? { key: null, run: compileNode(entry.value), position: entry.position }
      : { key: compileNode(entry.key), run: compileNode(entry.value), position: entry.key.position },
  );
  return (frame) => {
    const result: Record<string, unknown> = {};
    for (const { key, run, position } of entries) {
      if (key) {
        const name = keyText(key(frame), position);
        result[name] = run(frame);
      } else spreadInto(frame, result, run(frame), position);
    }
    return result;
  };
}

function spreadInto(frame: Frame, result: Record<string, unknown>, value: unknown, position: number): void {
  if (isObject(value)) {
    const names = Object.keys(value);
    checkItems(frame, names.length);
    for (const name of names) placed(position, () => allowKey(name));
    for (const name of names) result[name] = (value as Plain)[name];
  } else if (kind(value) !== "null") {
    const message = `\`...\` needs an object here, not ${TYPE_NAME[kind(value)]}`;
    throw new ExpressionError("bad_operand", message, position);
  }
}

function keyText(value: unknown, position: number): string {
  const of = kind(value);
  if (of === "text") return placed(position, () => allowKey(value as string));
  if (of === "number") return numberText(value as number);
  throw new ExpressionError("bad_operand", `a key is text, not ${TYPE_NAME[of]}`, position);
}

function compileArguments(args: readonly (Node | ArrowNode)[]): Run[] {
  return args.map((argument) => (argument.type === "arrow" ? arrow(argument) : compileNode(argument)));
}

function arrow(node: ArrowNode): Run {
  const body = compileNode(node.body);
  const cost = size(node.body);
  const [first = -1, second = -1, third = -1] = node.slots;
  return (frame) => {
    const slots = frame.slots;
    const invoke = (a: unknown, b?: unknown, c?: unknown): unknown => {
      frame.spend(cost);
      if (first >= 0) slots[first] = a;
      if (second >= 0) slots[second] = b;
      if (third >= 0) slots[third] = c;
      return body(frame);
    };
    return new Arrow(invoke, node.slots.length);
  };
}

function call(node: Call): Run {
  const implementation = FUNCTIONS.get(node.function);
  const args = compileArguments(node.arguments);
  const place: Place = { position: node.position, called: node.function };
  if (!implementation)
    throw new ExpressionError("unknown_function", `there is no function \`${node.function}\``);
  return (frame) => {
    const given = args.map((argument) => argument(frame));
    return placed(node.position, () => implementation(frame, place, given));
  };
}

function method(node: Method): Run {
  const base = compileNode(node.base);
  const args = compileArguments(node.arguments);
  const place: Place = { position: node.position, called: `.${node.name}` };
  return (frame) => {
    const receiver = base(frame);
    const of = kind(receiver);
    if (of === "null") return null;
    const implementation = METHODS.get(of)?.get(node.name);
    if (!implementation) throw noMethod(node.name, of, node.position);
    const given = args.map((argument) => argument(frame));
    return placed(node.position, () => implementation(frame, place, receiver, given));
  };
}

function noMethod(name: string, of: Kind, position: number): ExpressionError {
  const owners = [...METHODS].filter(([, known]) => known.has(name)).map(([other]) => TYPE_NAME[other]);
  const message = `${TYPE_NAME[of]} has no method \`${name}\``;
  return new ExpressionError("unknown_method", message, position, `It belongs to ${owners.join(" and ")}.`);
}
