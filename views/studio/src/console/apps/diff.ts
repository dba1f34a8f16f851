/** A unified diff as lines to draw, without its file names: they stand above it. */

export interface DiffLine {
  kind: "add" | "remove" | "place" | "same";
  text: string;
}

export function diffLines(diff: string): DiffLine[] {
  if (diff === "") return [];
  const lines = diff.split("\n");
  const body = lines[0]?.startsWith("---") && lines[1]?.startsWith("+++") ? lines.slice(2) : lines;
  return body.map((text) => ({ kind: kindOf(text), text }));
}

function kindOf(line: string): DiffLine["kind"] {
  if (line.startsWith("@@")) return "place";
  if (line.startsWith("+")) return "add";
  if (line.startsWith("-")) return "remove";
  return "same";
}
