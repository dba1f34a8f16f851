import { Anchor, Badge, Box, Button, Group, Progress, Text } from "@mantine/core";
import { IconActivity } from "@tabler/icons-react";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { Link } from "react-router";
import { useLoad, usePlace } from "../api/queries";
import type { Load, LoadLine } from "../api/types";
import { type Columns, DataTable } from "../ui/DataTable";
import { formatBytes, formatNumber, formatSeconds, plural } from "../ui/format";
import { Page, Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Empty, Loaded, Loading } from "../ui/States";

const column = createColumnHelper<LoadLine>();

export function Component() {
  const load = useLoad();
  return (
    <Page title="Load" description="What each running model has to do now, and what it needs for that.">
      <Loaded query={load} what="the load" loading={<Loading rows={5} height={52} />}>
        {(loaded) => (loaded.lines.length === 0 ? <Nothing /> : <Lines load={loaded} />)}
      </Loaded>
    </Page>
  );
}

function Nothing() {
  const root = `/w/${usePlace().workspace.name}`;
  return (
    <Empty
      icon={<IconActivity size={24} />}
      title="Nothing runs"
      action={
        <Button component={Link} to={`${root}/models`} variant="default">
          To the models
        </Button>
      }
    >
      Models are listed here while they run, sleep, or are called.
    </Empty>
  );
}

function Lines({ load }: { load: Load }) {
  const root = `/w/${usePlace().workspace.name}`;
  const columns = useMemo(() => columnsOf(root, load.queue_length), [root, load.queue_length]);
  const minutes = Math.floor(load.window_seconds / 60);
  return (
    <>
      <Section flush>
        <DataTable
          label="Load"
          columns={columns}
          rows={load.lines}
          rowKey={({ model, version }) => `${model}@${version}`}
          href={({ model, version }) => `${root}/models/${model}/versions/${version}`}
          initialSort={[{ id: "requests_per_second", desc: true }]}
        />
      </Section>
      <Text size="xs" c="dimmed">
        Calls, durations and errors are those of the last {plural(minutes, "minute")}; queues and memory are
        as of a few seconds ago. Memory is that of the largest replica.
      </Text>
    </>
  );
}

function columnsOf(root: string, queueLength: number): Columns<LoadLine> {
  return [
    column.accessor(({ model, version }) => `${model} ${String(version).padStart(6, "0")}`, {
      id: "model",
      header: "Model",
      cell: ({ row: { original: line } }) => (
        <Group gap="xs" wrap="nowrap">
          <Anchor component={Link} to={`${root}/models/${line.model}`} fw={600} c="inherit" size="sm">
            {line.model}
          </Anchor>
          <Text span size="xs" c="dimmed">
            v{line.version}
          </Text>
          {line.shadow_of.length > 0 && (
            <Badge
              size="xs"
              variant="default"
              tt="none"
              title="It gets a copy of that alias's calls, which are not among its own here."
            >
              shadow of {line.shadow_of.join(", ")}
            </Badge>
          )}
        </Group>
      ),
    }),
    column.accessor("status", { header: "Status", cell: (cell) => <StateBadge state={cell.getValue()} /> }),
    column.accessor("requests_per_second", {
      header: "Calls/s",
      meta: { align: "right" },
      sortDescFirst: true,
      cell: (cell) => rate(cell.getValue()),
    }),
    column.accessor("p95_seconds", {
      header: "p95",
      meta: { align: "right" },
      sortUndefined: "last",
      sortDescFirst: true,
      cell: (cell) => formatSeconds(cell.getValue()),
    }),
    column.accessor("waiting", {
      header: "Queue",
      meta: { align: "right" },
      sortDescFirst: true,
      cell: (cell) => <Count value={cell.getValue()} isMuch={cell.getValue() >= queueLength / 2} />,
    }),
    column.accessor("in_flight", {
      header: "In flight",
      meta: { align: "right", hideBelow: 900 },
      sortDescFirst: true,
      cell: (cell) => <Count value={cell.getValue()} />,
    }),
    column.accessor("ready_replicas", {
      header: "Replicas",
      meta: { align: "right", hideBelow: 640 },
      sortDescFirst: true,
      cell: ({ row: { original: line } }) => `${line.ready_replicas} of ${line.desired_replicas}`,
    }),
    column.accessor("memory_bytes", {
      header: "Memory",
      meta: { align: "right", hideBelow: 640 },
      sortUndefined: "last",
      sortDescFirst: true,
      cell: ({ row: { original: line } }) => <Memory line={line} />,
    }),
    column.accessor("cold_start_seconds", {
      header: "Cold start",
      meta: { align: "right", hideBelow: 900 },
      sortUndefined: "last",
      sortDescFirst: true,
      cell: (cell) => formatSeconds(cell.getValue()),
    }),
    column.accessor("failed", {
      header: "Errors",
      meta: { align: "right" },
      sortDescFirst: true,
      cell: ({ row: { original: line } }) => (
        <span title={`${plural(line.failed, "call")} failed, ${plural(line.refused, "call")} refused`}>
          <Count value={line.failed} isMuch={line.failed > 0} />
        </span>
      ),
    }),
  ];
}

function Count({ value, isMuch = false }: { value: number; isMuch?: boolean }) {
  if (value === 0)
    return (
      <Text span size="sm" c="dimmed">
        0
      </Text>
    );
  return (
    <Text span size="sm" {...(isMuch && { c: "var(--tf-bad)", fw: 600 })}>
      {formatNumber(value)}
    </Text>
  );
}

/** Now, with the peak and the limit for comparison. */
function Memory({ line }: { line: LoadLine }) {
  if (line.memory_bytes === null) return "–";
  const share = Math.min(
    100,
    (100 * (line.peak_memory_bytes ?? line.memory_bytes)) / line.memory_limit_bytes,
  );
  const peak = `peak ${formatBytes(line.peak_memory_bytes)} of ${formatBytes(line.memory_limit_bytes)}`;
  return (
    <Box title={peak} miw={96}>
      <Text span size="sm">
        {formatBytes(line.memory_bytes)}
      </Text>
      <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
        {peak}
      </Text>
      <Progress
        value={share}
        size={3}
        mt={2}
        color={share >= 90 ? "red" : "gray"}
        aria-label={`Memory of ${line.model} v${line.version}: ${peak}`}
      />
    </Box>
  );
}

function rate(perSecond: number): string {
  if (perSecond === 0) return "0";
  if (perSecond < 0.01) return "<0.01";
  return formatNumber(Number(perSecond.toPrecision(3)));
}
