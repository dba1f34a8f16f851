/** What each method and function does. Null in, null out: a method with a missing argument gives null. */

import { CALENDAR_UNITS, type Fields, type Moment, makeMoment, readMoment, STARTS, UNITS } from "./dates";
import { fixed, formatted, MAX_PLACES, readNumber, rounded } from "./decimals";
import { countPoints, indexOfPoints, pointAt, slicePoints, wellFormed } from "./text";
import {
  allowKey,
  badArgument,
  checkDepth,
  checkItems,
  checkText,
  clean,
  compare,
  equal,
  type Frame,
  isObject,
  type Kind,
  kind,
  MAX_ITEMS,
  MAX_TEXT,
  number,
  numberText,
  type Place,
  type Plain,
  sortedBy,
  TYPE_NAME,
  textTooLarge,
  toJson,
  toText,
  truthy,
} from "./values";

/** An arrow function that was passed as an argument. */
export class Arrow {
  constructor(
    readonly call: (a: unknown, b?: unknown, c?: unknown) => unknown,
    readonly parameters: number,
  ) {}
}

export type Implementation = (
  frame: Frame,
  place: Place,
  receiver: unknown,
  args: readonly unknown[],
) => unknown;
export type FunctionImplementation = (frame: Frame, place: Place, args: readonly unknown[]) => unknown;

interface Wanted {
  readonly text: string;
  readonly whole: number;
  readonly number: number;
  readonly date: Moment;
  readonly list: readonly unknown[];
  readonly object: Plain;
}

const USE: Readonly<Record<string, string>> = {
  text: "Use text().",
  date: "Use date().",
  number: "Use num().",
};

/** The argument as the wanted kind; null where it is missing. */
function wanted<K extends keyof Wanted>(place: Place, value: unknown, want: K): Wanted[K] | null {
  const of = kind(value);
  if (of === "null") return null;
  if (want === "whole") {
    if (of !== "number" || !Number.isSafeInteger(value)) {
      const shown = of === "number" ? numberText(value as number) : TYPE_NAME[of];
      throw badArgument(place, `needs a whole number, not ${shown}`);
    }
    return number(value as number) as Wanted[K];
  }
  if (of !== want) {
    const name = TYPE_NAME[want as Kind];
    throw badArgument(place, `needs ${name}, not ${TYPE_NAME[of]}`, USE[want] ?? "");
  }
  if (of === "text") return wellFormed(value as string) as Wanted[K];
  return (of === "number" ? number(value as number) : value) as Wanted[K];
}

type Kinds = readonly (keyof Wanted)[];
type Checked<K extends Kinds> = { [I in keyof K]: Wanted[K[I]] };

/** Check the arguments' kinds; any null among them gives null. Arguments left out stay undefined. */
function typed<R, const K extends Kinds>(
  kinds: K,
  run: (frame: Frame, place: Place, receiver: R, args: Partial<Checked<K>>) => unknown,
): Implementation {
  return (frame, place, receiver, args) => {
    const checked: unknown[] = [];
    for (const [index, argument] of args.entries()) {
      const want = kinds[index];
      const value = want === undefined ? null : wanted(place, argument, want);
      if (value === null) return null;
      checked.push(value);
    }
    return run(frame, place, receiver as R, checked as unknown as Partial<Checked<K>>);
  };
}

// Text

function onText<const K extends Kinds>(
  kinds: K,
  run: (frame: Frame, place: Place, text: string, args: Partial<Checked<K>>) => unknown,
): Implementation {
  const method = typed<string, K>(kinds, run);
  return (frame, place, receiver, args) => {
    const text = receiver as string;
    frame.spendText(text);
    return method(frame, place, wellFormed(text), args);
  };
}

function split(frame: Frame, text: string, separator: string): string[] {
  const parts = separator === "" ? Array.from(text) : text.split(separator);
  checkItems(frame, parts.length);
  return parts;
}

