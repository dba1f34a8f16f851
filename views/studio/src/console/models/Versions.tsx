import { ActionIcon, Anchor, Badge, Group, Menu, Text } from "@mantine/core";
import {
  IconArrowUp,
  IconDots,
  IconGitCompare,
  IconPlayerPlay,
  IconPlayerStop,
  IconTag,
} from "@tabler/icons-react";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { Link } from "react-router";
import { usePlace, useRights, useVersions } from "../api/queries";
import type { Model, Version } from "../api/types";
import { type Columns, DataTable } from "../ui/DataTable";
import { formatBytes } from "../ui/format";
import { Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Loaded } from "../ui/States";
import { Ago } from "../ui/Time";
import { statusOf, useVersionActions } from "./version-actions";

const column = createColumnHelper<Version>();

export function Versions({ model }: { model: Model }) {
  const versions = useVersions(model.name);
  const { workspace } = usePlace();
  const root = `/w/${workspace.name}`;
  const columns = useMemo(() => columnsOf(root, model), [root, model]);
  return (
    <Section flush>
      <Loaded query={versions} what="the versions">
        {(rows) => (
          <DataTable
            label={`Versions of ${model.name}`}
            columns={columns}
            rows={rows}
            rowKey={({ number }) => String(number)}
            href={({ number }) => `${root}/models/${model.name}/versions/${number}`}
            initialSort={[{ id: "number", desc: true }]}
            empty="No versions yet."
          />
        )}
      </Loaded>
    </Section>
  );
}

function columnsOf(root: string, model: Model): Columns<Version> {
  return [
    column.accessor("number", {
      header: "Version",
      sortDescFirst: true,
      cell: ({ row: { original: version } }) => (
        <Group gap="xs" wrap="nowrap">
          <Anchor
            component={Link}
            to={`${root}/models/${model.name}/versions/${version.number}`}
            size="sm"
            fw={600}
            c="inherit"
          >
            v{version.number}
          </Anchor>
          {version.aliases.map((alias) => (
            <Badge key={alias} size="sm" tt="none" variant={alias === "production" ? "light" : "default"}>
              {alias}
            </Badge>
          ))}
        </Group>
      ),
    }),
    column.accessor((version) => statusOf(version), {
      id: "state",
      header: "State",
      cell: ({ getValue, row: { original: version } }) => (
        <div>
          <StateBadge state={getValue()} />
          {version.state === "failed" && (
            <Text size="xs" c="var(--tf-bad)" lineClamp={1} maw={260} mt={2}>
              {version.reason}
            </Text>
          )}
        </div>
      ),
    }),
    column.accessor("created_at", {
      header: "Deployed",
      meta: { hideBelow: 640 },
      sortDescFirst: true,
      cell: ({ row: { original: version } }) => (
        <div>
          <Ago at={version.created_at} />
          <Text size="xs" c="dimmed" truncate maw={180}>
            {version.created_by}
          </Text>
        </div>
      ),
    }),
    column.accessor((version) => version.environment?.python_version ?? "", {
      id: "environment",
      header: "Environment",
      meta: { hideBelow: 900 },
      cell: ({
        row: {
          original: { environment },
        },
      }) =>
        environment ? (
          <Anchor component={Link} size="sm" to={`${root}/environments/${environment.id}`}>
            Python {environment.python_version ?? "?"}, {environment.packages.length} packages
          </Anchor>
        ) : (
          "–"
        ),
    }),
    column.accessor("size_bytes", {
      header: "Size",
      meta: { align: "right", hideBelow: 640 },
      cell: (cell) => formatBytes(cell.getValue()),
    }),
    column.display({
      id: "actions",
      header: "",
      meta: { align: "right", width: 56 },
      cell: ({ row: { original: version } }) => <VersionMenu model={model} version={version} />,
    }),
  ];
}

function VersionMenu({ model, version }: { model: Model; version: Version }) {
  const { workspace } = usePlace();
  const rights = useRights();
  const actions = useVersionActions(model.name, version, model.production_version);
  if (!rights.write || version.state !== "ready") return null;
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          aria-label={`Actions of version ${version.number}`}
          loading={actions.isBusy}
        >
          <IconDots size={17} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {!actions.isProduction && (
          <Menu.Item leftSection={<IconArrowUp size={15} />} onClick={() => void actions.promote()}>
            {actions.promoteTitle}
          </Menu.Item>
        )}
        <Menu.Item leftSection={<IconTag size={15} />} onClick={() => void actions.alias("staging")}>
          Call it staging
        </Menu.Item>
        {model.production_version !== null && !actions.isProduction && (
          <Menu.Item
            component={Link}
            leftSection={<IconGitCompare size={15} />}
            to={`/w/${workspace.name}/models/${model.name}/compare?from=${model.production_version}&to=${version.number}`}
          >
            Compare with production
          </Menu.Item>
        )}
        {actions.isOn ? (
          <Menu.Item leftSection={<IconPlayerStop size={15} />} onClick={() => void actions.stop()}>
            Stop
          </Menu.Item>
        ) : (
          <Menu.Item leftSection={<IconPlayerPlay size={15} />} onClick={() => actions.start()}>
            Start
          </Menu.Item>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}
