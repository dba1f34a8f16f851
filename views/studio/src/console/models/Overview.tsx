import {
  ActionIcon,
  Anchor,
  Badge,
  Box,
  Button,
  Group,
  SimpleGrid,
  Stack,
  Table,
  Text,
  Textarea,
  Tooltip,
} from "@mantine/core";
import { IconPencil, IconX } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";
import { useAction, usePlace, useRights } from "../api/queries";
import type { Json, Model, SchemaField } from "../api/types";
import { CallFrom } from "../ui/CallFrom";
import { CopyLine } from "../ui/CodeBlock";
import { useConfirm } from "../ui/Confirm";
import { formatNumber } from "../ui/format";
import { Facts, Section } from "../ui/Page";
import { Ago } from "../ui/Time";
import { fieldsOf } from "./schema-body";
import { modelCall } from "./snippets";

export function Overview({ model }: { model: Model }) {
  return (
    <Stack gap="lg">
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <About model={model} />
        <Aliases model={model} />
      </SimpleGrid>
      <CallFrom call={modelCall(model.endpoint, model.schema, model.example ?? undefined)} />
      <SchemaTable model={model} />
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
  const { api, workspace } = usePlace();
  const rights = useRights();
  const confirm = useConfirm();
  const aliases = Object.entries(model.aliases).sort(
    ([a], [b]) => Number(b === "production") - Number(a === "production") || a.localeCompare(b),
  );
  const remove = useAction({
    run: (alias: string) => api.deleteAlias(model.name, alias),
    done: (_, alias) => `Removed the alias ${alias}`,
    failed: "Could not remove the alias",
  });
  const ask = async (alias: string) => {
    const isSure = await confirm({
      title: `Remove the alias ${alias}?`,
      body: `Calls to ${model.name}@${alias} will answer 404. The version itself stays.`,
      action: "Remove",
      isDestructive: true,
    });
    if (isSure) remove.mutate(alias);
  };
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
              <Table.Tr key={alias}>
                <Table.Td>
                  <Text size="sm" fw={600}>
                    {alias}
                  </Text>
                  <Text size="xs" c="dimmed">
                    {alias === "production" ? "what callers get" : `called as ${model.name}@${alias}`}
                  </Text>
                </Table.Td>
                <Table.Td>
                  <Anchor
                    component={Link}
                    size="sm"
                    to={`/w/${workspace.name}/models/${model.name}/versions/${number}`}
                  >
                    version {number}
                  </Anchor>
                </Table.Td>
                <Table.Td ta="right" w={56}>
                  {rights.write && (
                    <Tooltip label={`Remove ${alias}`}>
                      <ActionIcon
                        variant="subtle"
                        color="gray"
                        aria-label={`Remove the alias ${alias}`}
                        onClick={() => void ask(alias)}
                      >
                        <IconX size={16} />
                      </ActionIcon>
                    </Tooltip>
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </Section>
  );
}

function SchemaTable({ model }: { model: Model }) {
  const fields = fieldsOf(model.schema);
  return (
    <Section title="What it takes and gives" flush>
      {fields.length === 0 ? (
        <Text p="lg" size="sm" c="dimmed">
          This model did not say what it takes: any JSON goes. Deploy it with an example, or annotate predict,
          and the fields appear here.
        </Text>
      ) : (
        <Box style={{ overflowX: "auto" }}>
          <Table verticalSpacing={9} horizontalSpacing="lg">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Field</Table.Th>
                <Table.Th>Type</Table.Th>
                <Table.Th>Values</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {fields.map((field) => (
                <Table.Tr key={field.name}>
                  <Table.Td>
                    <Text size="sm" fw={550} ff="monospace" fz={13}>
                      {field.name}
                    </Text>
                    {(field.title || field.description) && (
                      <Text size="xs" c="dimmed">
                        {[field.title, field.description].filter(Boolean).join(": ")}
                      </Text>
                    )}
                  </Table.Td>
                  <Table.Td>
                    <Text size="sm">{typeName(field)}</Text>
                  </Table.Td>
                  <Table.Td>
                    <Text size="sm" c="dimmed">
                      {valuesOf(field)}
                    </Text>
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Box>
      )}
      <Box px="lg" py="sm" style={{ borderTop: "1px solid var(--tf-border)" }}>
        <Text size="sm">
          <Text span c="dimmed" inherit>
            Gives{" "}
          </Text>
          {outputName(model)}
        </Text>
      </Box>
    </Section>
  );
}

const TYPE_NAMES: Record<SchemaField["type"], string> = {
  float: "number",
  int: "whole number",
  str: "text",
  bool: "yes or no",
  json: "any JSON",
  file: "file",
  image: "image",
};

function typeName(field: SchemaField): string {
  return `${TYPE_NAMES[field.type] ?? field.type}${field.nullable ? ", may be empty" : ""}`;
}

function valuesOf({ choices, minimum, maximum, default: preset }: SchemaField): string {
  const parts: string[] = [];
  if (choices)
    parts.push(
      choices.slice(0, 8).map(text).join(", ") + (choices.length > 8 ? `, … (${choices.length})` : ""),
    );
  const low = minimum ?? null;
  const high = maximum ?? null;
  if (low !== null && high !== null) parts.push(`${formatNumber(low)} to ${formatNumber(high)}`);
  else if (low !== null) parts.push(`at least ${formatNumber(low)}`);
  else if (high !== null) parts.push(`at most ${formatNumber(high)}`);
  if (preset !== undefined && preset !== null) parts.push(`default ${text(preset)}`);
  return parts.join(" · ");
}

function outputName({ schema }: Model): string {
  const output = schema?.output;
  switch (output?.kind) {
    case "classification": {
      const classes = output.classes ?? [];
      const names = classes.slice(0, 8).map(text).join(", ") + (classes.length > 8 ? ", …" : "");
      return `one of ${classes.length || "several"} classes${names && `: ${names}`}${output.probabilities ? ", with probabilities" : ""}`;
    }
    case "regression":
      return output.name ? `a number: ${output.name}` : "a number";
    case "scores":
      return "a score for each label";
    case "text":
      return "text";
    case "image":
      return "an image";
    case "table":
      return "a table";
    default:
      return "JSON";
  }
}

function text(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
