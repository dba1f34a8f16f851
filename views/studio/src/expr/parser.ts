/**
 * Text to syntax tree: a subset of JavaScript's expressions, read in one pass.
 *
 * `worklets/tenfold_expressions/parser.py` is the same parser, line for line, so that both give the same errors.
 */

import { closest, ExpressionError } from "./errors";
import { FUNCTIONS, INSTEAD, METHODS, type Signature } from "./signatures";
import {
  type Arrow,
  depth,
  type Entry,
  FORBIDDEN,
  type Literal,
  MAX_DEPTH,
  MAX_NESTING,
  MAX_SOURCE,
  type Node,
  type Spread,
  type Step,
} from "./syntax";
import { countPoints } from "./text";

const RESERVED: ReadonlySet<string> = new Set(
  (
    "arguments await break case catch class const continue debugger default delete do else enum eval export extends " +
    "finally for function if import in instanceof let new return static super switch this throw try typeof undefined " +
    "var void while with yield NaN Infinity true false null"
  ).split(" "),
);

const NAME = /[A-Za-z_$][A-Za-z0-9_$]*/y;
const NAMES = /[A-Za-z_$][A-Za-z0-9_$]*/g;
const NUMBER = /(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\r\n]*/y;
const ONE_PARAMETER = /([A-Za-z_$][A-Za-z0-9_$]*)[ \t]*=>/y;
const PARAMETERS =
  /\([ \t\r\n]*(?:[A-Za-z_$][A-Za-z0-9_$]*[ \t\r\n]*(?:,[ \t\r\n]*[A-Za-z_$][A-Za-z0-9_$]*[ \t\r\n]*)*(?:,[ \t\r\n]*)?)?\)[ \t]*=>/y;
const REFUSED =
  /\/\/|\/\*|>>>=|>>>|<<=|>>=|\*\*=|&&=|\|\|=|\?\?=|\*\*|\+\+|--|<<|>>|\+=|-=|\*=|\/=|%=|&=|\|=|\^=|=(?![=>])|[&|](?![&|])|[\^~;@#\\]/y;
const SYMBOL = /\.\.\.|===|!==|==|!=|<=|>=|=>|&&|\|\||\?\?|\?\.(?![0-9])|[-+*/%<>!?:.,()[\]{}]/y;
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
  ["b", "\b"],
  ["f", "\f"],
  ["v", "\v"],
  ["\\", "\\"],
  ["'", "'"],
  ['"', '"'],
  ["`", "`"],
  ["$", "$"],
  ["/", "/"],
]);
const HEX = /x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}/y;
const INVISIBLE = /[\p{Cc}\u00a0\u00ad\u200b-\u200f\u2028-\u202f\ud800-\udfff\ufeff\ufff0-\uffff]/gu;
const LONE_SURROGATE = /[\ud800-\udfff]/u;

const PRECEDENCE: ReadonlyMap<string, number> = new Map([
  ["??", 1],
  ["||", 2],
  ["&&", 3],
  ["==", 4],
  ["!=", 4],
  ["===", 4],
  ["!==", 4],
  ["<", 5],
  ["<=", 5],
  [">", 5],
  [">=", 5],
  ["+", 6],
  ["-", 6],
  ["*", 7],
  ["/", 7],
  ["%", 7],
]);
const EQUALITY = 4;
const RELATION = 5;
const SUM = 6;

/** A place where a name is written: read, written short in an object (`{name}`), or declared as a parameter. */
export interface Reference {
  readonly name: string;
  readonly position: number;
  readonly slot: number | null;
  readonly short: boolean;
  readonly inside: readonly number[];
  readonly declares: boolean;
}

export interface Parsed {
  readonly root: Node;
  readonly references: readonly Reference[];
  readonly slots: number;
}

export function parseSource(source: string): Parsed {
  if (source.length > MAX_SOURCE && countPoints(source) > MAX_SOURCE) {
    const message = `this expression is ${countPoints(source)} characters long`;
    throw new ExpressionError("too_large", message, 0, `At most ${MAX_SOURCE} are allowed.`);
  }
  try {
    return new Parser(source).parse();
  } catch (error) {
    if (error instanceof RangeError) throw tooDeep(0);
    if (error instanceof ExpressionError) error.position = countPoints(source.slice(0, error.position));
    throw error;
  }
}

