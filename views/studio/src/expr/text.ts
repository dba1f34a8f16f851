/** Text as a sequence of code points, which is what the other half has. A lone surrogate is read as U+FFFD. */

const SURROGATE = /[\ud800-\udfff]/;
const LONE = /[\ud800-\udfff]/gu;

export function hasSurrogates(text: string): boolean {
  return SURROGATE.test(text);
}

export function wellFormed(text: string): string {
  return SURROGATE.test(text) ? text.replace(LONE, "\ufffd") : text;
}

export function countPoints(text: string): number {
  if (!SURROGATE.test(text)) return text.length;
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

export function slicePoints(text: string, start: number, end?: number): string {
  return SURROGATE.test(text) ? Array.from(text).slice(start, end).join("") : text.slice(start, end);
}

/** The character at an index that counts from 0; null outside. */
export function pointAt(text: string, index: number): string | null {
  if (SURROGATE.test(text)) return Array.from(text)[index] ?? null;
  return index < text.length ? text.charAt(index) : null;
}

export function indexOfPoints(text: string, part: string): number {
  const index = text.indexOf(part);
  return index <= 0 ? index : countPoints(text.slice(0, index));
}

/** Order by code point: UTF-16 order differs where surrogates meet U+E000 and above. */
export function comparePoints(a: string, b: string): number {
  if (a === b) return 0;
  if (!SURROGATE.test(a) && !SURROGATE.test(b)) return a < b ? -1 : 1;
  let i = 0;
  while (i < a.length && i < b.length) {
    const left = a.codePointAt(i) ?? 0;
    const right = b.codePointAt(i) ?? 0;
    if (left !== right) return left < right ? -1 : 1;
    i += left > 0xffff ? 2 : 1;
  }
  return Math.sign(a.length - b.length);
}
