/** Dates: a moment in UTC with millisecond precision, years 1 to 9999. Calendar arithmetic in whole numbers only. */

const ISO =
  /^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))?)?$/;
const MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;
const MONTH_NAMES = [
  "Jan",
  "Feb",
  "Mar",
  "Apr",
  "May",
  "Jun",
  "Jul",
  "Aug",
  "Sep",
  "Oct",
  "Nov",
  "Dec",
] as const;
const TOKEN = /YYYY|MMM|MM|DD|HH|mm|ss|SSS/g;
const DAY = 86_400_000;

export const UNITS: ReadonlyMap<string, number> = new Map([
  ["milliseconds", 1],
  ["seconds", 1_000],
  ["minutes", 60_000],
  ["hours", 3_600_000],
  ["days", DAY],
  ["weeks", 7 * DAY],
]);
export const CALENDAR_UNITS: ReadonlyMap<string, number> = new Map([
  ["months", 1],
  ["years", 12],
]);
export const STARTS: readonly string[] = ["minute", "hour", "day", "week", "month", "year"];

export interface Fields {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly millisecond: number;
}

/** A moment. Its time is private to the class, so that no expression can read it as a key. */
export class Moment {
  readonly #milliseconds: number;

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  get milliseconds(): number {
    return this.#milliseconds;
  }

  get fields(): Fields {
    const days = Math.floor(this.#milliseconds / DAY);
    const rest = this.#milliseconds - days * DAY;
    return {
      ...civil(days),
      hour: Math.floor(rest / 3_600_000),
      minute: Math.floor(rest / 60_000) % 60,
      second: Math.floor(rest / 1000) % 60,
      millisecond: rest % 1000,
    };
  }

  iso(): string {
    const { millisecond } = this.fields;
    const fraction = millisecond ? `.${padded(millisecond, 3)}` : "";
    return `${this.format("YYYY-MM-DDTHH:mm:ss")}${fraction}Z`;
  }

  /** Monday is 1, Sunday is 7. */
  weekday(): number {
    return modulo(Math.floor(this.#milliseconds / DAY) + 3, 7) + 1;
  }

  add(count: number, unit: string): Moment | null {
    const length = UNITS.get(unit);
    if (length !== undefined) return makeMoment(this.#milliseconds + Math.trunc(count * length));
    const fields = this.fields;
    const months = fields.year * 12 + fields.month - 1 + Math.trunc(count) * (CALENDAR_UNITS.get(unit) ?? 0);
    const year = Math.floor(months / 12);
    if (!(year >= 1 && year <= 9999)) return null;
    const month = modulo(months, 12) + 1;
    const start = daysSinceEpoch(year, month, Math.min(fields.day, monthLength(year, month)));
    return makeMoment(start * DAY + modulo(this.#milliseconds, DAY));
  }

  startOf(unit: string): Moment {
    const { year, month } = this.fields;
    if (unit === "year") return new Moment(daysSinceEpoch(year, 1, 1) * DAY);
    if (unit === "month") return new Moment(daysSinceEpoch(year, month, 1) * DAY);
    const days = Math.floor(this.#milliseconds / DAY);
    if (unit === "week") return new Moment(Math.max(days - this.weekday() + 1, FIRST / DAY) * DAY);
    const length = unit === "day" ? DAY : unit === "hour" ? 3_600_000 : 60_000;
    return new Moment(Math.floor(this.#milliseconds / length) * length);
  }

  format(pattern: string): string {
    const { year, month, day, hour, minute, second, millisecond } = this.fields;
    const written: Readonly<Record<string, string>> = {
      YYYY: padded(year, 4),
      MMM: MONTH_NAMES[month - 1] ?? "",
      MM: padded(month, 2),
      DD: padded(day, 2),
      HH: padded(hour, 2),
      mm: padded(minute, 2),
      ss: padded(second, 2),
      SSS: padded(millisecond, 3),
    };
    return pattern.replace(TOKEN, (token) => written[token] ?? "");
  }
}

export function makeMoment(milliseconds: number): Moment | null {
  return milliseconds >= FIRST && milliseconds <= LAST ? new Moment(milliseconds + 0) : null;
}

/** Read ISO 8601 text; without a zone it is UTC. What is no such date gives null. */
export function readMoment(text: string): Moment | null {
  const found = ISO.exec(text);
  if (!found) return null;
  const part = (index: number) => Number(found[index] ?? 0);
  const [year, month, day, hour, minute, second] = [part(1), part(2), part(3), part(4), part(5), part(6)];
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > monthLength(year, month)) return null;
  if (hour > 23 || minute > 59 || second > 59) return null;
  const millisecond = Number(`${found[7] ?? ""}000`.slice(0, 3));
  if (part(10) > 23 || part(11) > 59) return null;
  const zone = (part(10) * 60 + part(11)) * (found[9] === "-" ? -1 : 1);
  const minutes = hour * 60 + minute - zone;
  return makeMoment(daysSinceEpoch(year, month, day) * DAY + minutes * 60_000 + second * 1000 + millisecond);
}

function padded(value: number, length: number): string {
  return String(value).padStart(length, "0");
}

function modulo(value: number, by: number): number {
  return value - Math.floor(value / by) * by;
}

function monthLength(year: number, month: number): number {
  const leap = month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return (MONTH_DAYS[month - 1] ?? 0) + (leap ? 1 : 0);
}

/** Days since 1970-01-01; years begin in March, so that a leap day is the last one of its year. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const shifted = year - (month <= 2 ? 1 : 0);
  const era = Math.floor(shifted / 400);
  const ofEra = shifted - era * 400;
  const ofYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  return era * 146_097 + ofEra * 365 + Math.floor(ofEra / 4) - Math.floor(ofEra / 100) + ofYear - 719_468;
}

function civil(days: number): { year: number; month: number; day: number } {
  const era = Math.floor((days + 719_468) / 146_097);
  const ofEra = days + 719_468 - era * 146_097;
  const year = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * year + Math.floor(year / 4) - Math.floor(year / 100));
  const shifted = Math.floor((5 * ofYear + 2) / 153);
  const month = ((shifted + 2) % 12) + 1;
  return {
    year: year + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: ofYear - Math.floor((153 * shifted + 2) / 5) + 1,
  };
}

const FIRST = daysSinceEpoch(1, 1, 1) * DAY;
const LAST = daysSinceEpoch(10_000, 1, 1) * DAY - 1;
