import { Anchor, Box, SegmentedControl, SimpleGrid, Stack, Table, Text } from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";
import { useModelMetrics, usePlace } from "../api/queries";
import type { Model, ModelMetrics, TrafficLine, TrafficPoint, TrafficTotals } from "../api/types";
import { formatBytes, formatSeconds, plural } from "../ui/format";
import { Section } from "../ui/Page";
import { Loaded } from "../ui/States";
import { type Series, TimeChart } from "../ui/TimeChart";
import classes from "./Metrics.module.css";

const SPANS = [
  { value: "60", label: "1 hour" },
  { value: "1440", label: "1 day" },
  { value: "10080", label: "1 week" },
];

const VERSION_COLOURS = [
  "var(--tf-accent)",
  "var(--tf-warn)",
  "var(--tf-good)",
  "var(--mantine-color-grape-5)",
  "var(--mantine-color-cyan-6)",
];

/** How the model is asked and how it answers, over time and by version. */
export function Metrics({ model }: { model: Model }) {
  const [minutes, setMinutes] = useState("60");
  const metrics = useModelMetrics(model.name, Number(minutes));
  return (
    <Stack gap="lg">
      <Section
        title="Traffic"
        aside={
          <SegmentedControl
            size="xs"
            data={SPANS}
            value={minutes}
            onChange={setMinutes}
            aria-label="How far back"
          />
        }
      >
        <Loaded query={metrics} what="the metrics">
          {(loaded) => <Traffic metrics={loaded} />}
        </Loaded>
      </Section>
      {metrics.data && <ByVersion model={model} lines={metrics.data.versions} />}
    </Stack>
  );
}

function Traffic({ metrics }: { metrics: ModelMetrics }) {
  const { points, totals } = metrics;
  const times = points.map(({ at }) => new Date(at).getTime());
  const of = (read: (point: TrafficPoint) => number | null) => points.map(read);
  const calls: Series[] = [
    {
      name: "answered",
      colour: "var(--tf-accent)",
      values: of((point) => point.requests - point.refused - point.failed),
    },
    { name: "refused", colour: "var(--tf-warn)", values: of((point) => point.refused) },
    { name: "failed", colour: "var(--tf-bad)", values: of((point) => point.failed) },
  ];
  const durations: Series[] = [
    { name: "median", colour: "var(--tf-good)", values: of((point) => point.p50_seconds) },
    { name: "95th", colour: "var(--tf-accent)", values: of((point) => point.p95_seconds) },
    { name: "99th", colour: "var(--tf-warn)", values: of((point) => point.p99_seconds) },
  ];
  const called = metrics.versions.filter(({ totals }) => totals.requests > 0);
  const byVersion = (read: (point: TrafficPoint) => number | null): Series[] =>
    called.map(({ version, points }, index) => ({
      name: `v${version}`,
      colour: VERSION_COLOURS[index % VERSION_COLOURS.length] as string,
      values: points.map(read),
    }));
  const shared = { times, emptyText: "Nobody has called it in this time." };
  const counts = (title: string, series: Series[]) => (
    <TimeChart title={title} series={series} kind="bars" format={formatCount} {...shared} />
  );
  const measures = (title: string, series: Series[]) => (
    <TimeChart title={title} series={series} kind="lines" format={formatSeconds} {...shared} />
  );
  return (
    <Stack gap="lg">
      <Figures totals={totals} />
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="xl">
        {counts(`Calls ${each(metrics.step_minutes)}`, calls)}
        {measures("How long they took", durations)}
        {called.length > 1 && (
          <>
            {counts(
              "Calls by version",
              byVersion((point) => point.requests),
            )}
            {measures(
              "95th percentile by version",
              byVersion((point) => point.p95_seconds),
            )}
          </>
        )}
      </SimpleGrid>
    </Stack>
  );
}

function Figures({ totals }: { totals: TrafficTotals }) {
  const wrong = totals.refused + totals.failed;
  const figures: [name: string, value: string, tone?: string][] = [
    ["Calls", totals.requests.toLocaleString("en-US")],
    [
      "Errors",
      wrong === 0
        ? "none"
        : `${((100 * wrong) / totals.requests).toFixed(wrong / totals.requests < 0.01 ? 2 : 1)} %`,
      totals.failed > 0 ? "var(--tf-bad)" : undefined,
    ],
    ["Median", formatSeconds(totals.p50_seconds)],
    ["95th percentile", formatSeconds(totals.p95_seconds)],
    ["99th percentile", formatSeconds(totals.p99_seconds)],
  ];
  return (
    <dl className={classes.figures}>
      {figures.map(([name, value, tone]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd style={{ color: tone }}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function ByVersion({ model, lines }: { model: Model; lines: TrafficLine[] }) {
  const root = `/w/${usePlace().workspace.name}/models/${model.name}/versions`;
  if (lines.length === 0) return null;
  return (
    <Section title="By version" flush>
      <Box style={{ overflowX: "auto" }}>
        <Table horizontalSpacing="lg" verticalSpacing={9}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Version</Table.Th>
              <Table.Th ta="right">Calls</Table.Th>
              <Table.Th ta="right">Failed</Table.Th>
              <Table.Th ta="right">Median</Table.Th>
              <Table.Th ta="right">95th</Table.Th>
              <Table.Th ta="right">Memory</Table.Th>
              <Table.Th ta="right">Cold start</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {lines.map((line) => (
              <Table.Tr key={line.version}>
                <Table.Td>
                  <Anchor component={Link} to={`${root}/${line.version}`} size="sm" fw={600} c="inherit">
                    v{line.version}
                  </Anchor>
                  <Text size="xs" c="dimmed">
                    {line.replicas > 0 ? plural(line.replicas, "replica") : "stopped"}
                  </Text>
                </Table.Td>
                <Table.Td ta="right">{line.totals.requests.toLocaleString("en-US")}</Table.Td>
                <Table.Td ta="right" c={line.totals.failed > 0 ? "var(--tf-bad)" : undefined}>
                  {line.totals.failed.toLocaleString("en-US")}
                </Table.Td>
                <Table.Td ta="right">{formatSeconds(line.totals.p50_seconds)}</Table.Td>
                <Table.Td ta="right">{formatSeconds(line.totals.p95_seconds)}</Table.Td>
                <Table.Td ta="right">
                  {formatBytes(line.memory_bytes)}
                  {line.peak_memory_bytes !== null && (
                    <Text size="xs" c="dimmed">
                      at most {formatBytes(line.peak_memory_bytes)}
                    </Text>
                  )}
                </Table.Td>
                <Table.Td ta="right">{formatSeconds(line.cold_start_seconds)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Box>
    </Section>
  );
}

function formatCount(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 1 });
}

function each(minutes: number): string {
  if (minutes === 1) return "a minute";
  if (minutes === 60) return "an hour";
  return minutes % 60 === 0 ? `in ${minutes / 60} hours` : `in ${minutes} minutes`;
}
