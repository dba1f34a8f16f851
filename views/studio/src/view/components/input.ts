import type { Json, JsonObject } from "../engine/document";
import { flag, optionalText, text, type ViewProps } from "./contract";
import { useSurroundingForm } from "./form";

/** What a person entered, or the default while nobody did. */
export function currentValue(props: JsonObject, local: JsonObject): Json {
  return "value" in local ? (local.value ?? null) : (props.default ?? null);
}

export function isEmpty(value: Json): boolean {
  return value === null || value === "" || (Array.isArray(value) && value.length === 0);
}

/** The complaint about a value that is required and not there. */
export function requiredProblem(props: JsonObject, value: Json): string | null {
  return flag(props.required) && isEmpty(value) ? "This is needed." : null;
}

/** The props that every Mantine input takes, from those that every input of a view has. */
export function useInput({ props, local, setLocal, emit }: ViewProps, problem: string | null) {
  const surrounding = useSurroundingForm();
  const shows = flag(local.touched) || surrounding.attempted;
  return {
    change: (value: Json) => {
      setLocal({ value });
      emit("change", { value });
    },
    shared: {
      label: text(props.label),
      description: optionalText(props.description),
      required: flag(props.required),
      disabled: flag(props.disabled) || surrounding.disabled,
      error: shows ? problem : null,
      onBlur: () => setLocal({ touched: true }),
    },
    placeholder: optionalText(props.placeholder),
  };
}
