/** Which functions and methods exist, and what may be passed to them. Checked when an expression is parsed. */

export interface Signature {
  readonly least: number;
  readonly most: number;
  readonly usage: string;
  /** Which argument (if any) is an arrow function, and with how many parameters at most. */
  readonly arrow?: number;
  readonly parameters?: number;
}

const MANY = 16;

export const METHODS: ReadonlyMap<string, Signature> = new Map(
  Object.entries({
    // text
    trim: { least: 0, most: 0, usage: "text.trim()" },
    toUpperCase: { least: 0, most: 0, usage: "text.toUpperCase()" },
    toLowerCase: { least: 0, most: 0, usage: "text.toLowerCase()" },
    startsWith: { least: 1, most: 1, usage: "text.startsWith(prefix)" },
    endsWith: { least: 1, most: 1, usage: "text.endsWith(suffix)" },
    split: { least: 1, most: 1, usage: "text.split(separator)" },
    replace: { least: 2, most: 2, usage: "text.replace(old, new)" },
    replaceAll: { least: 2, most: 2, usage: "text.replaceAll(old, new)" },
    padStart: { least: 1, most: 2, usage: "text.padStart(length, fill)" },
    padEnd: { least: 1, most: 2, usage: "text.padEnd(length, fill)" },
    charAt: { least: 1, most: 1, usage: "text.charAt(index)" },
    repeat: { least: 1, most: 1, usage: "text.repeat(count)" },
    // text and array
    includes: { least: 1, most: 1, usage: "text.includes(part) or list.includes(item)" },
    indexOf: { least: 1, most: 1, usage: "text.indexOf(part) or list.indexOf(item)" },
    slice: { least: 0, most: 2, usage: "text.slice(start, end) or list.slice(start, end)" },
    at: { least: 1, most: 1, usage: "text.at(index) or list.at(index)" },
    concat: { least: 0, most: MANY, usage: "text.concat(other, …) or list.concat(other, …)" },
    // array
    map: { least: 1, most: 1, usage: "list.map(item => …)", arrow: 0, parameters: 2 },
    filter: { least: 1, most: 1, usage: "list.filter(item => …)", arrow: 0, parameters: 2 },
    find: { least: 1, most: 1, usage: "list.find(item => …)", arrow: 0, parameters: 2 },
    findIndex: { least: 1, most: 1, usage: "list.findIndex(item => …)", arrow: 0, parameters: 2 },
    some: { least: 1, most: 1, usage: "list.some(item => …)", arrow: 0, parameters: 2 },
    every: { least: 1, most: 1, usage: "list.every(item => …)", arrow: 0, parameters: 2 },
    flatMap: { least: 1, most: 1, usage: "list.flatMap(item => …)", arrow: 0, parameters: 2 },
    reduce: { least: 1, most: 2, usage: "list.reduce((total, item) => …, first)", arrow: 0, parameters: 3 },
    sort: {
      least: 0,
      most: 1,
      usage: "list.sort(), list.sort(item => key) or list.sort((a, b) => …)",
      arrow: 0,
      parameters: 2,
    },
    reverse: { least: 0, most: 0, usage: "list.reverse()" },
    join: { least: 0, most: 1, usage: "list.join(separator)" },
    flat: { least: 0, most: 1, usage: "list.flat(depth)" },
    // number
    toFixed: { least: 0, most: 1, usage: "number.toFixed(digits)" },
    toString: { least: 0, most: 0, usage: "value.toString()" },
    // date
    year: { least: 0, most: 0, usage: "date(x).year()" },
    month: { least: 0, most: 0, usage: "date(x).month()" },
    day: { least: 0, most: 0, usage: "date(x).day()" },
    hour: { least: 0, most: 0, usage: "date(x).hour()" },
    minute: { least: 0, most: 0, usage: "date(x).minute()" },
    second: { least: 0, most: 0, usage: "date(x).second()" },
    weekday: { least: 0, most: 0, usage: "date(x).weekday()" },
    iso: { least: 0, most: 0, usage: "date(x).iso()" },
    add: { least: 2, most: 2, usage: "date(x).add(3, 'days')" },
    diff: { least: 2, most: 2, usage: "date(x).diff(date(y), 'hours')" },
    startOf: { least: 1, most: 1, usage: "date(x).startOf('month')" },
  }),
);

export const FUNCTIONS: ReadonlyMap<string, Signature> = new Map(
  Object.entries({
    len: { least: 1, most: 1, usage: "len(list)" },
    sum: { least: 1, most: 1, usage: "sum(list)" },
    min: { least: 1, most: MANY, usage: "min(list) or min(a, b, …)" },
    max: { least: 1, most: MANY, usage: "max(list) or max(a, b, …)" },
    round: { least: 1, most: 2, usage: "round(number, digits)" },
    floor: { least: 1, most: 1, usage: "floor(number)" },
    ceil: { least: 1, most: 1, usage: "ceil(number)" },
    abs: { least: 1, most: 1, usage: "abs(number)" },
    num: { least: 1, most: 1, usage: "num(text)" },
    text: { least: 1, most: 1, usage: "text(value)" },
    date: { least: 1, most: 1, usage: "date(text)" },
    fmt: { least: 2, most: 2, usage: "fmt(number, '#,##0.00') or fmt(date, 'YYYY-MM-DD')" },
    json: { least: 1, most: 1, usage: "json(value)" },
    keys: { least: 1, most: 1, usage: "keys(object)" },
    values: { least: 1, most: 1, usage: "values(object)" },
    groupBy: { least: 2, most: 2, usage: "groupBy(list, item => key)", arrow: 1, parameters: 2 },
    unique: {
      least: 1,
      most: 2,
      usage: "unique(list) or unique(list, item => key)",
      arrow: 1,
      parameters: 2,
    },
    range: { least: 1, most: 3, usage: "range(end), range(start, end) or range(start, end, step)" },
    has: { least: 2, most: 2, usage: "has(object, key)" },
  }),
);

export const INSTEAD: ReadonlyMap<string, string> = new Map(
  Object.entries({
    length: "Write x.length or len(x)",
    size: "Write len(x)",
    substring: "Use slice",
    substr: "Use slice",
    push: "Lists do not change; write [...list, item]",
    forEach: "Use map",
    has: "Write has(object, key)",
    toISOString: "Use iso",
    getFullYear: "Use year",
    trimStart: "Use trim",
    trimEnd: "Use trim",
    match: "There are no regular expressions; use includes, startsWith or split",
    parseInt: "Use num",
    parseFloat: "Use num",
    Number: "Use num",
    String: "Use text",
    Date: "Use date",
    isNaN: "num(x) gives null where x is not a number; write num(x) == null",
    str: "Use text",
    int: "Use num",
    float: "Use num",
  }),
);