export function isName(text: string): boolean {
  return matched(NAME, text, 0) === text && text !== "" && !RESERVED.has(text) && !FORBIDDEN.has(text);
}

const RESERVED_HINTS: ReadonlyMap<string, string> = new Map([
  ["undefined", "Write null."],
  ["function", "Write an arrow function: x => x + 1."],
  ["new", "Objects are written {key: value}; dates are made by date('2024-01-31')."],
  ["typeof", "Compare with a value, or use num() and text()."],
  ["instanceof", "Compare with a value instead."],
  ["in", "Use has(object, key), or list.includes(item)."],
  ["if", "Write condition ? this : that."],
]);
const REFUSED_HINTS: ReadonlyMap<string, string> = new Map([
  ["=", "To compare, write ==."],
  ["//", "Comments cannot be written inside an expression."],
  ["/*", "Comments cannot be written inside an expression."],
  ["**", "Write x * x."],
  ["&", "For `and`, write &&."],
  ["|", "For `or`, write ||."],
  [";", "An expression is one value; there are no statements."],
  ["\\", "Names are written without escapes."],
]);

function forbid(name: string, position: number): void {
  if (FORBIDDEN.has(name)) {
    throw new ExpressionError(
      "forbidden_name",
      `\`${name}\` may not be used`,
      position,
      "Choose another name.",
    );
  }
}

/** Refuse what cannot be the name of a root or a parameter. */
function checkName(name: string, position: number): void {
  forbid(name, position);
  if (RESERVED.has(name)) {
    const hint = RESERVED_HINTS.get(name) ?? "";
    throw new ExpressionError("syntax", `\`${name}\` is not part of the language`, position, hint);
  }
}

function tooDeep(position: number): ExpressionError {
  const hint = "Split it, or compute it in a code node.";
  return new ExpressionError("too_large", "this expression is nested too deeply", position, hint);
}

function matched(pattern: RegExp, text: string, position: number): string | null {
  pattern.lastIndex = position;
  return pattern.exec(text)?.[0] ?? null;
}

/** Operands joined by operators of one precedence. */
interface Level {
  readonly precedence: number;
  readonly operands: Node[];
  readonly operators: { readonly text: string; readonly position: number }[];
}

type Kind = "start" | "end" | "name" | "number" | "string" | "template" | "symbol";

class Parser {
  private kind = "start" as Kind;
  private text = "";
  private start = 0;
  private end = 0;
  private value: number | string = "";
  private nesting = 0;
  private slots = 0;
  private readonly parameters: Map<string, number>[] = [];
  private readonly references: Reference[] = [];

  constructor(private readonly source: string) {}

  parse(): Parsed {
    this.advance();
    if (this.finished()) {
      throw this.error("an expression is expected here", "Write a name, such as input.text, or a value.");
    }
    const root = this.expression();
    if (!this.finished()) throw this.unexpected();
    if (depth(root) > MAX_DEPTH) throw tooDeep(0);
    return { root, references: this.references, slots: this.slots };
  }

  // Tokens

  private advance(): void {
    this.start = this.end + (matched(SPACE, this.source, this.end)?.length ?? 0);
    if (this.start >= this.source.length) {
      this.kind = "end";
      this.text = "";
      this.end = this.source.length;
      return;
    }
    this.token();
  }

  private token(): void {
    const name = matched(NAME, this.source, this.start);
    if (name !== null) {
      this.take("name", name);
      return;
    }
    const digits = matched(NUMBER, this.source, this.start);
    if (digits !== null) {
      this.number(digits);
      return;
    }
    const character = this.source.charAt(this.start);
    if (character === "'" || character === '"') {
      this.string(character);
      return;
    }
    if (character === "`") {
      this.take("template", "`");
      return;
    }
    const refused = matched(REFUSED, this.source, this.start);
    if (refused !== null) {
      const hint = REFUSED_HINTS.get(refused) ?? (refused.endsWith("=") ? "There is no assignment." : "");
      throw this.error(`\`${refused}\` is not part of the language`, hint);
    }
    const symbol = matched(SYMBOL, this.source, this.start);
    if (symbol !== null) {
      this.take("symbol", symbol);
      return;
    }
    const shown = String.fromCodePoint(this.source.codePointAt(this.start) ?? 0);
    throw this.error(
      `\`${visible(shown)}\` is not expected here`,
      "A name has letters a to z, digits, _ and $; any other key is written object['key'].",
    );
  }

