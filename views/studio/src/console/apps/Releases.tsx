import { Anchor, Button, Group, Text } from "@mantine/core";
import { IconTag } from "@tabler/icons-react";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { Link } from "react-router";
import { useAction, usePlace, useReleases, useRights } from "../api/queries";
import type { App, Release } from "../api/types";
import { useConfirm } from "../ui/Confirm";
import { type Columns, DataTable } from "../ui/DataTable";
import { Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Empty, Loaded } from "../ui/States";
import { Ago } from "../ui/Time";

const column = createColumnHelper<Release>();

export function Releases({ app }: { app: App }) {
  const releases = useReleases(app.name);
  const { workspace } = usePlace();
  const root = `/w/${workspace.name}/apps/${app.name}/releases`;
  const columns = useMemo(() => columnsOf(root, app), [root, app]);
  return (
    <Loaded query={releases} what="the releases">
      {(rows) =>
        rows.length === 0 ? (
          <Empty icon={<IconTag size={24} />} title="No release yet">
            A release pins the app's files, environments and model versions. People see the live one.
          </Empty>
        ) : (
          <Section flush>
            <DataTable
              label={`Releases of ${app.name}`}
              columns={columns}
              rows={rows}
              rowKey={({ number }) => String(number)}
              href={({ number }) => `${root}/${number}`}
              initialSort={[{ id: "number", desc: true }]}
            />
          </Section>
        )
      }
    </Loaded>
  );
}

function columnsOf(root: string, app: App): Columns<Release> {
  return [
    column.accessor("number", {
      header: "Release",
      sortDescFirst: true,
      cell: ({ row: { original: release } }) => (
        <Anchor component={Link} to={`${root}/${release.number}`} size="sm" fw={600} c="inherit">
          {release.number}
        </Anchor>
      ),
    }),
    column.accessor("state", {
      header: "State",
      cell: ({ row: { original: release } }) => (
        <Group gap={6}>
          {release.live ? <StateBadge state="live" /> : <StateBadge state={release.state} />}
          {release.state === "failed" && (
            <Text size="xs" c="var(--tf-bad)" lineClamp={1} maw={280}>
              {release.reason}
            </Text>
          )}
        </Group>
      ),
    }),
    column.accessor("note", {
      header: "Note",
      enableSorting: false,
      meta: { hideBelow: 640 },
      cell: (cell) => (
        <Text size="sm" lineClamp={1} maw={320} c={cell.getValue() ? undefined : "dimmed"}>
          {cell.getValue() || "–"}
        </Text>
      ),
    }),
    column.accessor("created_at", {
      header: "Made",
      meta: { hideBelow: 640 },
      sortDescFirst: true,
      cell: ({ row: { original: release } }) => (
        <div>
          <Ago at={release.created_at} />
          <Text size="xs" c="dimmed" truncate maw={180}>
            {release.created_by}
          </Text>
        </div>
      ),
    }),
    column.display({
      id: "actions",
      header: "",
      meta: { align: "right" },
      cell: ({ row: { original: release } }) => (
        <LiveButton app={app.name} release={release} live={app.live_release} size="xs" />
      ),
    }),
  ];
}

interface LiveButtonProps {
  app: string;
  release: Release;
  live: number | null;
  size?: "xs" | "sm";
}

export function LiveButton({ app, release, live, size = "sm" }: LiveButtonProps) {
  const { api } = usePlace();
  const rights = useRights();
  const confirm = useConfirm();
  const isRollback = live !== null && release.number < live;
  const setLive = useAction({
    run: () => api.setLive(app, release.number),
    done: `Release ${release.number} is live`,
    failed: "Could not make it live",
  });
  if (!rights.write || release.live || release.state !== "ready") return null;
  const ask = async () => {
    const isSure = await confirm({
      title: isRollback ? `Roll back to release ${release.number}?` : `Make release ${release.number} live?`,
      body: live
        ? `People and callers get release ${release.number} instead of ${live}, from the next request on.`
        : `People and callers get release ${release.number}.`,
      action: isRollback ? "Roll back" : "Make it live",
    });
    if (isSure) setLive.mutate();
  };
  return (
    <Button
      size={size}
      variant={size === "xs" ? "default" : "filled"}
      loading={setLive.isPending}
      onClick={() => void ask()}
    >
      {isRollback ? "Roll back" : "Make live"}
    </Button>
  );
}