function replaceFirst(frame: Frame, text: string, old: string, replacement: string): string {
  const index = text.indexOf(old);
  if (index < 0) return checkText(frame, text);
  return checkText(frame, text.slice(0, index) + replacement + text.slice(index + old.length));
}

function replaceAll(frame: Frame, text: string, old: string, replacement: string): string {
  const parts = old === "" ? ["", ...Array.from(text), ""] : text.split(old);
  const kept = countPoints(text) - (parts.length - 1) * countPoints(old);
  if (kept + (parts.length - 1) * countPoints(replacement) > MAX_TEXT) throw textTooLarge();
  return checkText(frame, parts.join(replacement));
}

function padding(text: string, length: number, fill: string): string {
  const missing = length - countPoints(text);
  if (missing <= 0 || fill === "") return "";
  if (length > MAX_TEXT) throw textTooLarge();
  return slicePoints(fill.repeat(Math.floor(missing / countPoints(fill)) + 1), 0, missing);
}

function repeat(frame: Frame, place: Place, text: string, count: number): string {
  if (count < 0) throw badArgument(place, "needs a count of 0 or more");
  if (countPoints(text) * count > MAX_TEXT) throw textTooLarge();
  return checkText(frame, text === "" ? "" : text.repeat(count));
}

const concatText: Implementation = (frame, _place, receiver, args) =>
  args.reduce<string>((text, arg) => checkText(frame, text + toText(frame, arg)), toText(frame, receiver));

function fromEnd(length: number, index: number): number | null {
  if (index < -length || index >= length) return null;
  return index < 0 ? length + index : index;
}

const textOf: Implementation = typed([], (frame, _place, value) => toText(frame, value));

// Lists

function onList<const K extends Kinds>(
  kinds: K,
  run: (frame: Frame, place: Place, items: readonly unknown[], args: Partial<Checked<K>>) => unknown,
): Implementation {
  const method = typed<readonly unknown[], K>(kinds, run);
  return (frame, place, receiver, args) => {
    frame.spend(Math.floor((receiver as unknown[]).length / 8));
    return method(frame, place, receiver, args);
  };
}

type Callback = Arrow["call"];

function each(run: (items: readonly unknown[], call: Callback, frame: Frame) => unknown): Implementation {
  return (frame, _place, receiver, args) => run(receiver as unknown[], (args[0] as Arrow).call, frame);
}

function map(items: readonly unknown[], call: Callback, frame: Frame): unknown[] {
  checkItems(frame, items.length);
  return items.map((item, index) => call(item, index));
}

function flatMap(items: readonly unknown[], call: Callback, frame: Frame): unknown[] {
  const result: unknown[] = [];
  items.forEach((item, index) => {
    const part = call(item, index);
    if (Array.isArray(part)) for (const inner of part) result.push(inner);
    else result.push(part);
    checkItems(frame, result.length > MAX_ITEMS ? result.length : Array.isArray(part) ? part.length : 1);
  });
  return result;
}

const reduce: Implementation = (_frame, _place, receiver, args) => {
  const items = receiver as unknown[];
  const [arrow, first] = args as [Arrow, unknown];
  if (args.length < 2 && items.length === 0) return null;
  let total = args.length < 2 ? items[0] : first;
  for (let index = args.length < 2 ? 1 : 0; index < items.length; index += 1) {
    total = arrow.call(total, items[index], index);
  }
  return total;
};

const sort: Implementation = (frame, place, receiver, args) => {
  const items = receiver as unknown[];
  const arrow = args[0] as Arrow | undefined;
  if (!arrow) return sortedBy(frame, items, items);
  if (arrow.parameters < 2) {
    const keys = items.map((item) => arrow.call(item));
    return sortedBy(frame, items, keys);
  }
  const after = (left: unknown, right: unknown): boolean => {
    const order = arrow.call(left, right);
    const of = kind(order);
    if (of !== "number" && of !== "null") {
      const message = `needs a function that gives a number, not ${TYPE_NAME[of]}`;
      throw badArgument(place, message, "Write (a, b) => a - b, or item => key.");
    }
    return of === "number" && (order as number) > 0;
  };
  frame.spend(items.length);
  return mergeSort(items, after);
};