  private take(kind: Kind, text: string): void {
    this.kind = kind;
    this.text = text;
    this.end = this.start + text.length;
  }

  private number(digits: string): void {
    this.take("number", digits);
    if (/^[A-Za-z0-9_$\\\u0080-\uffff]/.test(this.source.charAt(this.end))) {
      throw this.error("this number is not written in a way that is understood", "Write 12, 0.5 or 1e6.");
    }
    this.value = Number(digits);
    if (!Number.isFinite(this.value)) throw this.error("this number is too large");
  }

  private string(quote: string): void {
    let position = this.start + 1;
    let text = "";
    for (;;) {
      let character = this.source.charAt(position);
      if (character === "" || character === "\n" || character === "\r") {
        throw this.error("this text is not closed", `Add ${quote} at its end.`);
      }
      position += 1;
      if (character === quote) break;
      if (character === "\\") [character, position] = this.escape(position);
      text += character;
    }
    this.take("string", this.source.slice(this.start, position));
    this.value = this.wholeText(text);
  }

  /** Read what follows a backslash; a pair of surrogates written as two escapes is one character. */
  private escape(position: number): [string, number] {
    const character = this.source.charAt(position);
    if (character === "0" && !/^[0-9]/.test(this.source.charAt(position + 1))) return ["\0", position + 1];
    const simple = ESCAPES.get(character);
    if (simple !== undefined) return [simple, position + 1];
    const [code, after] = this.hexadecimal(position);
    if (code >= 0xd800 && code < 0xdc00 && this.source.charAt(after) === "\\") {
      const [low, end] = this.hexadecimal(after + 1);
      if (low >= 0xdc00 && low < 0xe000) return [String.fromCharCode(code, low), end];
    }
    if (code >= 0xd800 && code < 0xe000) throw this.halfCharacter();
    return [String.fromCodePoint(code), after];
  }

  private hexadecimal(position: number): [number, number] {
    HEX.lastIndex = position;
    const found = HEX.exec(this.source);
    const digits = found?.[1] ?? found?.[2] ?? found?.[3];
    const code = digits === undefined ? -1 : Number.parseInt(digits, 16);
    if (code < 0 || code > 0x10ffff) {
      const hint = "Write \\n, \\t, \\\\, \\' or \\u00e9.";
      throw new ExpressionError("syntax", "this escape is not understood", position - 1, hint);
    }
    return [code, HEX.lastIndex];
  }

  private wholeText(text: string): string {
    if (LONE_SURROGATE.test(text)) throw this.halfCharacter();
    return text;
  }

  private halfCharacter(): ExpressionError {
    return this.error(
      "this text holds half a character (a lone surrogate)",
      "Write both halves, or \\u{1f600}.",
    );
  }

  private error(message: string, hint = ""): ExpressionError {
    return new ExpressionError("syntax", message, this.start, hint);
  }

  private unexpected(): ExpressionError {
    if (this.kind === "end") {
      return this.error("the expression ends too early", "Something is missing at its end.");
    }
    if (this.text === "=>") {
      return this.error(
        "an arrow function can only be an argument",
        "Write it inside a call: list.map(x => x.name).",
      );
    }
    if (this.text === "{") {
      return this.error("`{` is not expected here", "An arrow function gives one value: x => ({key: x}).");
    }
    if (this.kind === "template") return this.error("a template cannot follow a value", "Join texts with +.");
    return this.error(`\`${visible(this.text)}\` is not expected here`);
  }

  private expect(symbol: string): void {
    if (!this.at(symbol))
      throw this.kind === "end" ? this.error(`\`${symbol}\` is missing`) : this.unexpected();
    this.advance();
  }

  private at(symbol: string): boolean {
    return this.kind === "symbol" && this.text === symbol;
  }

