import { describe, expect, it } from "vitest";
import { readEvents, type ServerEvent, SseParser } from "./sse";

const STREAM = 'id: 1\nevent: log\ndata: {"id":1}\n\n: still here\n\nevent: version\ndata: a\ndata: b\n\n';
const EVENTS = [
  { event: "log", data: '{"id":1}', id: "1" },
  { event: "version", data: "a\nb", id: "1" },
];

describe("server-sent events", () => {
  it("are read whole", () => {
    expect(new SseParser().push(STREAM)).toEqual(EVENTS);
  });

  it("are the same wherever the network cuts them", () => {
    for (let cut = 1; cut < STREAM.length; cut += 1) {
      const parser = new SseParser();
      expect([...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut))]).toEqual(EVENTS);
    }
  });

  it("may end their lines as any system does", () => {
    const windows = STREAM.replaceAll("\n", "\r\n");
    const parser = new SseParser();
    expect([...windows].flatMap((letter) => parser.push(letter))).toEqual(EVENTS);
  });

  it("are none without data", () => {
    expect(new SseParser().push("event: log\n\n")).toEqual([]);
  });

  it("keep letters that are cut in the middle", async () => {
    const bytes = new TextEncoder().encode("data: né\n\n");
    const body = new ReadableStream({
      start(controller) {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });
    const seen: ServerEvent[] = [];
    await readEvents(new Response(body), (event) => seen.push(event));
    expect(seen).toEqual([{ event: "message", data: "né", id: null }]);
  });
});
