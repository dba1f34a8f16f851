import { Anchor, Code, Text } from "@mantine/core";
import { IconStack2 } from "@tabler/icons-react";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { Link } from "react-router";
import { useEnvironments, usePlace } from "../api/queries";
import type { EnvironmentSummary } from "../api/types";
import { type Columns, DataTable } from "../ui/DataTable";
import { formatSeconds } from "../ui/format";
import { Page, Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Empty, Loaded } from "../ui/States";
import { Ago } from "../ui/Time";
import { environmentName } from "./name";

const column = createColumnHelper<EnvironmentSummary>();

export function Component() {
  const environments = useEnvironments();
  const root = `/w/${usePlace().workspace.name}/environments`;
  const columns = useMemo(() => columnsOf(root), [root]);
  return (
    <Page
      title="Environments"
      description="Python and packages, built once and shared by everything that asks for the same."
    >
      <Loaded query={environments} what="the environments">
        {(rows) =>
          rows.length === 0 ? (
            <Empty icon={<IconStack2 size={24} />} title="No environments yet">
              The first deploy makes one from the packages that its model needs.
            </Empty>
          ) : (
            <Section flush>
              <DataTable
                label="Environments"
                columns={columns}
                rows={rows}
                rowKey={({ id }) => id}
                href={({ id }) => `${root}/${id}`}
                initialSort={[{ id: "created_at", desc: true }]}
              />
            </Section>
          )
        }
      </Loaded>
    </Page>
  );
}

function columnsOf(root: string): Columns<EnvironmentSummary> {
  return [
    column.accessor((environment) => environmentName(environment), {
      id: "name",
      header: "Environment",
      cell: ({ getValue, row: { original: environment } }) => (
        <div style={{ maxWidth: 420 }}>
          <Anchor component={Link} to={`${root}/${environment.id}`} size="sm" fw={600} c="inherit">
            {getValue()}
          </Anchor>
          <Text size="xs" c="dimmed" truncate>
            {environment.requirements.join(", ") || "standard library only"}
          </Text>
        </div>
      ),
    }),
    column.accessor("state", { header: "State", cell: (cell) => <StateBadge state={cell.getValue()} /> }),
    column.accessor(({ packages }) => packages.length, {
      id: "packages",
      header: "Packages",
      meta: { align: "right", hideBelow: 640 },
    }),
    column.accessor("build_seconds", {
      header: "Built in",
      meta: { align: "right", hideBelow: 900 },
      cell: (cell) => formatSeconds(cell.getValue()),
    }),
    column.accessor("lock_digest", {
      header: "Lock",
      enableSorting: false,
      meta: { hideBelow: 900 },
      cell: (cell) => (cell.getValue() ? <Code>{String(cell.getValue()).slice(0, 10)}</Code> : "–"),
    }),
    column.accessor("created_at", {
      header: "Made",
      sortDescFirst: true,
      meta: { align: "right", hideBelow: 640 },
      cell: (cell) => <Ago at={cell.getValue()} />,
    }),
  ];
}