/** Our own, so that both halves ask the same questions in the same order, even of a function that lies. */
function mergeSort(items: readonly unknown[], after: (left: unknown, right: unknown) => boolean): unknown[] {
  if (items.length < 2) return [...items];
  const middle = Math.floor(items.length / 2);
  const left = mergeSort(items.slice(0, middle), after);
  const right = mergeSort(items.slice(middle), after);
  const merged: unknown[] = [];
  let i = 0;
  let j = 0;
  while (i < left.length && j < right.length) {
    if (after(left[i], right[j])) {
      merged.push(right[j]);
      j += 1;
    } else {
      merged.push(left[i]);
      i += 1;
    }
  }
  return merged.concat(left.slice(i), right.slice(j));
}

const concatList: Implementation = (frame, _place, receiver, args) => {
  let result = receiver as unknown[];
  for (const argument of args) {
    result = Array.isArray(argument) ? result.concat(argument) : [...result, argument];
    checkItems(frame, result.length);
  }
  return [...result];
};

function indexIn(frame: Frame, receiver: unknown, value: unknown): number {
  const items = receiver as unknown[];
  frame.spend(items.length);
  return items.findIndex((item) => equal(frame, item, value));
}

function join(frame: Frame, items: readonly unknown[], separator: string): string {
  frame.spend(items.length);
  const texts: string[] = [];
  let length = countPoints(separator) * Math.max(items.length - 1, 0);
  for (const item of items) {
    const text = toText(frame, item);
    texts.push(text);
    length += countPoints(text);
    if (length > MAX_TEXT) throw textTooLarge();
  }
  return checkText(frame, texts.join(separator));
}

function flatten(frame: Frame, items: readonly unknown[], depth: number, result: unknown[]): unknown[] {
  frame.spend(items.length);
  for (const item of items) {
    if (depth > 0 && Array.isArray(item)) flatten(frame, item, depth - 1, result);
    else result.push(item);
  }
  if (result.length > MAX_ITEMS) checkItems(frame, result.length);
  return result;
}

// Numbers and dates

function allowedPlaces(place: Place, places: number): number {
  if (places < 0 || places > MAX_PLACES) {
    throw badArgument(place, `takes 0 to ${MAX_PLACES} digits, not ${places}`);
  }
  return places;
}

function field(name: keyof Fields): Implementation {
  return typed<Moment, []>([], (_frame, _place, date) => date.fields[name]);
}

function unitNamed(place: Place, unit: string, known: readonly string[]): string {
  const found = known.find((name) => name === unit || name === `${unit}s`);
  if (found === undefined) throw unknownUnit(place, unit, known);
  return found;
}

function unknownUnit(place: Place, unit: string, known: readonly string[]) {
  return badArgument(place, `does not know the unit '${unit}'`, `Use one of ${known.join(", ")}.`);
}

const FIXED_UNITS = [...UNITS.keys()];
const ALL_UNITS = [...FIXED_UNITS, ...CALENDAR_UNITS.keys()];

type Table<T> = ReadonlyMap<string, T>;

function table<T>(entries: Readonly<Record<string, T>>): Table<T> {
  return new Map(Object.entries(entries));
}

