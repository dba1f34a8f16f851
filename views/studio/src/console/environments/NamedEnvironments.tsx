import { ActionIcon, Anchor, Menu, Table, Text } from "@mantine/core";
import { IconDots, IconPencil, IconRefresh, IconTrash } from "@tabler/icons-react";
import { Link } from "react-router";
import { useAction, usePlace, useRights } from "../api/queries";
import type { NamedEnvironment } from "../api/types";
import { useConfirm } from "../ui/Confirm";
import { Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Ago } from "../ui/Time";

interface Props {
  rows: NamedEnvironment[];
  onEdit: (environment: NamedEnvironment) => void;
}

/** Lists of requirements under a name, which apps and models share. */
export function NamedEnvironments({ rows, onEdit }: Props) {
  const { workspace } = usePlace();
  const rights = useRights();
  const root = `/w/${workspace.name}/environments`;
  return (
    <Section title="Named" flush>
      <Table horizontalSpacing="lg" verticalSpacing={10} aria-label="Named environments">
        <Table.Tbody>
          {rows.map((row) => (
            <Table.Tr key={row.name}>
              <Table.Td>
                <Anchor component={Link} to={`${root}/${row.environment.id}`} size="sm" fw={600} c="inherit">
                  {row.name}
                </Anchor>
                <Text size="xs" c="dimmed" lineClamp={1}>
                  {row.description || row.requirements.join(", ") || "standard library only"}
                </Text>
              </Table.Td>
              <Table.Td>
                <StateBadge state={row.environment.state} />
                {row.coming && (
                  <Text size="xs" mt={3} c={row.coming.state === "failed" ? "var(--tf-bad)" : "dimmed"}>
                    <Anchor component={Link} to={`${root}/${row.coming.id}`} inherit c="inherit">
                      {row.coming.state === "failed"
                        ? "the last edit could not be built"
                        : "the last edit is being built"}
                    </Anchor>
                  </Text>
                )}
              </Table.Td>
              <Table.Td visibleFrom="sm">
                <Text size="sm">Python {row.python_version ?? "default"}</Text>
              </Table.Td>
              <Table.Td visibleFrom="sm">
                <Ago at={row.updated_at} />
                <Text size="xs" c="dimmed">
                  {row.updated_by}
                </Text>
              </Table.Td>
              <Table.Td ta="right" w={56}>
                {rights.write && <NameMenu environment={row} onEdit={() => onEdit(row)} />}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Section>
  );
}

function NameMenu({ environment, onEdit }: { environment: NamedEnvironment; onEdit: () => void }) {
  const { api } = usePlace();
  const confirm = useConfirm();
  const upgrade = useAction({
    run: () => api.rebuildEnvironment(environment.environment.id, true),
    done: `Looking for newer packages for ${environment.name}`,
    failed: "Could not upgrade it",
  });
  const remove = useAction({
    run: () => api.deleteNamedEnvironment(environment.name),
    done: `${environment.name} is no longer a name`,
    failed: "Could not delete the name",
  });
  const ask = async () => {
    const isSure = await confirm({
      title: `Delete the name ${environment.name}?`,
      body: "What runs keeps its environment. New versions and releases can no longer ask for it by this name.",
      action: "Delete the name",
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
          aria-label={`Actions of ${environment.name}`}
          loading={upgrade.isPending || remove.isPending}
        >
          <IconDots size={17} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item leftSection={<IconPencil size={15} />} onClick={onEdit}>
          Edit the requirements
        </Menu.Item>
        <Menu.Item
          leftSection={<IconRefresh size={15} />}
          disabled={environment.coming !== null}
          onClick={() => upgrade.mutate()}
        >
          Upgrade to newer packages
        </Menu.Item>
        <Menu.Item color="red" leftSection={<IconTrash size={15} />} onClick={() => void ask()}>
          Delete the name
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
