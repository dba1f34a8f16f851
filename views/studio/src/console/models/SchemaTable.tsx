import { Box, Table, Text } from "@mantine/core";
import type { Json, ModelSchema, SchemaField } from "../api/types";
import { formatNumber } from "../ui/format";
import { Section } from "../ui/Page";
import { fieldsOf, tensorText } from "./schema-body";

/** Fields and the kind of answer, in words. */
export function SchemaTable({ schema }: { schema: ModelSchema | null }) {
  const fields = fieldsOf(schema);
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
          {outputName(schema)}
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
  tensor: "tensor",
};

function typeName(field: SchemaField): string {
  const tensor = tensorText(field);
  return `${TYPE_NAMES[field.type] ?? field.type}${tensor ? ` of ${tensor}` : ""}${field.nullable ? ", may be empty" : ""}`;
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

function outputName(schema: ModelSchema | null): string {
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
