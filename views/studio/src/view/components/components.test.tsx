import { screen, waitFor } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EXAMPLES } from "../gallery/examples";
import { components as manifest } from "../manifest";
import { draw } from "../testing/draw";
import { registry } from ".";

// Drawn by Plotly, which needs a real browser.
vi.mock("./chart/Plot", () => ({
  default: ({ label }: { label: string }) => <div role="img" aria-label={label} />,
}));

let complaints: unknown[][];
beforeEach(() => {
  complaints = [];
  vi.spyOn(console, "error").mockImplementation((...words) => void complaints.push(words));
  vi.spyOn(console, "warn").mockImplementation((...words) => void complaints.push(words));
});
afterEach(() => vi.restoreAllMocks());

it("every component of the manifest is drawn by one, and has examples", () => {
  const types = Object.keys(manifest).sort();
  expect(Object.keys(registry).sort()).toEqual(types);
  expect(Object.keys(EXAMPLES).sort()).toEqual(types);
});

it("the outputs that a component makes are those that the manifest promises", () => {
  for (const [type, component] of Object.entries(registry)) {
    const made = component.outputsOf?.({}, {}, {}) ?? {};
    expect([type, Object.keys(made).sort()]).toEqual([
      type,
      Object.keys(manifest[type]?.outputs ?? {}).sort(),
    ]);
  }
});

describe.each(
  Object.entries(EXAMPLES).flatMap(([type, examples]) => examples.map((example) => ({ type, example }))),
)("$type: $example.title", ({ type, example }) => {
  it("is drawn whole, without a complaint", async () => {
    await draw({ nodes: example.nodes });
    await waitFor(() => expect(screen.queryByLabelText("Loading")).not.toBeInTheDocument());
    expect(screen.queryByText(/could not be shown|could not be computed/)).not.toBeInTheDocument();
    expect(complaints).toEqual([]);
    expect(
      document.querySelectorAll("script, iframe, object, embed, style:not([data-mantine-styles])"),
    ).toHaveLength(0);
  });

  it("gives every control a name", async () => {
    await draw({ nodes: example.nodes });
    const role =
      manifest[type]?.group === "input" || type === "button"
        ? ["textbox", "spinbutton", "button", "switch", "slider", "combobox"]
        : [];
    for (const control of role.flatMap((name) => screen.queryAllByRole(name))) {
      if (control.getAttribute("aria-hidden") !== "true" && control.tabIndex >= 0)
        expect(control).toHaveAccessibleName();
    }
  });
});
