/** Live output: follows the end until one scrolls up, finds text, wraps, saves. */

import { ActionIcon, Box, Button, Group, Text, TextInput, Tooltip } from "@mantine/core";
import { IconArrowBarToDown, IconDownload, IconSearch, IconTextWrap } from "@tabler/icons-react";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef, useState } from "react";
import type { StreamState } from "../api/event-stream";
import { type LogState, logAsText, searchLog } from "../api/logs";
import type { LogLine } from "../api/types";
import { saveText } from "./download";
import { plural } from "./format";
import classes from "./LogViewer.module.css";

const LINE_HEIGHT = 20;
const END_SLACK = 24;

interface LogViewerProps {
  log: LogState;
  stream?: StreamState;
  fileName: string;
  height?: number;
  emptyText?: string;
  withSource?: boolean;
}

export function LogViewer({
  log,
  stream,
  fileName,
  height = 420,
  emptyText,
  withSource = false,
}: LogViewerProps) {
  const [isFollowing, setFollowing] = useState(true);
  const [isWrapped, setWrapped] = useState(true);
  const [search, setSearch] = useState("");
  const [hit, setHit] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const { lines } = log;
  const hits = useMemo(() => searchLog(lines, search), [lines, search]);
  const rows = useVirtualizer({
    count: lines.length,
    getScrollElement: () => box.current,
    estimateSize: () => LINE_HEIGHT,
    overscan: 30,
  });

  useEffect(() => {
    if (isFollowing && lines.length > 0) rows.scrollToIndex(lines.length - 1, { align: "end" });
  }, [isFollowing, lines.length, rows]);

  const goTo = (index: number) => {
    const line = hits[index];
    if (line === undefined) return;
    setHit(index);
    setFollowing(false);
    rows.scrollToIndex(line, { align: "center" });
  };

  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    const fromEnd = element.scrollHeight - element.scrollTop - element.clientHeight;
    if (fromEnd < END_SLACK) setFollowing(true);
  };

  return (
    <Box className={classes.viewer}>
      <Group className={classes.bar} gap="xs" justify="space-between">
        <Group gap="xs" wrap="nowrap">
          <TextInput
            size="xs"
            w={200}
            aria-label="Find in the log"
            placeholder="Find"
            leftSection={<IconSearch size={14} />}
            value={search}
            onChange={(event) => {
              setSearch(event.currentTarget.value);
              setHit(0);
            }}
            onKeyDown={(event) => {
              if (event.key !== "Enter" || hits.length === 0) return;
              const step = event.shiftKey ? hits.length - 1 : 1;
              goTo((hit + step) % hits.length);
            }}
          />
          {search && (
            <Text size="xs" c="dimmed" role="status">
              {hits.length === 0 ? "not found" : `${hit + 1} of ${hits.length}`}
            </Text>
          )}
        </Group>
        <Group gap={4} wrap="nowrap">
          {stream && <StreamSign stream={stream} />}
          <Tooltip label="Wrap long lines">
            <ActionIcon
              variant={isWrapped ? "light" : "subtle"}
              color="gray"
              aria-label="Wrap long lines"
              aria-pressed={isWrapped}
              onClick={() => setWrapped(!isWrapped)}
            >
              <IconTextWrap size={16} />
            </ActionIcon>
          </Tooltip>
          <Tooltip label="Download">
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label="Download the log"
              disabled={lines.length === 0}
              onClick={() => saveText(fileName, logAsText(lines))}
            >
              <IconDownload size={16} />
            </ActionIcon>
          </Tooltip>
        </Group>
      </Group>
      <Box
        ref={box}
        className={classes.lines}
        style={{ height }}
        tabIndex={0}
        role="log"
        aria-label="Log"
        aria-live="off"
        onScroll={onScroll}
        onWheel={(event) => event.deltaY < 0 && setFollowing(false)}
        onKeyDown={(event) => ["ArrowUp", "PageUp", "Home"].includes(event.key) && setFollowing(false)}
        onTouchMove={() => setFollowing(false)}
      >
        {lines.length === 0 && (
          <Text className={classes.none}>{emptyText ?? "Nothing has been written yet."}</Text>
        )}
        {log.droppedCount > 0 && (
          <Text className={classes.none}>{plural(log.droppedCount, "earlier line")} not shown.</Text>
        )}
        <div style={{ height: rows.getTotalSize(), position: "relative" }}>
          {rows.getVirtualItems().map((row) => {
            const line = lines[row.index] as LogLine;
            return (
              <div
                key={row.key}
                ref={rows.measureElement}
                data-index={row.index}
                data-wrap={isWrapped || undefined}
                data-hit={(search !== "" && hits[hit] === row.index) || undefined}
                className={classes.line}
                style={{ transform: `translateY(${row.start}px)` }}
              >
                <span className={classes.time}>{clock(line.at)}</span>
                {withSource && (
                  <span className={classes.source} data-source={line.source}>
                    {line.source}
                  </span>
                )}
                <span className={classes.text}>
                  <Marked text={line.text} search={search} />
                </span>
              </div>
            );
          })}
        </div>
      </Box>
      {!isFollowing && lines.length > 0 && (
        <Button
          className={classes.follow}
          size="compact-sm"
          leftSection={<IconArrowBarToDown size={14} />}
          onClick={() => setFollowing(true)}
        >
          Follow
        </Button>
      )}
    </Box>
  );
}

function StreamSign({ stream }: { stream: StreamState }) {
  const words = { connecting: "Connecting", live: "Live", waiting: "Reconnecting", refused: "Ended" }[stream];
  return (
    <Text size="xs" c="dimmed" className={classes.stream} data-stream={stream} role="status">
      {words}
    </Text>
  );
}

function Marked({ text, search }: { text: string; search: string }) {
  const wanted = search.trim().toLowerCase();
  const at = wanted ? text.toLowerCase().indexOf(wanted) : -1;
  if (at < 0) return text || " ";
  return (
    <>
      {text.slice(0, at)}
      <mark>{text.slice(at, at + wanted.length)}</mark>
      {text.slice(at + wanted.length)}
    </>
  );
}

function clock(iso: string): string {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleTimeString("en-GB");
}
