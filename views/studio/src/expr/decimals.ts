/** Rounding and writing numbers by their decimal digits, halves away from zero: round(1.005, 2) is 1.01. */

import { number } from "./values";

export const MAX_PLACES = 20;
const PATTERN = /^([^#0.,%]*)([#,]*0*)(?:\.(0*)(#*))?(%?)([^#0.,%]*)$/;
const NUMBER = /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/;

/** Write `value * 10**shift` with exactly that many decimals. */
export function fixed(value: number, places: number, shift = 0): string {
  const { sign, digits, point } = decimalDigits(value);
  const keep = point + shift + places;
  const head = digits.slice(0, Math.max(keep, 0)).padEnd(Math.max(keep, 0), "0");
  const up = keep >= 0 && keep < digits.length && digits.charAt(keep) >= "5";
  const units = (BigInt(head || "0") + (up ? 1n : 0n)).toString().padStart(places + 1, "0");
  const text = places ? `${units.slice(0, -places)}.${units.slice(-places)}` : units;
  return /[1-9]/.test(units) ? sign + text : text;
}

export function rounded(value: number, places: number): number | null {
  return number(Number(fixed(value, places)));
}

/** Read decimal text, with spaces around it allowed; anything else gives null. */
export function readNumber(text: string): number | null {
  const trimmed = text.trim();
  return NUMBER.test(trimmed) ? number(Number(trimmed)) : null;
}

/** Write a number by a pattern such as `#,##0.00`, `0.0%` or `$#,##0`; null where the pattern is none. */
export function formatted(value: number, pattern: string): string | null {
  const found = PATTERN.exec(pattern);
  if (!found) return null;
  const [before = "", whole = "", zeros = "", marks = "", percent = "", after = ""] = found.slice(1);
  const places = zeros.length + marks.length;
  if (!(whole + zeros + marks) || places > MAX_PLACES) return null;
  const text = fixed(value, places, percent ? 2 : 0);
  const sign = text.startsWith("-") ? "-" : "";
  let [units = "", fraction = ""] = text.slice(sign.length).split(".");
  units = units.padStart(whole.split("0").length - 1, "0");
  if (whole.includes(",")) units = units.replace(/(?<=[0-9])(?=(?:[0-9]{3})+$)/g, ",");
  while (marks && fraction.endsWith("0") && fraction.length > zeros.length) fraction = fraction.slice(0, -1);
  return `${sign}${before}${units}${fraction ? "." : ""}${fraction}${percent}${after}`;
}

/** The sign, the shortest digits that read back as this number, and where the point stands: 12.5 is 125, 2. */
function decimalDigits(value: number): { sign: string; digits: string; point: number } {
  const text = String(value + 0);
  const sign = text.startsWith("-") ? "-" : "";
  const [mantissa = "", exponent = "0"] = text.slice(sign.length).split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  const all = whole + fraction;
  const digits = all.replace(/^0+/, "");
  const point = whole.length + Number(exponent) - (all.length - digits.length);
  const shortest = digits.replace(/0+$/, "");
  return { sign, digits: shortest || "0", point: shortest ? point : 1 };
}
