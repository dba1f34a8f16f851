import { describe, expect, it } from "vitest";
import { diffLines } from "../apps/diff";
import { shareUrl, workletExample } from "../apps/share";
import { environmentName } from "../environments/name";
import { keyState } from "../keys/scopes";
import { nextAddress } from "../sign-in/next";
import { tokenize } from "./code-tokens";
import { buildTree, isReadable } from "./file-tree";
import { formatAgo, formatBytes, formatMilliseconds, formatNumber, plural } from "./format";
import { isName, nameFrom } from "./names";

describe("numbers and times as people read them", () => {
  it.each([
    [0, "0 B"],
    [1536, "1.5 KiB"],
    [148e6, "141 MiB"],
    [null, "–"],
  ])("%j bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it.each([
    [0.2, "<1 ms"],
    [3.21, "3.2 ms"],
    [412.4, "412 ms"],
    [1840, "1.84 s"],
    [75_000, "1 min 15 s"],
    [3_720_000, "1 h 2 min"],
  ])("%j ms are %s", (ms, text) => expect(formatMilliseconds(ms)).toBe(text));

  it.each([
    [431250.5, "431,250.5"],
    [0.1234567, "0.123457"],
    [1e-7, "1.0000e-7"],
  ])("%j reads %s", (value, text) => expect(formatNumber(value)).toBe(text));

  it.each([
    ["2026-01-01T00:00:00Z", "3 hours ago"],
    ["2026-01-01T02:59:58Z", "just now"],
    ["2026-01-08T03:00:00Z", "in 7 days"],
  ])("%s is %s", (at, text) => expect(formatAgo(at, Date.parse("2026-01-01T03:00:00Z"))).toBe(text));

  it("one thing, many things", () =>
    expect([plural(1, "file"), plural(1200, "file")]).toEqual(["1 file", "1,200 files"]));
});

describe("names", () => {
  it.each([
    ["Fraud team 2", "fraud-team-2"],
    ["  Équipe – Été ", "equipe-ete"],
    ["3rd party", "rd-party"],
  ])("%j becomes %s", (title, name) => {
    expect(nameFrom(title)).toBe(name);
    expect(isName(name)).toBe(true);
  });

  it("an environment is called by its Python and first packages", () => {
    expect(
      environmentName({
        python_version: "3.11",
        requirements: ["scikit-learn==1.5", "pandas>=2", "x[y]", "z"],
      }),
    ).toBe("Python 3.11 with scikit-learn, pandas, x and 1 more");
  });
});

describe("after signing in one goes to a page of the console, and nowhere else", () => {
  it.each([
    ["/w/default/models?q=a#b", "/w/default/models?q=a#b"],
    ["//evil.test", "/"],
    ["/\\evil.test", "/"],
    ["https://evil.test", "/"],
    ["/sign-in", "/"],
    [null, "/"],
  ])("%j leads to %s", (wanted, address) => expect(nextAddress(wanted)).toBe(address));
});

describe("files", () => {
  it("are a tree, folders first", () => {
    const tree = buildTree([
      { path: "config.yaml", size: 1 },
      { path: "model/model.py", size: 2 },
      { path: "model/__init__.py", size: 0 },
    ]);
    expect(tree.map(({ name, children }) => [name, children.map(({ name }) => name)])).toEqual([
      ["model", ["__init__.py", "model.py"]],
      ["config.yaml", []],
    ]);
  });

  it("that are large or not text are not opened", () => {
    expect(isReadable({ path: "a.py", size: 10 })).toBe(true);
    expect(isReadable({ path: "a.py", size: 10_000_000 })).toBe(false);
    expect(isReadable({ path: "data/model.skops", size: 10 })).toBe(false);
  });

  it("that changed are lines with a sign", () => {
    expect(diffLines("--- a\n+++ a\n@@ -1 +1 @@\n-old\n+new\n same").map(({ kind }) => kind)).toEqual([
      "place",
      "remove",
      "add",
      "same",
    ]);
    expect(diffLines("")).toEqual([]);
  });
});

describe("code", () => {
  it("is coloured without losing a letter", () => {
    const code = `curl 'it''s' -H "a" # note\n  -d '{"n": 1.5}'`;
    const tokens = tokenize(code, "shell");
    expect(tokens.map(({ text }) => text).join("")).toBe(code);
    expect(tokens.filter(({ kind }) => kind === "flag").map(({ text }) => text)).toEqual(["-H", "-d"]);
    expect(tokens.some(({ kind }) => kind === "comment")).toBe(true);
  });
});

describe("apps and keys", () => {
  it("a share link's key opens every view", () => {
    const url = "http://g/default/support/main#k=abc";
    expect(shareUrl({ access: "link", url }, "http://g/default/support/queue")).toBe(
      "http://g/default/support/queue#k=abc",
    );
    expect(shareUrl({ access: "public", url }, "http://g/default/support/queue")).toBe(
      "http://g/default/support/queue",
    );
  });

  it("a worklet's example has every input", () => {
    const port = { required: true, title: "", description: "", example: null };
    const input = [
      { ...port, name: "text", type: "str", example: "hello" },
      { ...port, name: "count", type: "int?" },
      { ...port, name: "files", type: "list[file]" },
    ];
    expect(workletExample({ input })).toEqual({ text: "hello", count: 0, files: [] });
  });

  it("a key is active until it ends or is revoked", () => {
    const now = Date.parse("2026-01-02T00:00:00Z");
    expect(keyState({ revoked_at: null, expires_at: null }, now)).toBe("active");
    expect(keyState({ revoked_at: null, expires_at: "2026-01-01T00:00:00Z" }, now)).toBe("expired");
    expect(keyState({ revoked_at: "2026-01-01T00:00:00Z", expires_at: null }, now)).toBe("revoked");
  });
});
