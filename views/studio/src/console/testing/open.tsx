import { render } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { createMemoryRouter } from "react-router";
import { App } from "../App";
import { routes } from "../routes";

// jsdom has no fonts to wait for; Mantine's growing text areas ask.
if (!("fonts" in document)) Object.defineProperty(document, "fonts", { value: new EventTarget() });

/** The whole console at an address, and somebody to use it. */
export function openConsole(address: string) {
  const router = createMemoryRouter(routes, { initialEntries: [address] });
  const user = userEvent.setup();
  render(<App router={router} />);
  return {
    user,
    path: () => router.state.location.pathname + router.state.location.search + router.state.location.hash,
  };
}
