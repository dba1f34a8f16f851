import { fireEvent, screen, waitFor } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import { drawOne } from "../../testing/draw";
import { bytes, imageUrl, refusal } from "./files";

const png = () => new File([new Uint8Array([137, 80, 78, 71])], "cat.png", { type: "image/png" });

describe("what may be taken", () => {
  it.each([
    ["image/*", null],
    [".png", null],
    ["image/jpeg", /not of an accepted type/],
    [".csv", /not of an accepted type/],
  ])("%s", (accept, said) => {
    const found = refusal(png(), { accept: [accept], maxBytes: 100 });
    said ? expect(found).toMatch(said) : expect(found).toBeNull();
  });

  it("is limited in size, in words that people use", () => {
    expect(refusal({ name: "a", type: "", size: 3_000_000 }, { accept: [], maxBytes: 2_000_000 })).toBe(
      "a has 3.0 MB; at most 2.0 MB can be sent.",
    );
    expect([bytes(12), bytes(1500), bytes(2.5e9)]).toEqual(["12 bytes", "1.5 kB", "2.5 GB"]);
  });

  it("is never shown as a picture when it can hold script", () => {
    expect(imageUrl({ type: "image/svg+xml", data: "PHN2Zz4=" })).toBeNull();
    expect(imageUrl({ type: "text/html", data: "PHN2Zz4=" })).toBeNull();
  });
});

describe("the picker", () => {
  it("reads a chosen file, shows it, and gives it up again", async () => {
    const { user, outputs } = await drawOne("file-picker", {
      label: "Photo",
      accept: ["image/*"],
      required: true,
    });
    expect(outputs()).toEqual({ file: null, value: null, valid: false });
    await user.upload(screen.getByLabelText(/Photo/), png());
    await screen.findByAltText("Preview of cat.png");
    const file = { name: "cat.png", type: "image/png", size: 4, data: "iVBORw==" };
    expect(outputs()).toEqual({ file, value: file, valid: true });
    await user.click(screen.getByRole("button", { name: "Remove cat.png" }));
    expect(outputs().file).toBeNull();
  });

  it("takes a dropped file, and says why it refuses one", async () => {
    const { outputs } = await drawOne("file-picker", { label: "Table", accept: [".csv"] });
    const place = screen.getByLabelText("Table").parentElement as HTMLElement;
    fireEvent.drop(place, { dataTransfer: { files: [png()] } });
    await screen.findByText(/not of an accepted type/);
    fireEvent.drop(place, { dataTransfer: { files: [new File(["a,b"], "t.csv")] } });
    await waitFor(() => expect(outputs()).toMatchObject({ file: { name: "t.csv", data: "YSxi" } }));
  });
});
