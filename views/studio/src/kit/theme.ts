import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from "@mantine/core";

const iris: MantineColorsTuple = [
  "#eef1ff",
  "#dde3fe",
  "#bac5fb",
  "#94a5f8",
  "#7389f4",
  "#5c74ee",
  "#4a60e0",
  "#3c4fc6",
  "#3142a5",
  "#273584",
];

const slate: MantineColorsTuple = [
  "#f7f8fa",
  "#eef0f4",
  "#e2e5eb",
  "#cfd4dd",
  "#c3cad4",
  "#7d8797",
  "#5b6575",
  "#434c5a",
  "#2b323d",
  "#171c24",
];

const night: MantineColorsTuple = [
  "#d5d9e2",
  "#b4bac7",
  "#939bab",
  "#6f788a",
  "#454d5e",
  "#333a49",
  "#242a36",
  "#1a1f29",
  "#13171f",
  "#0d1016",
];

const teal: MantineColorsTuple = [
  "#e6faf6",
  "#cbf1e9",
  "#9be2d4",
  "#66d2bd",
  "#3cc3a9",
  "#1fae94",
  "#12937d",
  "#0d7767",
  "#0b5f53",
  "#094d44",
];

export const fontFamily =
  '"Inter Variable", ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
export const monospace =
  'ui-monospace, SFMono-Regular, "SF Mono", Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace';

/** The one theme of the console and of published views. Colours are named by role in tokens.css. */
export const theme = createTheme({
  primaryColor: "iris",
  primaryShade: { light: 6, dark: 5 },
  colors: { iris, gray: slate, dark: night, teal },
  fontFamily,
  fontFamilyMonospace: monospace,
  headings: {
    fontFamily,
    fontWeight: "650",
    sizes: {
      h1: { fontSize: "1.75rem", lineHeight: "1.25" },
      h2: { fontSize: "1.375rem", lineHeight: "1.3" },
      h3: { fontSize: "1.125rem", lineHeight: "1.4" },
      h4: { fontSize: "1rem", lineHeight: "1.45" },
    },
  },
  defaultRadius: "md",
  radius: { xs: "4px", sm: "6px", md: "8px", lg: "12px", xl: "20px" },
  cursorType: "pointer",
  autoContrast: true,
  luminanceThreshold: 0.4,
  respectReducedMotion: true,
  focusRing: "auto",
  components: {
    Modal: { defaultProps: { centered: true, lockScroll: false }, styles: { title: { fontWeight: 620 } } },
    Drawer: { defaultProps: { lockScroll: false } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 300 } },
    Skeleton: { defaultProps: { radius: "sm" } },
  },
});

/** Mantine's own variables where the page's roles (tokens.css) say otherwise. */
export const cssVariablesResolver: CSSVariablesResolver = () => ({
  variables: {
    "--mantine-color-body": "var(--tf-surface)",
    "--mantine-color-text": "var(--tf-text)",
    "--mantine-color-dimmed": "var(--tf-text-muted)",
    "--mantine-color-error": "var(--tf-bad)",
    "--mantine-color-default-border": "var(--tf-border-strong)",
    "--mantine-color-red-light": "var(--tf-bad-soft)",
  },
  light: { "--mantine-color-placeholder": "var(--mantine-color-gray-5)" },
  dark: {
    "--mantine-color-default": "var(--mantine-color-dark-7)",
    "--mantine-color-placeholder": "#6f788a",
  },
});
