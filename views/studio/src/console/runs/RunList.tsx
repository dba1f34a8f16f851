import { Anchor, Button, Code, Group, Select, Switch, Text } from "@mantine/core";
import { IconHistory } from "@tabler/icons-react";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { useApps, usePlace, useRuns } from "../api/queries";
import type { RunSummary } from "../api/types";
import { type Columns, DataTable } from "../ui/DataTable";
import { formatMilliseconds } from "../ui/format";
import { Page, Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Empty, Failed, Loading } from "../ui/States";
import { Ago } from "../ui/Time";
import { callerName } from "./caller";

const column = createColumnHelper<RunSummary>();
const STATES = ["succeeded", "failed", "cancelled"];

export function Component() {
  const { workspace } = usePlace();
  const [parameters, setParameters] = useSearchParams();
  const [isLive, setLive] = useState(true);
  const filter = {
    app: parameters.get("app"),
    worklet: parameters.get("worklet"),
    state: parameters.get("state"),
  };
  const isFiltered = Object.values(filter).some(Boolean);
  const apps = useApps();
  const runs = useRuns(filter, isLive);
  const root = `/w/${workspace.name}`;
  const columns = useMemo(() => columnsOf(root), [root]);
  const rows = useMemo(() => distinct((runs.data?.pages ?? []).flatMap(({ items }) => items)), [runs.data]);
  const worklets = apps.data?.find(({ name }) => name === filter.app)?.worklets ?? [
    ...new Set((apps.data ?? []).flatMap(({ worklets }) => worklets)),
  ];

  const choose = (name: "app" | "worklet" | "state", value: string | null) => {
    const next = new URLSearchParams(parameters);
    if (value) next.set(name, value);
    else next.delete(name);
    if (name === "app") next.delete("worklet");
    setParameters(next, { replace: true });
  };

  return (
    <Page title="Runs" description="Every time a worklet ran: for whom, how long, and how it went.">
      <Group gap="sm">
        <Select
          aria-label="App"
          placeholder="Every app"
          clearable
          searchable
          w={{ base: "100%", xs: 180 }}
          value={filter.app}
          onChange={(value) => choose("app", value)}
          data={(apps.data ?? []).map(({ name, title }) => ({ value: name, label: title || name }))}
        />
        <Select
          aria-label="Worklet"
          placeholder="Every worklet"
          clearable
          searchable
          w={{ base: "100%", xs: 180 }}
          value={filter.worklet}
          onChange={(value) => choose("worklet", value)}
          data={worklets}
        />
        <Select
          aria-label="State"
          placeholder="Every state"
          clearable
          w={{ base: "100%", xs: 160 }}
          value={filter.state}
          onChange={(value) => choose("state", value)}
          data={STATES}
        />
        <Switch
          ml="auto"
          label="Keep it fresh"
          checked={isLive}
          onChange={(event) => setLive(event.currentTarget.checked)}
        />
      </Group>
      {!runs.data && runs.error ? (
        <Failed error={runs.error} what="the runs" onRetry={() => void runs.refetch()} />
      ) : !runs.data ? (
        <Loading rows={8} />
      ) : rows.length === 0 && !isFiltered ? (
        <Empty
          icon={<IconHistory size={24} />}
          title="Nothing has run yet"
          action={
            <Button component={Link} to={`${root}/apps`}>
              To the apps
            </Button>
          }
        >
          Open an app and press its button, or call a worklet's endpoint. Each run is listed here with its
          steps.
        </Empty>
      ) : (
        <>
          <Section flush>
            <DataTable
              label="Runs"
              columns={columns}
              rows={rows}
              rowKey={({ id }) => id}
              href={({ id }) => `${root}/runs/${id}`}
              empty="No run matches these filters."
            />
          </Section>
          {runs.hasNextPage && (
            <Group justify="center">
              <Button
                variant="default"
                loading={runs.isFetchingNextPage}
                onClick={() => {
                  setLive(false);
                  void runs.fetchNextPage();
                }}
              >
                Load older runs
              </Button>
            </Group>
          )}
        </>
      )}
    </Page>
  );
}

function columnsOf(root: string): Columns<RunSummary> {
  return [
    column.accessor("state", {
      header: "State",
      enableSorting: false,
      cell: (cell) => <StateBadge state={cell.getValue()} />,
    }),
    column.accessor("worklet", {
      header: "Worklet",
      enableSorting: false,
      cell: ({ row: { original: run } }) => (
        <div>
          <Anchor component={Link} to={`${root}/runs/${run.id}`} size="sm" fw={600} c="inherit">
            {run.worklet}
          </Anchor>
          <Text size="xs" c="dimmed">
            {run.app}, release {run.release}
          </Text>
          {run.error && (
            <Text size="xs" c="var(--tf-bad)" lineClamp={1} maw={360}>
              {run.error.message}
            </Text>
          )}
        </div>
      ),
    }),
    column.accessor("caller", {
      header: "By",
      enableSorting: false,
      meta: { hideBelow: 900 },
      cell: ({ row: { original: run } }) => (
        <div>
          <Text size="sm" truncate maw={220}>
            {callerName(run.caller)}
          </Text>
          <Text size="xs" c="dimmed">
            {run.trigger}
          </Text>
        </div>
      ),
    }),
    column.accessor("id", {
      header: "Run",
      enableSorting: false,
      meta: { hideBelow: 900 },
      cell: (cell) => <Code>{String(cell.getValue()).slice(-8)}</Code>,
    }),
    column.accessor("started_at", {
      header: "Started",
      enableSorting: false,
      meta: { align: "right", hideBelow: 640 },
      cell: (cell) => <Ago at={cell.getValue()} />,
    }),
    column.accessor("duration_ms", {
      header: "Took",
      enableSorting: false,
      meta: { align: "right" },
      cell: (cell) => formatMilliseconds(cell.getValue()),
    }),
  ];
}

/** A page that is fetched again has moved by what is new: the same run may then be on two pages. */
function distinct(runs: RunSummary[]): RunSummary[] {
  return [...new Map(runs.map((run) => [run.id, run])).values()];
}
