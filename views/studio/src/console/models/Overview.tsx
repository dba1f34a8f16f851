import {
  ActionIcon,
  Anchor,
  Badge,
  Button,
  Group,
  Menu,
  SimpleGrid,
  Stack,
  Table,
  Text,
  Textarea,
  Tooltip,
} from "@mantine/core";
import {
  IconArrowBackUp,
  IconArrowsSplit2,
  IconArrowUp,
  IconCopy,
  IconDots,
  IconPencil,
  IconX,
} from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";
import { useAction, usePlace, useRights } from "../api/queries";
import type { Model } from "../api/types";
import { CallFrom } from "../ui/CallFrom";
import { CopyLine } from "../ui/CodeBlock";
import { useConfirm } from "../ui/Confirm";
import { formatNumber } from "../ui/format";
import { Facts, Section } from "../ui/Page";
import { Ago } from "../ui/Time";
import { CanaryDialog } from "./Canary";
import { Scale } from "./Scale";
import { SchemaTable } from "./SchemaTable";
import { ShadowDialog, Shadows } from "./Shadow";
import { modelCall } from "./snippets";

export function Overview({ model }: { model: Model }) {
  return (
    <Stack gap="lg">
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <About model={model} />
        <Aliases model={model} />
      </SimpleGrid>
      <Shadows model={model} />
      <CallFrom call={modelCall(model.endpoint, model.schema, model.example ?? undefined)} />
      <SchemaTable schema={model.schema} />
    </Stack>
  );
}

function About({ model }: { model: Model }) {
  return (
    <Section title="About">
      <Stack gap="md">
        <Description model={model} />
        <Facts
          facts={[
            ["Endpoint", <CopyLine key="endpoint" text={model.endpoint} label="Copy the endpoint" />],
            ["Replicas", <Scale key="replicas" model={model} />],
            ["Created", <Ago key="created" at={model.created_at} />],
            ["Updated", <Ago key="updated" at={model.updated_at} />],
            ...(model.tags.length > 0
              ? [
                  [
                    "Tags",
                    <Group key="tags" gap={4}>
                      {model.tags.map((tag) => (
                        <Badge key={tag} variant="default" tt="none">
                          {tag}
                        </Badge>
                      ))}
                    </Group>,
                  ] as [string, React.ReactNode],
                ]
              : []),
          ]}
        />
      </Stack>
    </Section>
  );
}

/** Edited where it is read. Ctrl+Enter saves, Escape leaves it as it was. */
function Description({ model }: { model: Model }) {
  const { api } = usePlace();
  const rights = useRights();
  const [draft, setDraft] = useState<string | null>(null);
  const save = useAction({
    run: (description: string) => api.changeModel(model.name, { description }),
    done: "Description saved",
    failed: "Could not save the description",
    after: () => setDraft(null),
  });

  if (draft === null) {
    return (
      <Group gap="xs" wrap="nowrap" align="flex-start">
        <Text
          flex={1}
          size="sm"
          c={model.description ? undefined : "dimmed"}
          style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}
        >
          {model.description || "No description yet. Say what it predicts and for whom."}
        </Text>
        {rights.write && (
          <Tooltip label="Edit the description">
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label="Edit the description"
              onClick={() => setDraft(model.description)}
            >
              <IconPencil size={16} />
            </ActionIcon>
          </Tooltip>
        )}
      </Group>
    );
  }
  return (
    <Stack gap="xs">
      <Textarea
        autoFocus
        autosize
        minRows={3}
        maxRows={14}
        aria-label="Description"
        value={draft}
        onChange={(event) => setDraft(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") setDraft(null);
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save.mutate(draft);
        }}
      />
      <Group gap="xs">
        <Button size="xs" loading={save.isPending} onClick={() => save.mutate(draft)}>
          Save
        </Button>
        <Button size="xs" variant="default" onClick={() => setDraft(null)}>
          Cancel
        </Button>
      </Group>
    </Stack>
  );
}

function Aliases({ model }: { model: Model }) {
  const [canaryOf, setCanaryOf] = useState<string | null>(null);
  const [shadowOf, setShadowOf] = useState<string | null>(null);
  const aliases = Object.entries(model.aliases).sort(
    ([a], [b]) => Number(b === "production") - Number(a === "production") || a.localeCompare(b),
  );
  return (
    <Section title="Aliases" flush>
      {aliases.length === 0 ? (
        <Text p="lg" size="sm" c="dimmed">
          No alias yet. The first version that becomes ready is called production; promote one under Versions.
        </Text>
      ) : (
        <Table verticalSpacing={10} horizontalSpacing="lg">
          <Table.Tbody>
            {aliases.map(([alias, number]) => (
              <AliasRow
                key={alias}
                model={model}
                alias={alias}
                number={number}
                onCanary={() => setCanaryOf(alias)}
                onShadow={() => setShadowOf(alias)}
              />
            ))}
          </Table.Tbody>
        </Table>
      )}
      {shadowOf && <ShadowDialog model={model} alias={shadowOf} onClose={() => setShadowOf(null)} />}
      {canaryOf && <CanaryDialog model={model} alias={canaryOf} onClose={() => setCanaryOf(null)} />}
    </Section>
  );
}

