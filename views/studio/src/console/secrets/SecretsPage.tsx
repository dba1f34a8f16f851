import { ActionIcon, Anchor, Button, Code, Group, Menu, Modal, Text } from "@mantine/core";
import { IconDots, IconLock, IconPencil, IconPlus, IconTrash } from "@tabler/icons-react";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo, useState } from "react";
import { Link } from "react-router";
import { useAction, usePlace, useSecrets } from "../api/queries";
import type { Secret } from "../api/types";
import { useConfirm } from "../ui/Confirm";
import { type Columns, DataTable } from "../ui/DataTable";
import { Page, Section } from "../ui/Page";
import { Empty, Loaded } from "../ui/States";
import { Ago } from "../ui/Time";
import { SecretForm } from "./SecretForm";

const column = createColumnHelper<Secret>();

/** `null` while nothing is edited; a secret to change; "new". */
type Editing = Secret | "new" | null;

export function Component() {
  const secrets = useSecrets();
  const { workspace } = usePlace();
  const [editing, setEditing] = useState<Editing>(null);
  const columns = useMemo(() => columnsOf(`/w/${workspace.name}`, setEditing), [workspace.name]);
  const add = (
    <Button leftSection={<IconPlus size={16} />} onClick={() => setEditing("new")}>
      Add a secret
    </Button>
  );
  return (
    <Page
      title="Secrets"
      description="Tokens and passwords that models use. A value goes in and reaches only the models that declare it; nobody can read it here again."
      actions={secrets.data && secrets.data.length > 0 && add}
    >
      <Loaded query={secrets} what="the secrets">
        {(rows) =>
          rows.length === 0 ? (
            <Empty icon={<IconLock size={24} />} title="No secrets yet" action={add}>
              A model that declares <Code>secrets: {"{HF_TOKEN: null}"}</Code> in its config.yaml, or is
              deployed with <Code>secrets=["HF_TOKEN"]</Code>, gets the value from here when it starts.
            </Empty>
          ) : (
            <Section flush>
              <DataTable
                label="Secrets"
                columns={columns}
                rows={rows}
                rowKey={({ name }) => name}
                initialSort={[{ id: "name", desc: false }]}
              />
            </Section>
          )
        }
      </Loaded>
      <Modal
        opened={editing !== null}
        onClose={() => setEditing(null)}
        title={editing === "new" ? "Add a secret" : `New value for ${editing?.name ?? ""}`}
      >
        {editing !== null && (
          <SecretForm secret={editing === "new" ? null : editing} onDone={() => setEditing(null)} />
        )}
      </Modal>
    </Page>
  );
}

function columnsOf(root: string, edit: (secret: Secret) => void): Columns<Secret> {
  return [
    column.accessor("name", {
      header: "Name",
      cell: ({ row: { original: secret } }) => (
        <div>
          <Code fz={13}>{secret.name}</Code>
          {secret.description && (
            <Text size="xs" c="dimmed" mt={3}>
              {secret.description}
            </Text>
          )}
        </div>
      ),
    }),
    column.accessor(({ used_by }) => used_by.length, {
      id: "used_by",
      header: "Running models that use it",
      meta: { hideBelow: 640 },
      cell: ({ row: { original: secret } }) =>
        secret.used_by.length === 0 ? (
          <Text span size="sm" c="dimmed">
            none
          </Text>
        ) : (
          <Group gap="xs">
            {secret.used_by.map(({ model, version }) => (
              <Anchor
                key={`${model}@${version}`}
                component={Link}
                size="sm"
                to={`${root}/models/${model}/versions/${version}`}
              >
                {model} v{version}
              </Anchor>
            ))}
          </Group>
        ),
    }),
    column.accessor("updated_at", {
      header: "Set",
      sortDescFirst: true,
      meta: { hideBelow: 640 },
      cell: ({ row: { original: secret } }) => (
        <div>
          <Ago at={secret.updated_at} />
          <Text size="xs" c="dimmed" truncate maw={180}>
            {secret.updated_by}
          </Text>
        </div>
      ),
    }),
    column.display({
      id: "actions",
      header: "",
      meta: { align: "right", width: 56 },
      cell: ({ row: { original: secret } }) => <SecretMenu secret={secret} onEdit={() => edit(secret)} />,
    }),
  ];
}

function SecretMenu({ secret, onEdit }: { secret: Secret; onEdit: () => void }) {
  const { api } = usePlace();
  const confirm = useConfirm();
  const remove = useAction({
    run: () => api.deleteSecret(secret.name),
    done: `Deleted ${secret.name}`,
    failed: "Could not delete the secret",
  });
  const ask = async () => {
    const users = secret.used_by.map(({ model, version }) => `${model} version ${version}`).join(", ");
    const isSure = await confirm({
      title: `Delete ${secret.name}?`,
      body: users
        ? `${users} keep the value they have until they are started again, and then will not find it.`
        : "No running model uses it.",
      action: "Delete",
      isDestructive: true,
    });
    if (isSure) remove.mutate();
  };
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          aria-label={`Actions of ${secret.name}`}
          loading={remove.isPending}
        >
          <IconDots size={17} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item leftSection={<IconPencil size={15} />} onClick={onEdit}>
          Set a new value
        </Menu.Item>
        <Menu.Item color="red" leftSection={<IconTrash size={15} />} onClick={() => void ask()}>
          Delete
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
