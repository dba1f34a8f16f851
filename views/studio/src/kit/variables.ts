import {
  convertCssVariables,
  DEFAULT_THEME,
  defaultCssVariablesResolver,
  mergeMantineTheme,
} from "@mantine/core";
import { cssVariablesResolver, theme } from "./theme";

/**
 * Puts the theme's CSS variables on the page as a constructed stylesheet.
 *
 * Mantine would write them as the inner HTML of a style element, which both Trusted Types and a policy without
 * 'unsafe-inline' refuse; a constructed sheet needs neither permission.
 */
export function installThemeVariables(): void {
  const merged = mergeMantineTheme(DEFAULT_THEME, theme);
  const mantine = defaultCssVariablesResolver(merged);
  const ours = cssVariablesResolver(merged);
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(
    convertCssVariables({
      variables: mantine.variables,
      light: { ...mantine.light, ...ours.variables, ...ours.light, "--mantine-color-scheme": "light" },
      dark: { ...mantine.dark, ...ours.variables, ...ours.dark, "--mantine-color-scheme": "dark" },
    }),
  );
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}
