import { Button, NumberInput, Select, Switch, Textarea, TextInput } from "@mantine/core";
import { type FormEvent, memo, useCallback } from "react";
import { isFileValue } from "../../engine/actions";
import type { Json, JsonObject } from "../../engine/document";
import { isObject } from "../../engine/values";
import { flag, number, optionalText, text, type ViewComponent, type ViewProps } from "../contract";
import { FileDrop } from "../file-picker/FileDrop";
import { useSurroundingForm } from "../form";
import { parsedNumber } from "../number";
import { keyOf, optionsOf } from "../select/options";
import { entered, type Field, fieldsOf, formState, parsedJson, stepOf } from "./fields";
import styles from "./schema-form.module.css";

const MOST_BYTES = 20e6;

function SchemaForm({ props, local, outputs, busy, setLocal, emit, name }: ViewProps) {
  const surrounding = useSurroundingForm();
  const fields = fieldsOf(props.schema);
  const { value, errors, texts } = formState(props, local);
  const touched = isObject(local.touched) ? local.touched : {};
  const attempted = flag(local.attempted) || surrounding.attempted;
  const disabled = flag(props.disabled) || surrounding.disabled;
  const submitLabel = optionalText(props.submit_label);

  const enter = (field: string, next: Json, typed?: string) => {
    setLocal(entered(props, local, field, next, typed));
    emit("change", { value: { ...value, [field]: next } });
  };
  const leave = useCallback(
    (field: string) => setLocal({ touched: { ...touched, [field]: true } }),
    [setLocal, touched],
  );
  const submit = (event: FormEvent) => {
    event.preventDefault();
    event.stopPropagation();
    setLocal({ attempted: true });
    if (outputs.valid) emit("submit", { value });
    else focusFirstError(event.currentTarget);
  };

  const controls = (
    <div className={styles.container}>
      <div className={styles.fields} style={{ "--columns": columnsOf(props, fields) }}>
        {fields.map((field) => (
          // biome-ignore lint/a11y/noStaticElementInteractions: it only hears that the control inside was left
          <div
            key={field.name}
            className={styles.field}
            data-wide={isWide(field) || undefined}
            onBlur={() => leave(field.name)}
          >
            <Control
              field={field}
              id={`${name}-${field.name}`}
              value={value[field.name] ?? null}
              typed={texts[field.name]}
              error={attempted || touched[field.name] ? (errors[field.name] ?? null) : null}
              disabled={disabled}
              onChange={(next, typed) => enter(field.name, next, typed)}
            />
          </div>
        ))}
      </div>
    </div>
  );
  if (fields.length === 0 && !submitLabel) return null;
  if (!submitLabel) return controls;
  return (
    <form className={styles.form} onSubmit={submit} noValidate>
      {controls}
      <Button
        type="submit"
        size="md"
        className={styles.submit}
        disabled={disabled}
        loading={busy || flag(props.loading)}
      >
        {submitLabel}
      </Button>
    </form>
  );
}

interface ControlProps {
  field: Field;
  id: string;
  value: Json;
  typed: string | undefined;
  error: string | null;
  disabled: boolean;
  onChange: (value: Json, typed?: string) => void;
}

/** The control that suits the field. */
const Control = memo(function Control({ field, id, value, typed, error, disabled, onChange }: ControlProps) {
  const shared = {
    id,
    label: field.title,
    description: field.description || undefined,
    error,
    disabled,
    withAsterisk: false,
    required: !field.nullable,
  };
  if (field.choices) {
    const options = optionsOf(field.choices);
    return (
      <Select
        {...shared}
        placeholder="Choose…"
        data={options.map(({ key, label }) => ({ value: key, label }))}
        value={value === null ? null : keyOf(value)}
        onChange={(key) => onChange(options.find((option) => option.key === key)?.value ?? null)}
        searchable={options.length > 10}
        clearable={field.nullable}
        allowDeselect={field.nullable}
        nothingFoundMessage="Nothing like it"
      />
    );
  }
  switch (field.type) {
    case "int":
    case "float":
      return (
        <NumberInput
          {...shared}
          placeholder={rangeOf(field)}
          value={typed ?? number(value) ?? ""}
          min={field.minimum}
          max={field.maximum}
          step={stepOf(field)}
          clampBehavior="none"
          allowDecimal={field.type === "float"}
          onChange={(next) => onChange(parsedNumber(next), typeof next === "string" ? next : undefined)}
        />
      );
    case "bool":
      return field.nullable ? (
        <Select
          {...shared}
          placeholder="Unknown"
          clearable
          data={[
            { value: "true", label: "Yes" },
            { value: "false", label: "No" },
          ]}
          value={value === null ? null : String(value)}
          onChange={(key) => onChange(key === null ? null : key === "true")}
        />
      ) : (
        <Switch
          className={styles.switch}
          id={id}
          label={field.title}
          description={shared.description}
          disabled={disabled}
          checked={flag(value)}
          onChange={(event) => onChange(event.currentTarget.checked)}
        />
      );
    case "json":
      return (
        <Textarea
          {...shared}
          classNames={{ input: styles.code }}
          autosize
          minRows={3}
          maxRows={16}
          spellCheck={false}
          value={typed ?? (value === null ? "" : JSON.stringify(value, null, 2))}
          onChange={(event) => {
            const next = event.currentTarget.value;
            onChange(parsedJson(next) ?? null, next);
          }}
        />
      );
    case "file":
    case "image":
      return (
        <FileDrop
          label={field.title}
          description={shared.description}
          error={error}
          disabled={disabled}
          limits={{ accept: field.type === "image" ? ["image/*"] : [], maxBytes: MOST_BYTES }}
          file={isFileValue(value) ? value : null}
          onFile={(file) => onChange(file as Json)}
        />
      );
    case "str":
      return field.multiline ? (
        <Textarea
          {...shared}
          autosize
          minRows={4}
          maxRows={20}
          value={text(value)}
          onChange={(event) => onChange(event.currentTarget.value)}
        />
      ) : (
        <TextInput
          {...shared}
          value={text(value)}
          onChange={(event) => onChange(event.currentTarget.value)}
        />
      );
  }
});

function rangeOf(field: Field): string | undefined {
  const { minimum, maximum } = field;
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`;
  if (minimum !== undefined) return `${minimum} or more`;
  return maximum === undefined ? undefined : `${maximum} or less`;
}

function isWide(field: Field): boolean {
  return field.multiline || ["json", "file", "image"].includes(field.type);
}

function columnsOf(props: JsonObject, fields: Field[]): number {
  return Math.max(1, Math.min(number(props.columns) ?? 2, 4, fields.length));
}

function focusFirstError(form: EventTarget & Element): void {
  // The errors are drawn first.
  requestAnimationFrame(() =>
    form.querySelector<HTMLElement>("[aria-invalid='true'], [data-error] input")?.focus(),
  );
}

export const schemaForm: ViewComponent = {
  type: "schema-form",
  Component: SchemaForm,
  skeleton: 240,
  outputsOf: (props, local) => {
    const { value, errors } = formState(props, local);
    return { value, errors, valid: Object.keys(errors).length === 0 };
  },
  localFor: (_member, value, local) => ({ ...local, values: isObject(value) ? value : {}, texts: {} }),
};
