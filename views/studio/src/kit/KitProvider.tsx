import { localStorageColorSchemeManager, MantineProvider } from "@mantine/core";
import type { ReactNode } from "react";
import { cssVariablesResolver, theme } from "./theme";

const colorSchemeManager = localStorageColorSchemeManager({ key: "tenfold-color-scheme" });

/**
 * The theme for everything below. `strict` writes no style element at all: call `installThemeVariables()` before
 * the first render (published views, whose policy allows no inline style).
 */
export function KitProvider({ children, strict = false }: { children: ReactNode; strict?: boolean }) {
  return (
    <MantineProvider
      theme={theme}
      defaultColorScheme="auto"
      colorSchemeManager={colorSchemeManager}
      cssVariablesResolver={strict ? undefined : cssVariablesResolver}
      withCssVariables={!strict}
      withGlobalClasses={!strict}
      env={import.meta.env.MODE === "test" ? "test" : "default"} // tests see what a transition ends with
    >
      {children}
    </MantineProvider>
  );
}
