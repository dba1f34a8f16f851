import { describe, expect, test } from "vitest";
import { BindingErrors, bind, ExpressionError, isExpression, literal, parse } from "./index";

function errorOf(run: () => unknown): ExpressionError {
  try {
    run();
  } catch (error) {
    if (error instanceof ExpressionError) return error;
  }
  throw new Error("there was no ExpressionError");
}

describe("errors", () => {
  test.each([
    ["lenn(x)", "column 1: there is no function `lenn`. Did you mean `len`?"],
    ["a.b.trimm()", "column 5: there is no method `trimm`. Did you mean `trim`?"],
    ["a = 1", "column 3: `=` is not part of the language. To compare, write ==."],
    ["a +", "column 4: the expression ends too early. Something is missing at its end."],
    ["'😀' + ?", "column 7: `?` is not expected here."],
    ["1 + 2 - 'x'", "column 7: `-` cannot work on text. Use num() to read a number from text."],
    ["'😀' + 'a'.repeat(-1)", "column 11: `.repeat` needs a count of 0 or more."],
  ])("%s names the column and what would work", (source, text) => {
    expect(errorOf(() => parse(source).evaluate({})).toString()).toBe(text);
  });
});

describe("rename", () => {
  test.each([
    ["a + b.a + a.b", "c + b.a + c.b"],
    ["{ a, b }.a", "{ a: c, b }.a"],
    ["xs.map(a => a + b)", "xs.map(a => a + b)"],
    ["xs.map(c => ({c, a}))", "xs.map(c2 => ({c: c2, a: c}))"],
    ["xs.map((c, i) => xs.map(c2 => c + c2 + a))", "xs.map((c3, i) => xs.map(c2 => c3 + c2 + c))"],
    ["`a ${a} \\${a}` + '😀' + a", "`a ${c} \\${a}` + '😀' + c"],
  ])("%s", (source, renamed) => {
    expect(parse(source).rename("a", "c")).toBe(renamed);
  });

  test("refuses what is not a name", () => {
    for (const name of ["", "1a", "a b", "null", "constructor", "größe"]) {
      expect(errorOf(() => parse("a").rename("a", name)).code).toBe("bad_name");
    }
  });
});

describe("host objects", () => {
  test("only own properties are read", () => {
    class Host {
      readonly mine = 1;
      get secret() {
        return "s";
      }
    }
    const scope = { host: new Host(), date: new Date(0), text: "x", list: [1], make: () => 1 };
    expect(parse("host.secret").evaluate(scope)).toBeNull();
    expect(parse("[date.getTime, text.trim, list.map, make.call]").evaluate(scope)).toEqual([
      null,
      null,
      null,
      null,
    ]);
    expect(parse("toString").evaluate(scope)).toBeNull();
  });

  test("they are refused where they are worked on", () => {
    const scope = { host: new Map(), make: () => 1, big: 1n, symbol: Symbol("s") };
    for (const source of ["host + 1", "make == 1", "text(big)", "symbol.trim()", "json([make])"]) {
      expect(errorOf(() => parse(source).evaluate(scope)).code).toBe("bad_value");
    }
  });

  test("what JSON cannot hold is read as null", () => {
    const scope = { x: Number.NaN, o: { x: Number.POSITIVE_INFINITY, u: undefined }, xs: [Number.NaN] };
    expect(parse("[x, o.x, o.u, xs[0], x + 1, o['x'] == null]").evaluate(scope)).toEqual([
      null,
      null,
      null,
      null,
      null,
      true,
    ]);
  });

  test("nothing reaches a prototype", () => {
    const input: unknown = JSON.parse('{"__proto__": {"polluted": true}}');
    expect(errorOf(() => parse("{...input}").evaluate({ input })).code).toBe("forbidden_name");
    expect(parse("xs.map(x => x)").evaluate({ xs: [input] })).toHaveLength(1);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

describe("bind", () => {
  test("computes every expression and keeps the rest", () => {
    const binding = bind({
      text: "=input.text",
      all: ["=a.b", { deep: "=input.n + 1" }],
      plain: "\\=x",
      n: 1,
    });
    expect(binding.evaluate({ input: { text: "hi", n: 1 } })).toEqual({
      text: "hi",
      all: [null, { deep: 2 }],
      plain: "=x",
      n: 1,
    });
    expect(binding.dependencies).toEqual([
      ["a", "b"],
      ["input", "n"],
      ["input", "text"],
    ]);
    expect([...binding.names].sort()).toEqual(["a", "input"]);
    expect(binding.isConstant).toBe(false);
    expect(bind(["=1 + 1", "x"]).isConstant).toBe(true);
  });

  test("reports everything that does not parse, with its path", () => {
    const problems = () => {
      try {
        bind({ a: ["=1 +", { b: "=lenn(x)" }] });
      } catch (error) {
        if (error instanceof BindingErrors) return error.problems.map(({ path, code }) => [path, code]);
      }
      return null;
    };
    expect(problems()).toEqual([
      ["a[0]", "syntax"],
      ["a[1].b", "unknown_function"],
    ]);
  });

  test("reports everything that does not evaluate, with its path", () => {
    expect(() => bind({ a: "=1 - b", c: { d: "=[b] * 2" } }).evaluate({ b: "x" })).toThrow(
      /a \(column 3\): `-` cannot work on text.*\n {2}c\.d \(column 5\): `\*` cannot work on a list/,
    );
  });

  test("a __proto__ key of a document is only a key", () => {
    const value = bind(JSON.parse('{"__proto__": "=1"}')).evaluate({});
    expect(Object.keys(value as object)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });
});

test("isExpression and literal", () => {
  expect(["=a", "=", "a", "\\=a", null, 1].map(isExpression)).toEqual([
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
  expect(["\\=a", "a", "\\", "\\\\=a"].map(literal)).toEqual(["=a", "a", "\\", "\\\\=a"]);
});

test("fuel can be lowered", () => {
  const expression = parse("range(100).map(x => x + 1).length");
  expect(expression.evaluate({})).toBe(100);
  expect(errorOf(() => expression.evaluate({}, { fuel: 100 })).code).toBe("fuel");
});
