import { Anchor, Badge, Button, Group, Stack, Text } from "@mantine/core";
import { IconPlus, IconStack2 } from "@tabler/icons-react";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo, useState } from "react";
import { Link } from "react-router";
import { useEnvironments, useNamedEnvironments, usePlace, useRights } from "../api/queries";
import type { EnvironmentItem, NamedEnvironment } from "../api/types";
import { type Columns, DataTable } from "../ui/DataTable";
import { formatBytes, plural } from "../ui/format";
import { Page, Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Empty, Loaded } from "../ui/States";
import { Ago } from "../ui/Time";
import { Collect } from "./Collect";
import { NamedEnvironmentDialog } from "./NamedEnvironmentDialog";
import { NamedEnvironments } from "./NamedEnvironments";
import { environmentName } from "./name";

const column = createColumnHelper<EnvironmentItem>();

export function Component() {
  const environments = useEnvironments();
  const named = useNamedEnvironments();
  const rights = useRights();
  const [editing, setEditing] = useState<NamedEnvironment | "new" | null>(null);
  const root = `/w/${usePlace().workspace.name}/environments`;
  const columns = useMemo(() => columnsOf(root), [root]);
  const name = rights.write && (
    <Button leftSection={<IconPlus size={16} />} onClick={() => setEditing("new")}>
      Name one
    </Button>
  );
  return (
    <Page
      title="Environments"
      description="Python and packages, built once and shared by everything that asks for the same."
      actions={
        rights.write &&
        (environments.data?.length ?? 0) > 0 && (
          <>
            <Collect />
            {name}
          </>
        )
      }
    >
      {(named.data?.length ?? 0) > 0 && <NamedEnvironments rows={named.data ?? []} onEdit={setEditing} />}
      <Loaded query={environments} what="the environments">
        {(rows) =>
          rows.length === 0 ? (
            <Empty icon={<IconStack2 size={24} />} title="No environments yet" action={name}>
              The first deploy makes one from the packages that its model needs. One with a name can be shared
              by apps and models.
            </Empty>
          ) : (
            <Section title={named.data?.length ? "All" : undefined} flush>
              <DataTable
                label="Environments"
                columns={columns}
                rows={rows}
                rowKey={({ id }) => id}
                href={({ id }) => `${root}/${id}`}
                initialSort={[{ id: "wanted_at", desc: true }]}
              />
            </Section>
          )
        }
      </Loaded>
      {editing && (
        <NamedEnvironmentDialog
          environment={editing === "new" ? null : editing}
          onClose={() => setEditing(null)}
        />
      )}
    </Page>
  );
}

function columnsOf(root: string): Columns<EnvironmentItem> {
  return [
    column.accessor((environment) => environmentName(environment), {
      id: "name",
      header: "Environment",
      cell: ({ getValue, row: { original: environment } }) => (
        <Stack gap={2} maw={420}>
          <Group gap="xs" wrap="nowrap">
            <Anchor component={Link} to={`${root}/${environment.id}`} size="sm" fw={600} c="inherit" truncate>
              {getValue()}
            </Anchor>
            {environment.names.map((name) => (
              <Badge key={name} size="sm" variant="light" tt="none">
                {name}
              </Badge>
            ))}
          </Group>
          <Text size="xs" c="dimmed" truncate>
            {environment.requirements.join(", ") || "standard library only"}
          </Text>
        </Stack>
      ),
    }),
    column.accessor("state", { header: "State", cell: (cell) => <StateBadge state={cell.getValue()} /> }),
    column.accessor(({ used_by }) => used_by.models + used_by.apps, {
      id: "used_by",
      header: "Used by",
      meta: { hideBelow: 640 },
      cell: ({ row: { original: environment } }) => (
        <Text size="sm" c={isUnused(environment) ? "dimmed" : undefined}>
          {usedBy(environment)}
        </Text>
      ),
    }),
    column.accessor(({ packages }) => packages.length, {
      id: "packages",
      header: "Packages",
      meta: { align: "right", hideBelow: 900 },
    }),
    column.accessor("size_bytes", {
      header: "On disk",
      meta: { align: "right", hideBelow: 640 },
      cell: (cell) => <span style={{ whiteSpace: "nowrap" }}>{formatBytes(cell.getValue())}</span>,
    }),
    column.accessor("wanted_at", {
      header: "Last wanted",
      sortDescFirst: true,
      meta: { align: "right", hideBelow: 640 },
      cell: (cell) => <Ago at={cell.getValue()} />,
    }),
  ];
}

function isUnused({ used_by, names }: EnvironmentItem): boolean {
  return used_by.models === 0 && used_by.apps === 0 && names.length === 0;
}

function usedBy(environment: EnvironmentItem): string {
  const { models, apps } = environment.used_by;
  const users = [models > 0 && plural(models, "version"), apps > 0 && plural(apps, "release")].filter(
    Boolean,
  );
  return users.join(", ") || (isUnused(environment) ? "nothing" : "its name only");
}
