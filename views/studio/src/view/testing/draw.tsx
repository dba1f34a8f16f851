import { act, render } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { KitProvider } from "../../kit/KitProvider";
import { registry } from "../components";
import type { JsonObject, NodeSpec, ViewDocument } from "../engine/document";
import { ViewRenderer } from "../runtime";
import { start, type World } from "./engine";

export interface Drawn extends World {
  user: ReturnType<typeof userEvent.setup>;
  outputs(name?: string): JsonObject;
}

/** A view, drawn and running. */
export async function draw(document: Partial<ViewDocument>): Promise<Drawn> {
  const world = start(document);
  await act(async () => {
    render(
      <KitProvider strict>
        <ViewRenderer engine={world.engine} registry={registry} />
      </KitProvider>,
    );
  });
  return {
    ...world,
    user: userEvent.setup(),
    outputs: (name = "it") => {
      world.engine.flush();
      return world.engine.snapshot(name).outputs;
    },
  };
}

/** One component, alone on a page, as the node `it`. */
export function drawOne(
  type: string,
  props: NodeSpec["props"],
  more: Partial<NodeSpec> = {},
): Promise<Drawn> {
  return draw({ nodes: { it: { type, at: ["page", "body", "a0"], props, ...more } } });
}
