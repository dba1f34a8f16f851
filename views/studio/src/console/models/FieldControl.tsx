import { FileInput, Input, JsonInput, NumberInput, Select, Switch, Textarea } from "@mantine/core";
import type { SchemaField } from "../api/types";
import { choiceKey, type FieldValue, type FileValue, tensorText } from "./schema-body";

interface FieldControlProps {
  field: SchemaField;
  value: FieldValue;
  problem: string | undefined;
  onChange: (value: FieldValue) => void;
}

/** The control that fits a field of a model's schema. */
export function FieldControl({ field, value, problem, onChange }: FieldControlProps) {
  const shared = {
    label: field.title || field.name,
    description: field.description || tensorText(field),
    error: problem,
    required:
      !field.nullable &&
      (field.default === undefined || field.default === null) &&
      field.type !== "str" &&
      field.type !== "bool",
  };

  if (field.choices) {
    return (
      <Select
        {...shared}
        searchable={field.choices.length > 8}
        clearable={Boolean(field.nullable)}
        data={[...new Set(field.choices.map(choiceKey))]}
        value={typeof value === "string" && value !== "" ? value : null}
        onChange={(next) => onChange(next)}
      />
    );
  }
  switch (field.type) {
    case "float":
    case "int":
      return (
        <NumberInput
          {...shared}
          allowDecimal={field.type === "float"}
          step={field.step ?? (field.type === "int" ? 1 : stepFor(String(value ?? "")))}
          value={typeof value === "string" || typeof value === "number" ? value : ""}
          placeholder={field.nullable ? "empty" : undefined}
          onChange={(next) => onChange(String(next))}
        />
      );
    case "bool":
      return (
        <Input.Wrapper label={shared.label} description={shared.description} error={problem}>
          <Switch
            mt={4}
            label={value ? "yes" : "no"}
            aria-label={shared.label}
            checked={value === true}
            onChange={(event) => onChange(event.currentTarget.checked)}
          />
        </Input.Wrapper>
      );
    case "json":
    case "tensor":
      return (
        <JsonInput
          {...shared}
          autosize
          minRows={2}
          maxRows={10}
          formatOnBlur={field.type === "json"} // a tensor would become one number a line
          style={{ gridColumn: "1 / -1" }}
          styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)", fontSize: 13 } }}
          value={typeof value === "string" ? value : ""}
          onChange={onChange}
        />
      );
    case "file":
    case "image":
      return (
        <FileInput
          {...shared}
          clearable
          placeholder={isFileValue(value) ? value.name : "Choose a file"}
          accept={field.type === "image" ? "image/*" : undefined}
          onChange={(file) => void readFile(file).then(onChange)}
        />
      );
    case "str":
      return (
        <Textarea
          {...shared}
          autosize
          minRows={1}
          maxRows={8}
          value={typeof value === "string" ? value : ""}
          onChange={(event) => onChange(event.currentTarget.value)}
        />
      );
  }
}

async function readFile(file: File | null): Promise<FileValue | null> {
  if (!file) return null;
  const bytes = new Uint8Array(await file.arrayBuffer());
  return {
    name: file.name,
    type: file.type || "application/octet-stream",
    size: file.size,
    data: base64(bytes),
  };
}

/** In pieces: spreading a whole file into arguments overflows the stack. */
function base64(bytes: Uint8Array): string {
  const PIECE = 0x8000;
  let binary = "";
  for (let at = 0; at < bytes.length; at += PIECE) {
    binary += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  }
  return btoa(binary);
}

/** One step is one of the last digit shown: 5.1 moves by 0.1, 1200 by 1. */
function stepFor(text: string): number {
  const decimals = text.split(".")[1]?.length ?? 0;
  return decimals === 0 ? 1 : 10 ** -Math.min(decimals, 6);
}

function isFileValue(value: FieldValue): value is FileValue {
  return typeof value === "object" && value !== null;
}
