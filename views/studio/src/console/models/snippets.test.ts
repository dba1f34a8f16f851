import { describe, expect, it } from "vitest";
import { deployExample, pythonLiteral, snippet } from "./snippets";

const call = {
  url: "https://x.test/v1/default/models/iris/predict",
  body: { inputs: [{ name: "O'Hara", ok: true, gone: null }] },
};

describe("call it from", () => {
  it("curl, with quotes that survive a shell", () => {
    expect(snippet("curl", call, "tf_a_b")).toBe(
      [
        "curl 'https://x.test/v1/default/models/iris/predict' \\",
        "  -H 'Authorization: Bearer tf_a_b' \\",
        "  -H 'Content-Type: application/json' \\",
        `  -d '{"inputs":[{"name":"O'\\''Hara","ok":true,"gone":null}]}'`,
      ].join("\n"),
    );
  });

  it("Python, with Python's own True and None", () => {
    const code = snippet("python", call);
    expect(code).toContain('json={"inputs": [{"name": "O\'Hara", "ok": True, "gone": None}]},');
    expect(code).toContain('"Authorization": "Bearer YOUR_KEY"');
  });

  it("JavaScript that parses", () => {
    const code = snippet("javascript", call);
    const Check = Object.getPrototypeOf(async () => {}).constructor as new (code: string) => unknown;
    expect(() => new Check(code)).not.toThrow();
  });
});

it("long Python values take a line each", () => {
  const row = { sepal_length_in_centimetres: 5.1, sepal_width_in_centimetres: 3.5, note: "text" };
  expect(pythonLiteral({ inputs: [row] })).toBe(
    [
      "{",
      '    "inputs": [',
      "        {",
      '            "sepal_length_in_centimetres": 5.1,',
      '            "sepal_width_in_centimetres": 3.5,',
      '            "note": "text",',
      "        },",
      "    ],",
      "}",
    ].join("\n"),
  );
});

it("the first deploy is three lines", () => {
  expect(deployExample("http://localhost:7070", "tf_a_b").split("\n")).toEqual([
    "import tenfold",
    'client = tenfold.connect("http://localhost:7070", key="tf_a_b")',
    'churn = client.deploy(clf, "churn", example=X.iloc[:3])',
  ]);
});