export const METHODS: ReadonlyMap<Kind, Table<Implementation>> = new Map<Kind, Table<Implementation>>([
  [
    "text",
    table({
      trim: onText([], (_frame, _place, text) => text.trim()),
      toUpperCase: onText([], (frame, _place, text) => checkText(frame, text.toUpperCase())),
      toLowerCase: onText([], (frame, _place, text) => checkText(frame, text.toLowerCase())),
      startsWith: onText(["text"], (_frame, _place, text, [part = ""]) => text.startsWith(part)),
      endsWith: onText(["text"], (_frame, _place, text, [part = ""]) => text.endsWith(part)),
      includes: onText(["text"], (_frame, _place, text, [part = ""]) => text.includes(part)),
      indexOf: onText(["text"], (_frame, _place, text, [part = ""]) => indexOfPoints(text, part)),
      split: onText(["text"], (frame, _place, text, [separator = ""]) => split(frame, text, separator)),
      replace: onText(["text", "text"], (frame, _place, text, [old = "", by = ""]) =>
        replaceFirst(frame, text, old, by),
      ),
      replaceAll: onText(["text", "text"], (frame, _place, text, [old = "", by = ""]) =>
        replaceAll(frame, text, old, by),
      ),
      padStart: onText(["whole", "text"], (frame, _place, text, [length = 0, fill = " "]) =>
        checkText(frame, padding(text, length, fill) + text),
      ),
      padEnd: onText(["whole", "text"], (frame, _place, text, [length = 0, fill = " "]) =>
        checkText(frame, text + padding(text, length, fill)),
      ),
      repeat: onText(["whole"], (frame, place, text, [count = 0]) => repeat(frame, place, text, count)),
      slice: onText(["whole", "whole"], (_frame, _place, text, [start = 0, end]) =>
        slicePoints(text, start, end),
      ),
      at: onText(["whole"], (_frame, _place, text, [index = 0]) => {
        const found = fromEnd(countPoints(text), index);
        return found === null ? null : pointAt(text, found);
      }),
      charAt: onText(["whole"], (_frame, _place, text, [index = 0]) =>
        index < 0 ? "" : (pointAt(text, index) ?? ""),
      ),
      concat: concatText,
      toString: onText([], (frame, _place, text) => toText(frame, text)),
    }),
  ],
  [
    "list",
    table({
      map: each(map),
      filter: each((items, call) => items.filter((item, index) => truthy(call(item, index)))),
      find: each((items, call) => items.find((item, index) => truthy(call(item, index))) ?? null),
      findIndex: each((items, call) => items.findIndex((item, index) => truthy(call(item, index)))),
      some: each((items, call) => items.some((item, index) => truthy(call(item, index)))),
      every: each((items, call) => items.every((item, index) => truthy(call(item, index)))),
      flatMap: each(flatMap),
      reduce,
      sort,
      reverse: onList([], (_frame, _place, items) => items.toReversed()),
      slice: onList(["whole", "whole"], (_frame, _place, items, [start = 0, end]) => items.slice(start, end)),
      at: onList(["whole"], (_frame, _place, items, [index = 0]) => {
        const found = fromEnd(items.length, index);
        return found === null ? null : clean(items[found]);
      }),
      concat: concatList,
      includes: (frame, _place, receiver, args) => indexIn(frame, receiver, args[0]) >= 0,
      indexOf: (frame, _place, receiver, args) => indexIn(frame, receiver, args[0]),
      join: onList(["text"], (frame, _place, items, [separator = ","]) => join(frame, items, separator)),
      flat: onList(["whole"], (frame, _place, items, [depth = 1]) =>
        flatten(frame, items, Math.max(Math.min(depth, 100), 0), []),
      ),
    }),
  ],
  [
    "number",
    table({
      toFixed: typed<number, ["whole"]>(["whole"], (_frame, place, value, [places = 0]) =>
        fixed(value, allowedPlaces(place, places)),
      ),
      toString: textOf,
    }),
  ],
  ["boolean", table({ toString: textOf })],
  [
    "date",
    table({
      year: field("year"),
      month: field("month"),
      day: field("day"),
      hour: field("hour"),
      minute: field("minute"),
      second: field("second"),
      weekday: typed<Moment, []>([], (_frame, _place, date) => date.weekday()),
      iso: textOf,
      toString: textOf,
      add: typed<Moment, ["number", "text"]>(
        ["number", "text"],
        (_frame, place, date, [count = 0, unit = ""]) => date.add(count, unitNamed(place, unit, ALL_UNITS)),
      ),
      diff: typed<Moment, ["date", "text"]>(["date", "text"], (_frame, place, date, [other, unit = ""]) => {
        const length = UNITS.get(unitNamed(place, unit, FIXED_UNITS)) ?? 1;
        return other ? number((date.milliseconds - other.milliseconds) / length) : null;
      }),
      startOf: typed<Moment, ["text"]>(["text"], (_frame, place, date, [unit = ""]) => {
        if (!STARTS.includes(unit)) throw unknownUnit(place, unit, STARTS);
        return date.startOf(unit);
      }),
    }),
  ],
]);

