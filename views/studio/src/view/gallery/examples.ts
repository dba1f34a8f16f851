import type { Json, NodeSpec } from "../engine/document";

/** The states of every component: what the gallery shows, and what its test draws one by one. */
export interface Example {
  title: string;
  nodes: Record<string, NodeSpec>;
}

const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const LONG = "A-very-long-word-without-a-single-place-to-break-as-models-and-people-sometimes-write-them";
const FLOWERS: Json = Array.from({ length: 37 }, (_, index) => ({
  id: index + 1,
  species: ["setosa", "versicolor", "virginica"][index % 3] ?? "",
  length: Math.round((1 + ((index * 7) % 60) / 10) * 10) / 10,
  width: index === 3 ? null : Math.round((0.1 + ((index * 5) % 24) / 10) * 10) / 10,
}));

function one(
  title: string,
  type: string,
  props: NodeSpec["props"] = {},
  more: Partial<NodeSpec> = {},
): Example {
  return { title, nodes: { it: { type, at: ["page", "body", "a0"], props, ...more } } };
}

function inside(
  title: string,
  outer: NodeSpec["props"],
  type: string,
  children: Record<string, NodeSpec>,
): Example {
  const placed = Object.entries(children).map(([name, node], index): [string, NodeSpec] => [
    name,
    { ...node, at: ["it", node.at?.[1] ?? "body", `a${index}`] },
  ]);
  return {
    title,
    nodes: { it: { type, at: ["page", "body", "a0"], props: outer }, ...Object.fromEntries(placed) },
  };
}

const text = (value: string): NodeSpec => ({ type: "markdown", props: { text: value } });
const number = (label: string, value: number): NodeSpec => ({ type: "statistic", props: { label, value } });