  private finished(): boolean {
    return this.kind === "end";
  }

  private deeper(): void {
    this.nesting += 1;
    if (this.nesting > MAX_NESTING) throw tooDeep(this.start);
  }

  // Grammar

  /** condition ? value : value; else-if chains stay flat. */
  private expression(): Node {
    this.deeper();
    const position = this.start;
    const branches: [Node, Node][] = [];
    let value = this.operators();
    while (this.at("?")) {
      this.advance();
      const then = this.expression();
      this.expect(":");
      branches.push([value, then]);
      value = this.operators();
    }
    this.nesting -= 1;
    return branches.length > 0 ? { type: "conditional", branches, otherwise: value, position } : value;
  }

  private operators(): Node {
    const levels: Level[] = [];
    const bare = new Set<Node>();
    let value = this.unary();
    for (;;) {
      const precedence = this.kind === "symbol" ? PRECEDENCE.get(this.text) : undefined;
      if (precedence === undefined) break;
      let level = levels.at(-1);
      while (level && level.precedence > precedence) {
        value = this.close(level, value, bare);
        levels.pop();
        level = levels.at(-1);
      }
      if (!level || level.precedence < precedence) {
        level = { precedence, operands: [], operators: [] };
        levels.push(level);
      }
      level.operands.push(value);
      level.operators.push({ text: this.text, position: this.start });
      this.advance();
      value = this.unary();
    }
    for (let level = levels.pop(); level; level = levels.pop()) value = this.close(level, value, bare);
    return value;
  }

  private close(level: Level, last: Node, bare: Set<Node>): Node {
    const operands = [...level.operands, last];
    const [first = last, ...others] = operands;
    const [{ text: operator, position } = { text: "", position: 0 }, again] = level.operators;
    if (level.precedence >= SUM) {
      const rest = others.map((operand, index): Step => {
        const step = level.operators[index];
        return { operator: step?.text ?? "", operand, position: step?.position ?? 0 };
      });
      return { type: "arithmetic", first, rest, position };
    }
    if (level.precedence === EQUALITY || level.precedence === RELATION) {
      if (again) {
        const message = `\`${again.text}\` cannot follow \`${operator}\``;
        throw new ExpressionError("syntax", message, again.position, "Write a < b && b < c.");
      }
      return { type: "compare", operator: operator.slice(0, 2), left: first, right: last, position };
    }
    if (operator === "??" && operands.some((operand) => bare.has(operand))) {
      const hint = "Put one of them in parentheses.";
      throw new ExpressionError("syntax", "`??` cannot be mixed with && or ||", position, hint);
    }
    const logic: Node = { type: "logic", operator, operands, position };
    bare.add(logic);
    return logic;
  }

  private unary(): Node {
    if (this.at("!") || this.at("-")) {
      const operator = this.text;
      const position = this.start;
      this.deeper();
      this.advance();
      const operand = this.unary();
      this.nesting -= 1;
      if (operator === "-" && operand.type === "literal" && typeof operand.value === "number") {
        return { type: "literal", value: 0 - operand.value, position };
      }
      return { type: "unary", operator, operand, position };
    }
    if (this.at("+"))
      throw this.error("`+` is not expected here", "To read a text as a number, write num(x).");
    if (this.at("/")) throw this.error("`/` is not expected here", "There are no regular expressions.");
    return this.postfix();
  }

  private postfix(): Node {
    let value = this.primary();
    while (this.kind === "symbol" || this.kind === "template") {
      if (this.at(".") || this.at("?.")) {
        const optional = this.text === "?.";
        this.advance();
        if ((this.kind as Kind) === "name") value = this.member(value);
        else if (optional && this.at("[")) value = this.index(value);
        else throw this.error("a name is expected after the dot", "Write a.name or a['any key'].");
      } else if (this.at("[")) value = this.index(value);
      else if (this.at("(")) {
        throw this.error("only functions and methods can be called", "Write name(…) or value.name(…).");
      } else if (this.kind === "template") throw this.unexpected();
      else break;
    }
    return value;
  }

