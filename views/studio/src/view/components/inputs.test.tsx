import { screen } from "@testing-library/react";
import { expect, it } from "vitest";
import type { NodeSpec } from "../engine/document";
import { draw, drawOne } from "../testing/draw";
import { optionsOf } from "./select/options";

it("a number stays as it is typed, and is a number or nothing", async () => {
  const { user, outputs } = await drawOne("number", { label: "Weight", minimum: 0, required: true });
  const field = screen.getByLabelText(/Weight/);
  await user.type(field, "1.");
  expect([(field as HTMLInputElement).value, outputs().value]).toEqual(["1.", 1]);
  await user.type(field, "05");
  expect(outputs()).toEqual({ value: 1.05, valid: true });
  await user.clear(field);
  expect(outputs()).toEqual({ value: null, valid: false });
});

it("a select gives values of the type they were written in", async () => {
  const { user, outputs } = await drawOne("select", {
    label: "Grade",
    options: [1, "1", { value: null, label: "None" }, 1],
  });
  await user.click(screen.getByRole("combobox", { name: "Grade" }));
  await user.click(screen.getAllByRole("option", { name: "1", hidden: true })[0] as HTMLElement);
  expect(outputs().value).toBe(1);
});

it("options may be values or have labels, and doubles count once", () => {
  expect(optionsOf([1, "1", 1, { value: 2, label: "Two" }]).map(({ label }) => label)).toEqual([
    "1",
    "1",
    "Two",
  ]);
  expect(optionsOf("no list")).toEqual([]);
});

it("a chosen value that is no longer an option is not chosen any more", async () => {
  const nodes: Record<string, NodeSpec> = {
    big: { type: "switch", at: ["page", "body", "a0"], props: { label: "Big" } },
    it: {
      type: "select",
      at: ["page", "body", "a1"],
      props: { label: "Size", options: "=big.value ? ['XL'] : ['S']", default: "S" },
    },
  };
  const { user, outputs } = await draw({ nodes });
  expect(outputs().value).toBe("S");
  await user.click(screen.getByRole("switch", { name: "Big" }));
  expect(outputs().value).toBeNull();
});

it("a slider moves by keyboard and stays within its ends", async () => {
  const { user, outputs } = await drawOne("slider", {
    label: "Threshold",
    minimum: 0,
    maximum: 1,
    step: 0.5,
    default: 7,
  });
  expect(outputs().value).toBe(1);
  screen.getByRole("slider", { name: "Threshold" }).focus();
  await user.keyboard("{ArrowLeft}");
  expect(outputs().value).toBe(0.5);
});

it("a text says what is wrong only after it was left", async () => {
  const { user } = await drawOne("text-input", { label: "E-mail", type: "email" });
  await user.type(screen.getByLabelText("E-mail"), "ada");
  expect(screen.queryByText(/Write an address/)).not.toBeInTheDocument();
  await user.tab();
  expect(screen.getByText(/Write an address/)).toBeInTheDocument();
});

it("a form submits with Enter when it is valid, and shows every error when it is not", async () => {
  const nodes: Record<string, NodeSpec> = {
    it: { type: "form", at: ["page", "body", "a0"], on: { submit: [{ toast: "=event.value.name" }] } },
    name: { type: "text-input", at: ["it", "body", "a0"], props: { label: "Name", required: true } },
    send: { type: "button", at: ["it", "body", "a1"], props: { label: "Send", submits: true } },
  };
  const { user, toasts } = await draw({ nodes });
  await user.click(screen.getByRole("button", { name: "Send" }));
  expect(screen.getByText("This is needed.")).toBeInTheDocument();
  await user.type(screen.getByLabelText(/Name/), "Ada{Enter}");
  expect(toasts).toEqual(["info: Ada"]);
});

it("a button is busy while the query that it runs is running", async () => {
  const go: NodeSpec = {
    type: "button",
    at: ["page", "body", "a0"],
    props: { label: "Go" },
    on: { click: [{ run: "q" }] },
  };
  const { user, calls } = await draw({ queries: { q: { run: "manual", in: {} } }, nodes: { go } });
  await user.click(screen.getByRole("button", { name: "Go" }));
  expect(screen.getByRole("button", { name: "Go" })).toHaveAttribute("aria-busy", "true");
  await calls[0]?.answer(1);
  expect(await screen.findByRole("button", { name: "Go", busy: false })).toBeEnabled();
});