export const EXAMPLES: Record<string, Example[]> = {
  page: [
    {
      title: "Narrow, without a heading",
      nodes: { page: { type: "page", props: { width: "narrow", heading: false } } },
    },
  ],
  stack: [inside("Two parts", { gap: "sm" }, "stack", { a: text("First"), b: text("Second") })],
  row: [
    inside("Equal shares", {}, "row", {
      a: number("Models", 3),
      b: number("Runs", 128),
      c: number("Errors", 0),
    }),
    inside("A third and two", {}, "row", {
      a: { ...text("A third"), span: { base: 12, sm: 4 } },
      b: { ...text("Two thirds"), span: { base: 12, sm: 8 } },
    }),
  ],
  card: [
    inside("With everything", { title: "Invoice", description: "From last week" }, "card", {
      a: text("What it is about."),
      b: { type: "button", at: ["it", "actions", "a0"], props: { label: "Open", kind: "secondary" } },
    }),
    inside("A long title", { title: LONG }, "card", { a: text(LONG) }),
  ],
  form: [
    inside("A small form", {}, "form", {
      name: { type: "text-input", props: { label: "Name", required: true } },
      send: { type: "button", props: { label: "Send", submits: true } },
    }),
    inside("Disabled", { disabled: true }, "form", {
      name: { type: "text-input", props: { label: "Name" } },
    }),
  ],
  modal: [
    {
      title: "Opened by a button",
      nodes: {
        it: { type: "modal", at: ["page", "body", "a1"], props: { title: "Details" } },
        inner: { type: "markdown", at: ["it", "body", "a0"], props: { text: "Escape closes it." } },
        go: {
          type: "button",
          at: ["page", "body", "a0"],
          props: { label: "Show details", kind: "secondary" },
          on: { click: [{ open: "it" }] },
        },
      },
    },
  ],
  divider: [one("Plain", "divider"), one("With a label", "divider", { label: "Details" })],
  "schema-form": [
    one("Every kind of field", "schema-form", {
      submit_label: "Predict",
      schema: {
        fields: [
          { name: "age", type: "int", minimum: 0, maximum: 120, default: 40 },
          { name: "income", type: "float", description: "In euro a month" },
          { name: "name", type: "str" },
          { name: "country", type: "str", choices: ["de", "fr", "it"], default: "fr" },
          { name: "member", type: "bool", default: true },
          { name: "consent", type: "bool", nullable: true },
          { name: "note", type: "str", multiline: true, nullable: true },
          { name: "extra", type: "json", nullable: true },
          { name: "photo", type: "image", nullable: true },
          { name: "data", type: "file", nullable: true },
        ],
      },
    }),
    one("One text", "schema-form", {
      schema: { fields: [{ name: "text", type: "str" }] },
      submit_label: "Classify",
    }),
    one("Busy", "schema-form", {
      schema: { fields: [{ name: "x", type: "float", default: 1 }] },
      submit_label: "Run",
      loading: true,
    }),
  ],
  "text-input": [
    one("Empty", "text-input", {
      label: "Name",
      description: "As in your passport",
      placeholder: "Ada Lovelace",
    }),
    one("Filled and required", "text-input", {
      label: "E-mail",
      type: "email",
      default: "ada@example.com",
      required: true,
    }),
    one("Disabled", "text-input", { label: "Name", default: "Ada", disabled: true }),
    one("Password", "text-input", { label: "Password", type: "password" }),
  ],
  textarea: [
    one("Empty", "textarea", { label: "Text" }),
    one("Filled", "textarea", { label: "Text", default: "One\nTwo", rows: 2 }),
  ],
  number: [
    one("With a unit", "number", { label: "Weight", unit: "kg", default: 12.5 }),
    one("Disabled", "number", { label: "Weight", disabled: true }),
  ],
  select: [
    one("Empty", "select", { label: "Species", options: ["setosa", "virginica"] }),
    one("Numbers with labels", "select", {
      label: "Grade",
      options: [
        { value: 1, label: "Good" },
        { value: 2, label: "Fair" },
      ],
      default: 2,
    }),
  ],
  slider: [
    one("From 0 to 1", "slider", { label: "Threshold", minimum: 0, maximum: 1, step: 0.05, default: 0.4 }),
  ],
  switch: [
    one("On", "switch", { label: "Include drafts", default: true }),
    one("Disabled", "switch", { label: "Include drafts", disabled: true }),
  ],
  "file-picker": [
    one("Empty", "file-picker", { label: "Photo", accept: ["image/*"] }),
    one("For tables", "file-picker", {
      label: "Table",
      accept: [".csv", ".xlsx"],
      max_mb: 5,
      required: true,
    }),
    one("Disabled", "file-picker", { label: "Photo", disabled: true }),
  ],
  button: [
    one("Primary", "button", { label: "Save" }),
    one("Secondary", "button", { label: "Cancel", kind: "secondary" }),
    one("Subtle", "button", { label: "More", kind: "subtle" }),
    one("Danger", "button", { label: "Delete", kind: "danger" }),
    one("Busy", "button", { label: "Save", loading: true }),
    one("Full width, disabled", "button", { label: "Save", full_width: true, disabled: true }),
  ],
  markdown: [
    one("A bit of everything", "markdown", {
      text: "## Title\n\nText with **weight**, `code` and [a link](https://example.com).\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |",
    }),
    one("Hostile", "markdown", { text: '<img src=x onerror="alert(1)"> [x](javascript:alert(1))' }),
  ],
  heading: [
    one("Second", "heading", { text: "Results" }),
    one("Fourth", "heading", { text: "Details", level: 4 }),
  ],
  alert: [
    one("Info", "alert", { text: "The model was retrained today." }),
    one("Success", "alert", { kind: "success", title: "Sent", text: "They will answer." }),
    one("Warning", "alert", { kind: "warning", title: "Old data", text: "The last import was a week ago." }),
    one("Error", "alert", { kind: "error", title: "No answer", text: LONG }),
  ],
  image: [
    one("A picture", "image", { source: PIXEL, alt: "One blue pixel", caption: "A pixel", max_height: 40 }),
    one("Nothing yet", "image", { alt: "The result" }),
  ],
  json: [
    one("An object", "json", {
      value: { label: "cat", scores: { cat: 0.9, dog: 0.1 }, tags: ["a", "b"], none: null },
      label: "Answer",
    }),
    one("Nothing yet", "json", { value: null }),
  ],
  table: [
    one("Many rows", "table", { rows: FLOWERS, label: "Flowers", select: "single", page_size: 5 }),
    one("Chosen columns", "table", {
      rows: FLOWERS,
      columns: ["species", { key: "length", title: "Length (cm)", digits: 2 }],
      page_size: 3,
      searchable: false,
    }),
    one("No rows", "table", { rows: [] }),
  ],
  chart: [
    one("Bars", "chart", {
      rows: [
        { month: "Jan", sold: 3 },
        { month: "Feb", sold: 5 },
      ],
      x: "month",
      y: "sold",
      title: "Sales",
    }),
    one("Lines by colour", "chart", { kind: "line", rows: FLOWERS, x: "id", y: "length", color: "species" }),
    one("Nothing", "chart", { rows: [] }),
  ],
  "class-scores": [
    one("Shares", "class-scores", {
      scores: { setosa: 0.02, versicolor: 0.87, virginica: 0.11 },
      label: "Species",
    }),
    one("More than fit", "class-scores", {
      scores: [0.4, 0.3, 0.2, 0.1],
      classes: ["a", "b", LONG, "d"],
      top: 3,
    }),
    one("Nothing yet", "class-scores", { scores: null }),
  ],
  statistic: [
    one("A number", "statistic", {
      label: "Price",
      value: 412_300.5,
      unit: "€",
      digits: 0,
      description: "For this flat",
    }),
    one("Nothing yet", "statistic", { label: "Price" }),
  ],
};