// Functions

const len: FunctionImplementation = (frame, place, [value]) => {
  const of = kind(value);
  switch (of) {
    case "text":
      frame.spendText(value as string);
      return countPoints(value as string);
    case "list":
      return (value as unknown[]).length;
    case "object":
      return Object.keys(value as Plain).length;
    case "null":
      return 0;
    default:
      throw badArgument(place, `needs text, a list or an object, not ${TYPE_NAME[of]}`);
  }
};

const sum: FunctionImplementation = (frame, place, [value]) => {
  const items = wanted(place, value, "list");
  if (items === null) return null;
  frame.spend(items.length);
  let total: number | null = 0;
  for (const item of items) {
    const part = wanted(place, item, "number");
    if (part !== null && total !== null) total = number(total + part);
  }
  return total;
};

function extreme(order: number): FunctionImplementation {
  return (frame, place, args) => {
    const items = args.length === 1 && Array.isArray(args[0]) ? (args[0] as unknown[]) : args;
    frame.spend(items.length);
    let best: unknown = null;
    for (const item of items) {
      const of = kind(item);
      if (of === "null") continue;
      if (of !== "number" && of !== "text" && of !== "date") {
        throw badArgument(place, `needs numbers, texts or dates, not ${TYPE_NAME[of]}`);
      }
      if (best !== null && kind(best) !== of) {
        throw badArgument(place, `cannot compare ${TYPE_NAME[kind(best)]} with ${TYPE_NAME[of]}`);
      }
      if (best === null || compare(frame, item, best) === order) best = item;
    }
    return best;
  };
}

const round: FunctionImplementation = (_frame, place, args) => {
  const value = wanted(place, args[0], "number");
  const places = args.length > 1 ? wanted(place, args[1], "whole") : 0;
  return value === null || places === null ? null : rounded(value, allowedPlaces(place, places));
};

function onNumber(run: (value: number) => number): FunctionImplementation {
  return (_frame, place, [value]) => {
    const checked = wanted(place, value, "number");
    return checked === null ? null : number(run(checked));
  };
}

const num: FunctionImplementation = (frame, _place, [value]) => {
  switch (kind(value)) {
    case "number":
      return number(value as number);
    case "boolean":
      return value ? 1 : 0;
    case "text":
      frame.spendText(value as string);
      return readNumber(wellFormed(value as string));
    case "date":
      return (value as Moment).milliseconds;
    default:
      return null;
  }
};

const date: FunctionImplementation = (_frame, _place, [value]) => {
  switch (kind(value)) {
    case "date":
      return value;
    case "text":
      return readMoment((value as string).trim());
    case "number":
      return makeMoment(Math.trunc(value as number));
    default:
      return null;
  }
};

const fmt: FunctionImplementation = (frame, place, [value, pattern]) => {
  const written = wanted(place, pattern, "text");
  if (written === null) return null;
  if (kind(value) === "null") return "";
  frame.spend(Math.floor(written.length / 64));
  if (kind(value) === "date") return checkText(frame, (value as Moment).format(written));
  const checked = wanted(place, value, "number");
  const text = checked === null ? null : formatted(checked, written);
  if (text === null) {
    const message = `does not know the pattern '${slicePoints(written, 0, 40)}'`;
    throw badArgument(place, message, "Write '0.00', '#,##0', '0.0%' or 'YYYY-MM-DD'.");
  }
  return checkText(frame, text);
};

