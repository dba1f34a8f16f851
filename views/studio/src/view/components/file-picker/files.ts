import type { FileValue } from "../../engine/actions";

export interface FileLimits {
  accept: readonly string[];
  maxBytes: number;
}

/** Why a file may not be taken, in words; null when it may. */
export function refusal(
  file: { name: string; type: string; size: number },
  limits: FileLimits,
): string | null {
  if (!isAccepted(file, limits.accept))
    return `${file.name} is not of an accepted type (${limits.accept.join(", ")}).`;
  if (file.size > limits.maxBytes) {
    return `${file.name} has ${bytes(file.size)}; at most ${bytes(limits.maxBytes)} can be sent.`;
  }
  return null;
}

function isAccepted(file: { name: string; type: string }, accept: readonly string[]): boolean {
  return accept.length === 0 || accept.some((pattern) => matches(file, pattern.trim().toLowerCase()));
}

function matches(file: { name: string; type: string }, pattern: string): boolean {
  if (pattern.startsWith(".")) return file.name.toLowerCase().endsWith(pattern);
  const type = file.type.toLowerCase();
  return pattern.endsWith("/*") ? type.startsWith(pattern.slice(0, -1)) : type === pattern;
}

export function bytes(count: number): string {
  if (count < 1000) return `${count} bytes`;
  const units = ["kB", "MB", "GB"];
  let value = count / 1000;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A file as queries take it: its content in base64. */
export function readFile(file: File): Promise<FileValue> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onerror = () => reject(new Error(`${file.name} could not be read.`));
    reader.onload = () => {
      const url = String(reader.result);
      const data = url.slice(url.indexOf(",") + 1);
      resolve({ name: file.name, type: file.type || "application/octet-stream", size: file.size, data });
    };
    reader.readAsDataURL(file);
  });
}

const SHOWN_AS_IMAGES = new Set([
  "image/png",
  "image/jpeg",
  "image/gif",
  "image/webp",
  "image/avif",
  "image/bmp",
]);

/** An address for an <img>, for types that browsers draw and that cannot hold script. */
export function imageUrl(file: { type: string; data: string }): string | null {
  return SHOWN_AS_IMAGES.has(file.type.toLowerCase())
    ? `data:${file.type.toLowerCase()};base64,${file.data}`
    : null;
}