  private member(base: Node): Node {
    const name = this.text;
    const position = this.start;
    forbid(name, position);
    this.advance();
    if (!this.at("(")) return { type: "member", base, key: name, position };
    const signature = METHODS.get(name);
    if (!signature) throw unknownMethod(name, position);
    return {
      type: "method",
      base,
      name,
      arguments: this.arguments(`.${name}`, signature, position),
      position,
    };
  }

  private index(base: Node): Node {
    const position = this.start;
    this.advance();
    const index = this.expression();
    this.expect("]");
    if (index.type === "literal" && typeof index.value === "string") forbid(index.value, index.position);
    return { type: "index", base, index, position };
  }

  private primary(): Node {
    const position = this.start;
    if (this.kind === "name") return this.name();
    if (this.kind === "number" || this.kind === "string") {
      const value = this.value;
      this.advance();
      return { type: "literal", value, position };
    }
    if (this.kind === "template") return this.template();
    if (this.at("(")) {
      this.advance();
      const value = this.expression();
      this.expect(")");
      return value;
    }
    if (this.at("[")) return this.array();
    if (this.at("{")) return this.object();
    throw this.unexpected();
  }

  private name(): Node {
    const name = this.text;
    const position = this.start;
    const constant = CONSTANTS.get(name);
    if (constant !== undefined) {
      this.advance();
      return { type: "literal", value: constant, position };
    }
    checkName(name, position);
    this.advance();
    if (!this.at("(")) return { type: "name", name, position, slot: this.refer(name, position) };
    const signature = FUNCTIONS.get(name);
    if (!signature) throw unknownFunction(name, position);
    return { type: "call", function: name, arguments: this.arguments(name, signature, position), position };
  }

  private refer(name: string, position: number, short = false): number | null {
    const slot = this.parameters.findLast((scope) => scope.has(name))?.get(name) ?? null;
    const inside = this.parameters.flatMap((scope) => [...scope.values()]);
    this.references.push({ name, position, slot, short, inside, declares: false });
    return slot;
  }

  private arguments(called: string, signature: Signature, position: number): (Node | Arrow)[] {
    this.advance();
    const found: (Node | Arrow)[] = [];
    while (!this.at(")")) {
      if (this.at("...")) throw this.error("`...` cannot be used in a call", "Pass the list itself.");
      found.push(this.argument(called, signature, found.length));
      if (!this.at(")")) this.expect(",");
    }
    this.advance();
    const count = found.length;
    if (count < signature.least || count > signature.most) {
      const message = `\`${called}\` does not take ${count} argument${count === 1 ? "" : "s"}`;
      throw new ExpressionError("bad_argument", message, position, `Write ${signature.usage}.`);
    }
    return found;
  }

  private argument(called: string, signature: Signature, number: number): Node | Arrow {
    const position = this.start;
    const head = matched(PARAMETERS, this.source, position) ?? matched(ONE_PARAMETER, this.source, position);
    const usage = `Write ${signature.usage}.`;
    if (head !== null) {
      const names = [...head.matchAll(NAMES)].map((found): [string, number] => [
        found[0],
        position + found.index,
      ]);
      if (signature.arrow !== number || names.length > (signature.parameters ?? 0)) {
        throw new ExpressionError(
          "bad_argument",
          `\`${called}\` does not take this function`,
          position,
          usage,
        );
      }
      return this.arrow(names, position + head.length, position);
    }
    const value = this.expression();
    if (signature.arrow === number) {
      throw new ExpressionError(
        "bad_argument",
        `\`${called}\` needs an arrow function here`,
        position,
        usage,
      );
    }
    return value;
  }

  private arrow(names: readonly [string, number][], end: number, position: number): Arrow {
    const scope = new Map<string, number>();
    for (const [name, at] of names) {
      checkName(name, at);
      if (scope.has(name)) {
        throw new ExpressionError(
          "syntax",
          `\`${name}\` is a parameter twice`,
          at,
          "Give each its own name.",
        );
      }
      scope.set(name, this.slots);
      this.references.push({
        name,
        position: at,
        slot: this.slots,
        short: false,
        inside: [],
        declares: true,
      });
      this.slots += 1;
    }
    this.end = end;
    this.advance();
    if (this.at("{")) throw this.unexpected();
    this.parameters.push(scope);
    const body = this.expression();
    this.parameters.pop();
    return { type: "arrow", slots: [...scope.values()], body, position };
  }