const keys: FunctionImplementation = (frame, place, [value]) => {
  const found = Object.keys(wanted(place, value, "object") ?? {});
  checkItems(frame, found.length);
  return found;
};

const values: FunctionImplementation = (frame, place, [value]) => {
  const found = wanted(place, value, "object") ?? {};
  const names = Object.keys(found);
  checkItems(frame, names.length);
  return names.map((name) => clean(found[name]));
};

const groupBy: FunctionImplementation = (frame, place, [value, arrow]) => {
  const items = wanted(place, value, "list");
  if (items === null) return null;
  const groups: Record<string, unknown[]> = {};
  items.forEach((item, index) => {
    const key = (arrow as Arrow).call(item, index);
    const of = kind(key);
    if (of !== "text" && of !== "number" && of !== "boolean" && of !== "null") {
      throw badArgument(place, `needs a key that is text or a number, not ${TYPE_NAME[of]}`);
    }
    const name = allowKey(toText(frame, key));
    const group = Object.hasOwn(groups, name) ? groups[name] : undefined;
    if (group) group.push(item);
    else groups[name] = [item];
  });
  return groups;
};

const unique: FunctionImplementation = (frame, place, [value, arrow]) => {
  const items = wanted(place, value, "list");
  if (items === null) return null;
  frame.spend(items.length);
  const seen = new Map<string, unknown>();
  items.forEach((item, index) => {
    const key = identity(frame, arrow instanceof Arrow ? arrow.call(item, index) : item, 0);
    if (!seen.has(key)) seen.set(key, item);
  });
  return [...seen.values()];
};

/** A text that two values share exactly when they are equal. */
function identity(frame: Frame, value: unknown, depth: number): string {
  checkDepth(depth);
  switch (kind(value)) {
    case "list": {
      const items = value as unknown[];
      frame.spend(items.length);
      return `[${items.map((item) => identity(frame, item, depth + 1)).join(",")}]`;
    }
    case "object": {
      const object = value as Plain;
      const names = Object.keys(object).sort();
      frame.spend(names.length);
      return `{${names.map((name) => `${JSON.stringify(name)}:${identity(frame, object[name], depth + 1)}`).join(",")}}`;
    }
    case "text":
      frame.spendText(value as string);
      return JSON.stringify(value);
    case "date":
      return `@${(value as Moment).milliseconds}`;
    default:
      return toText(frame, value) || "null";
  }
}

const range: FunctionImplementation = (frame, place, args) => {
  const limits = args.map((limit) => wanted(place, limit, "whole"));
  const [first = 0, second = 0, step = 1] = limits;
  if (first === null || second === null || step === null) return null;
  const [start, end] = args.length === 1 ? [0, first] : [first, second];
  if (step === 0) throw badArgument(place, "needs a step that is not 0");
  const count = Math.max(0, Math.ceil((end - start) / step));
  checkItems(frame, count);
  return Array.from({ length: count }, (_, index) => start + index * step);
};

const has: FunctionImplementation = (_frame, _place, [value, key]) => {
  const of = kind(key);
  if (of === "text") allowKey(key as string);
  if (Array.isArray(value)) {
    return (
      of === "number" && Number.isSafeInteger(key) && (key as number) >= 0 && (key as number) < value.length
    );
  }
  if (of !== "text" && of !== "number") return false;
  return isObject(value) && Object.hasOwn(value, of === "text" ? (key as string) : numberText(key as number));
};

export const FUNCTIONS: Table<FunctionImplementation> = table({
  len,
  sum,
  min: extreme(-1),
  max: extreme(1),
  round,
  floor: onNumber(Math.floor),
  ceil: onNumber(Math.ceil),
  abs: onNumber(Math.abs),
  num,
  text: (frame, _place, [value]) => toText(frame, value),
  date,
  fmt,
  json: (frame, _place, [value]) => toJson(frame, value),
  keys,
  values,
  groupBy,
  unique,
  range,
  has,
});
