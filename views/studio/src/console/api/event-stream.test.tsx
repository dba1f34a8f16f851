import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { renderHook, waitFor } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { failure, session, TestServer } from "../testing/server";
import { version } from "../testing/world";
import { useVersionEvents } from "./event-stream";
import { PlaceProvider, placeOf, versionKey } from "./queries";
import type { Session } from "./types";

const EVENTS = "GET /models/iris/versions/2/events";
const log = (id: number) =>
  `id: ${id}\nevent: log\ndata: ${JSON.stringify({ id, at: "", source: "worker", text: `line ${id}` })}\n\n`;

beforeEach(() => {
  vi.useFakeTimers({ shouldAdvanceTime: true, advanceTimeDelta: 100 });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function follow() {
  const client = new QueryClient();
  const me: Session = session();
  const place = placeOf(me, { name: "default", title: "", role: "admin" });
  const wrapper = ({ children }: { children: ReactNode }) => (
    <QueryClientProvider client={client}>
      <PlaceProvider value={place}>{children}</PlaceProvider>
    </QueryClientProvider>
  );
  const { result, unmount } = renderHook(() => useVersionEvents("iris", 2), { wrapper });
  return { client, result, unmount };
}

it("continues after the last line when the stream breaks, and keeps the version fresh", async () => {
  let opened = 0;
  const server = new TestServer()
    .on(EVENTS, () => {
      opened += 1;
      if (opened === 1) return new Response(log(1) + log(2));
      if (opened === 2) return failure(503, "unavailable", "Restarting.");
      if (opened === 3)
        return new Response(`event: version\ndata: ${JSON.stringify(version(2))}\n\n${log(2)}${log(3)}`);
      return new Response(new ReadableStream());
    })
    .install();

  const { client, result, unmount } = follow();

  await waitFor(
    () => expect(result.current.log.lines.map(({ text }) => text)).toEqual(["line 1", "line 2", "line 3"]),
    { timeout: 20_000 },
  );
  expect(server.asked.slice(0, 3).map(({ query }) => query.get("after"))).toEqual(["0", "2", "2"]);
  expect(client.getQueryData(versionKey("default", "iris", 2))).toMatchObject({ number: 2, state: "ready" });
  unmount();
});

it("stops asking when the server refuses", async () => {
  const server = new TestServer().on(EVENTS, failure(403, "forbidden", "No.")).install();

  const { result } = follow();

  await waitFor(() => expect(result.current.stream).toBe("refused"));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(server.asked).toHaveLength(1);
});