  private array(): Node {
    const position = this.start;
    const items: (Node | Spread)[] = [];
    this.advance();
    while (!this.at("]")) {
      items.push(this.at("...") ? this.spread() : this.expression());
      if (!this.at("]")) this.expect(",");
    }
    this.advance();
    return { type: "array", items, position };
  }

  private spread(): Spread {
    const position = this.start;
    this.advance();
    return { type: "spread", value: this.expression(), position };
  }

  private object(): Node {
    const position = this.start;
    const entries: (Entry | Spread)[] = [];
    this.advance();
    while (!this.at("}")) {
      entries.push(this.at("...") ? this.spread() : this.entry());
      if (!this.at("}")) this.expect(",");
    }
    this.advance();
    return { type: "object", entries, position };
  }

  private entry(): Entry {
    const position = this.start;
    let key: Node;
    if (this.at("[")) {
      this.advance();
      key = this.expression();
      this.expect("]");
      if (key.type === "literal" && typeof key.value === "string") forbid(key.value, key.position);
    } else if (this.kind === "name") {
      const name = this.text;
      forbid(name, position);
      this.advance();
      key = literal(name, position);
      if (this.at(",") || this.at("}")) {
        checkName(name, position);
        return {
          type: "entry",
          key,
          value: { type: "name", name, position, slot: this.refer(name, position, true) },
        };
      }
    } else if (this.kind === "string") {
      forbid(String(this.value), position);
      key = literal(String(this.value), position);
      this.advance();
    } else {
      throw this.error("a key is expected here", "Write {name: value} or {'any key': value}.");
    }
    this.expect(":");
    return { type: "entry", key, value: this.expression() };
  }

  private template(): Node {
    const position = this.start;
    const parts: Node[] = [];
    let at = position + 1;
    let text = "";
    this.deeper();
    for (;;) {
      let character = this.source.charAt(at);
      if (character === "") throw this.error("this template is not closed", "Add ` at its end.");
      at += 1;
      if (character === "`") break;
      if (character === "\\") [character, at] = this.escape(at);
      else if (character === "\r") {
        character = "\n";
        if (this.source.charAt(at) === "\n") at += 1;
      } else if (character === "$" && this.source.charAt(at) === "{") {
        if (text) parts.push(literal(this.wholeText(text), position));
        text = "";
        this.end = at + 1;
        this.advance();
        parts.push(this.expression());
        if (!this.at("}")) throw this.unexpected();
        at = this.end;
        continue;
      }
      text += character;
    }
    if (text) parts.push(literal(this.wholeText(text), position));
    this.nesting -= 1;
    this.end = at;
    this.advance();
    return { type: "template", parts, position };
  }
}

const CONSTANTS: ReadonlyMap<string, null | boolean> = new Map<string, null | boolean>([
  ["null", null],
  ["true", true],
  ["false", false],
]);

function literal(value: string, position: number): Literal {
  return { type: "literal", value, position };
}

function unknownFunction(name: string, position: number): ExpressionError {
  const method = METHODS.get(name);
  const hint = method ? `\`${name}\` is a method: write ${method.usage}.` : suggest(name, FUNCTIONS);
  return new ExpressionError("unknown_function", `there is no function \`${name}\``, position, hint);
}

function unknownMethod(name: string, position: number): ExpressionError {
  const known = FUNCTIONS.get(name);
  const hint = known ? `\`${name}\` is a function: write ${known.usage}.` : suggest(name, METHODS);
  return new ExpressionError("unknown_method", `there is no method \`${name}\``, position, hint);
}

function visible(text: string): string {
  return text.replace(
    INVISIBLE,
    (found) => `\\u${(found.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
  );
}

function suggest(name: string, known: ReadonlyMap<string, Signature>): string {
  const instead = INSTEAD.get(name);
  if (instead !== undefined) return `${instead}.`;
  const near = closest(name, known.keys());
  return near === null ? `There are ${[...known.keys()].sort().join(", ")}.` : `Did you mean \`${near}\`?`;
}
