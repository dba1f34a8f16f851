/** Colours for short snippets. Not a parser: strings, comments, numbers and the usual words. */

export type TokenKind = "plain" | "string" | "comment" | "number" | "word" | "flag";

export interface Token {
  kind: TokenKind;
  text: string;
}

export type CodeLanguage = "shell" | "python" | "javascript" | "json" | "text";

const WORDS: Record<CodeLanguage, string[]> = {
  shell: ["curl", "pip", "tenfold", "export"],
  python: [
    "import",
    "from",
    "as",
    "def",
    "class",
    "return",
    "print",
    "True",
    "False",
    "None",
    "for",
    "in",
    "if",
    "with",
  ],
  javascript: [
    "const",
    "let",
    "await",
    "async",
    "return",
    "new",
    "throw",
    "if",
    "function",
    "true",
    "false",
    "null",
  ],
  json: ["true", "false", "null"],
  text: [],
};

export function tokenize(code: string, language: CodeLanguage): Token[] {
  if (language === "text") return [{ kind: "plain", text: code }];
  const pattern = patternFor(language);
  const tokens: Token[] = [];
  let end = 0;
  for (const match of code.matchAll(pattern)) {
    if (match.index > end) tokens.push({ kind: "plain", text: code.slice(end, match.index) });
    tokens.push({ kind: kindOf(match.groups ?? {}), text: match[0] });
    end = match.index + match[0].length;
  }
  if (end < code.length) tokens.push({ kind: "plain", text: code.slice(end) });
  return tokens;
}

function patternFor(language: CodeLanguage): RegExp {
  const comment =
    language === "javascript" ? "\\/\\/[^\\n]*" : language === "json" ? "(?!)" : "(?<=^|\\s)#[^\\n]*";
  const flag = language === "shell" ? "(?<=\\s)--?[A-Za-z][\\w-]*" : "(?!)";
  return new RegExp(
    `(?<string>"(?:[^"\\\\\\n]|\\\\.)*"|'(?:[^'\\\\]|\\\\.)*'|\`[^\`]*\`)|(?<comment>${comment})|(?<flag>${flag})` +
      `|(?<number>\\b\\d[\\d_.]*(?:e[+-]?\\d+)?\\b)|(?<word>\\b(?:${WORDS[language].join("|")})\\b)`,
    "gm",
  );
}

function kindOf(groups: Record<string, string | undefined>): TokenKind {
  for (const kind of ["string", "comment", "flag", "number", "word"] as const) {
    if (groups[kind] !== undefined) return kind;
  }
  return "plain";
}