function AliasRow({
  model,
  alias,
  number,
  onCanary,
  onShadow,
}: {
  model: Model;
  alias: string;
  number: number;
  onCanary: () => void;
  onShadow: () => void;
}) {
  const { api, workspace } = usePlace();
  const rights = useRights();
  const confirm = useConfirm();
  const canary = model.canaries[alias];
  const shadow = model.shadows[alias];
  const versions = `/w/${workspace.name}/models/${model.name}/versions`;
  const remove = useAction({
    run: () => api.deleteAlias(model.name, alias),
    done: `Removed the alias ${alias}`,
    failed: "Could not remove the alias",
  });
  const endCanary = useAction({
    run: () => api.deleteCanary(model.name, alias),
    done: `All of ${alias} goes to version ${number}`,
    failed: "Could not end the canary",
  });
  const promote = useAction({
    run: (canaryVersion: number) => api.setAlias(model.name, alias, canaryVersion),
    done: (_, canaryVersion) => `${alias} is now version ${canaryVersion}`,
    failed: "Could not promote the canary",
  });
  const askRemove = async () => {
    const isSure = await confirm({
      title: `Remove the alias ${alias}?`,
      body: `Calls to ${model.name}@${alias} will answer 404. The version itself stays.`,
      action: "Remove",
      isDestructive: true,
    });
    if (isSure) remove.mutate();
  };
  const askPromote = async (canaryVersion: number) => {
    const isSure = await confirm({
      title: `Promote version ${canaryVersion}?`,
      body: `All calls to ${alias} get version ${canaryVersion} instead of version ${number}, and the canary ends.`,
      action: "Promote",
    });
    if (isSure) promote.mutate(canaryVersion);
  };
  return (
    <Table.Tr>
      <Table.Td>
        <Text size="sm" fw={600}>
          {alias}
        </Text>
        <Text size="xs" c="dimmed">
          {alias === "production" ? "what callers get" : `called as ${model.name}@${alias}`}
        </Text>
      </Table.Td>
      <Table.Td>
        <Anchor component={Link} size="sm" to={`${versions}/${number}`}>
          version {number}
        </Anchor>
        {canary && (
          <Text size="xs" c="dimmed">
            {formatNumber(canary.percent)} % to{" "}
            <Anchor component={Link} inherit to={`${versions}/${canary.version}`}>
              version {canary.version}
            </Anchor>
            {" · "}
            <Anchor
              component={Link}
              inherit
              to={`/w/${workspace.name}/models/${model.name}/compare?from=${number}&to=${canary.version}`}
            >
              compare
            </Anchor>
          </Text>
        )}
        {shadow && (
          <Text size="xs" c="dimmed">
            {formatNumber(shadow.percent)} % also to{" "}
            <Anchor component={Link} inherit to={`${versions}/${shadow.version}`}>
              version {shadow.version}
            </Anchor>
            , its shadow
          </Text>
        )}
      </Table.Td>
      <Table.Td ta="right" w={56}>
        {rights.write && (
          <Menu position="bottom-end">
            <Menu.Target>
              <ActionIcon
                variant="subtle"
                color="gray"
                aria-label={`Actions of ${alias}`}
                loading={remove.isPending || endCanary.isPending || promote.isPending}
              >
                <IconDots size={17} />
              </ActionIcon>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Item leftSection={<IconArrowsSplit2 size={15} />} onClick={onCanary}>
                {canary ? "Change the canary" : "Try another version on part of it"}
              </Menu.Item>
              {canary && (
                <>
                  <Menu.Item
                    leftSection={<IconArrowUp size={15} />}
                    onClick={() => void askPromote(canary.version)}
                  >
                    Promote version {canary.version}
                  </Menu.Item>
                  <Menu.Item leftSection={<IconArrowBackUp size={15} />} onClick={() => endCanary.mutate()}>
                    End the canary
                  </Menu.Item>
                </>
              )}
              <Menu.Item leftSection={<IconCopy size={15} />} onClick={onShadow}>
                {shadow ? "Change the shadow" : "Compare another version on its calls"}
              </Menu.Item>
              <Menu.Divider />
              <Menu.Item color="red" leftSection={<IconX size={15} />} onClick={() => void askRemove()}>
                Remove the alias {alias}
              </Menu.Item>
            </Menu.Dropdown>
          </Menu>
        )}
      </Table.Td>
    </Table.Tr>
  );
}
