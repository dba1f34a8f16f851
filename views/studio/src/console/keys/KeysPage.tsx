import { Badge, Button, Code, Group, Modal, Stack, Switch, Text } from "@mantine/core";
import { IconKey, IconPlus } from "@tabler/icons-react";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo, useState } from "react";
import { useSearchParams } from "react-router";
import { useAction, useKeys, usePlace } from "../api/queries";
import type { CreatedKey, Key, Scope } from "../api/types";
import { useConfirm } from "../ui/Confirm";
import { type Columns, DataTable } from "../ui/DataTable";
import { Page, Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Empty, Loaded } from "../ui/States";
import { Ago } from "../ui/Time";
import { NewKey } from "./NewKey";
import { ShownOnce } from "./ShownOnce";
import { keyState } from "./scopes";

const column = createColumnHelper<Key>();
const columns: Columns<Key> = [
  column.accessor("name", {
    header: "Name",
    cell: ({ row: { original: key } }) => (
      <div>
        <Text size="sm" fw={600}>
          {key.name}
        </Text>
        <Code fz={11}>tf_{key.key_id}_…</Code>
      </div>
    ),
  }),
  column.accessor("scopes", {
    header: "Scopes",
    enableSorting: false,
    meta: { hideBelow: 640 },
    cell: (cell) => (
      <Group gap={4}>
        {cell.getValue().map((scope: Scope) => (
          <Badge key={scope} size="sm" variant="default" tt="none">
            {scope}
          </Badge>
        ))}
      </Group>
    ),
  }),
  column.accessor((key) => keyState(key, Date.now()), {
    id: "state",
    header: "State",
    cell: ({ getValue, row: { original: key } }) => (
      <div>
        <StateBadge state={getValue()} />
        {getValue() === "active" && key.expires_at && (
          <Text size="xs" c="dimmed" mt={2}>
            ends <Ago at={key.expires_at} />
          </Text>
        )}
      </div>
    ),
  }),
  column.accessor("last_used_at", {
    header: "Last used",
    meta: { hideBelow: 640 },
    cell: (cell) => <Ago at={cell.getValue()} fallback="never" />,
  }),
  column.accessor("created_at", {
    header: "Created",
    sortDescFirst: true,
    meta: { hideBelow: 900 },
    cell: ({ row: { original: key } }) => (
      <div>
        <Ago at={key.created_at} />
        <Text size="xs" c="dimmed" truncate maw={180}>
          {key.created_by ?? ""}
        </Text>
      </div>
    ),
  }),
  column.display({
    id: "actions",
    header: "",
    meta: { align: "right" },
    cell: ({ row: { original: key } }) => <Revoke apiKey={key} />,
  }),
];

export function Component() {
  const keys = useKeys();
  const [parameters, setParameters] = useSearchParams();
  const [created, setCreated] = useState<CreatedKey | null>(null);
  const [withEnded, setWithEnded] = useState(false);
  const isCreating = parameters.has("new");
  const setCreating = (is: boolean) => setParameters(is ? { new: "1" } : {}, { replace: true });
  const rows = useMemo(
    () => (keys.data ?? []).filter((key) => withEnded || keyState(key, Date.now()) === "active"),
    [keys.data, withEnded],
  );
  const endedCount = (keys.data ?? []).filter((key) => keyState(key, Date.now()) !== "active").length;
  const create = (
    <Button leftSection={<IconPlus size={16} />} onClick={() => setCreating(true)}>
      Create a key
    </Button>
  );

  return (
    <Page
      title="Keys"
      description="Programs use a key where people sign in."
      actions={keys.data && keys.data.length > 0 && create}
    >
      <Loaded query={keys} what="the keys">
        {(all) =>
          all.length === 0 ? (
            <Empty icon={<IconKey size={24} />} title="No keys yet" action={create}>
              A key lets an application call your models, or a notebook deploy them. It can do only what its
              scopes say.
            </Empty>
          ) : (
            <Stack gap="sm">
              {endedCount > 0 && (
                <Switch
                  size="sm"
                  label={`Show ${endedCount} revoked or expired`}
                  checked={withEnded}
                  onChange={(event) => setWithEnded(event.currentTarget.checked)}
                />
              )}
              <Section flush>
                <DataTable
                  label="Keys"
                  columns={columns}
                  rows={rows}
                  rowKey={({ id }) => id}
                  initialSort={[{ id: "created_at", desc: true }]}
                  empty="No active keys."
                />
              </Section>
            </Stack>
          )
        }
      </Loaded>
      <Modal opened={isCreating} onClose={() => setCreating(false)} title="Create a key" size="lg">
        <NewKey
          onCancel={() => setCreating(false)}
          onCreated={(key) => {
            setCreating(false);
            setCreated(key);
          }}
        />
      </Modal>
      <Modal
        opened={created !== null}
        onClose={() => setCreated(null)}
        title="Your new key"
        size="lg"
        closeOnClickOutside={false}
      >
        {created && <ShownOnce created={created} onDone={() => setCreated(null)} />}
      </Modal>
    </Page>
  );
}

function Revoke({ apiKey }: { apiKey: Key }) {
  const { api } = usePlace();
  const confirm = useConfirm();
  const revoke = useAction({
    run: () => api.revokeKey(apiKey.id),
    done: `Revoked ${apiKey.name}`,
    failed: "Could not revoke the key",
  });
  if (keyState(apiKey, Date.now()) !== "active") return null;
  const ask = async () => {
    const isSure = await confirm({
      title: `Revoke ${apiKey.name}?`,
      body: "Within a second, everything that uses it is refused. This cannot be undone; a new key takes its place.",
      action: "Revoke",
      isDestructive: true,
    });
    if (isSure) revoke.mutate();
  };
  return (
    <Button
      size="xs"
      variant="subtle"
      color="red"
      loading={revoke.isPending}
      onClick={() => void ask()}
      aria-label={`Revoke ${apiKey.name}`}
    >
      Revoke
    </Button>
  );
}
