import { createContext, type FormEvent, use, useMemo } from "react";
import type { JsonObject } from "../../engine/document";
import { flag, space, type ViewComponent, type ViewProps } from "../contract";
import styles from "./form.module.css";

interface Surrounding {
  disabled: boolean;
  /** Someone tried to submit: errors of fields that were not touched show too. */
  attempted: boolean;
}

const SurroundingForm = createContext<Surrounding>({ disabled: false, attempted: false });

/** The form around an input, as far as the input must know of it. */
export function useSurroundingForm(): Surrounding {
  return use(SurroundingForm);
}

function Form({ props, local, outputs, emit, setLocal, slot }: ViewProps) {
  const disabled = flag(props.disabled);
  const attempted = flag(local.attempted);
  const surrounding = useMemo(() => ({ disabled, attempted }), [disabled, attempted]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    event.stopPropagation();
    setLocal({ attempted: true });
    if (outputs.valid && !disabled) emit("submit", { value: outputs.value ?? null });
  };
  return (
    <SurroundingForm value={surrounding}>
      <form className={styles.form} style={{ gap: space(props.gap) }} onSubmit={submit} noValidate>
        {slot("body")}
      </form>
    </SurroundingForm>
  );
}

function outputsOf(_props: JsonObject, _local: JsonObject, inside: Record<string, JsonObject>): JsonObject {
  const inputs = Object.entries(inside);
  return {
    value: Object.fromEntries(inputs.map(([name, outputs]) => [name, outputs.value ?? null])),
    valid: inputs.every(([, outputs]) => outputs.valid !== false),
  };
}

export const form: ViewComponent = { type: "form", Component: Form, outputsOf };
