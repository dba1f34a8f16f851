import { NumberInput } from "@mantine/core";
import type { Json, JsonObject } from "../../engine/document";
import { flag, number, optionalText, type ViewComponent, type ViewProps } from "../contract";
import { currentValue, requiredProblem, useInput } from "../input";

export function numberProblem(props: JsonObject, value: Json): string | null {
  const given = number(value);
  if (given === undefined) return requiredProblem(props, null);
  const least = number(props.minimum);
  const most = number(props.maximum);
  if (least !== undefined && given < least) return `Not less than ${least}.`;
  if (most !== undefined && given > most) return `Not more than ${most}.`;
  return flag(props.integer) && !Number.isInteger(given) ? "A whole number." : null;
}

/** What the field shows as a number; null while it is empty or half typed. */
export function parsedNumber(value: string | number): number | null {
  if (typeof value === "number") return value;
  return value.trim() !== "" && Number.isFinite(Number(value)) ? Number(value) : null;
}

function NumberField(view: ViewProps) {
  const { props, local, outputs } = view;
  const { shared, change, placeholder } = useInput(view, numberProblem(props, outputs.value ?? null));
  const unit = optionalText(props.unit);
  return (
    <NumberInput
      {...shared}
      placeholder={placeholder}
      value={typeof local.typed === "string" ? local.typed : (number(outputs.value) ?? "")}
      step={number(props.step) ?? 1}
      min={number(props.minimum)}
      max={number(props.maximum)}
      clampBehavior="none"
      allowDecimal={!flag(props.integer)}
      suffix={unit ? ` ${unit}` : undefined}
      onChange={(value) => {
        // Kept as typed, so that "1." and "-" survive until the rest follows.
        view.setLocal({ typed: typeof value === "string" ? value : null });
        change(parsedNumber(value));
      }}
    />
  );
}

export const numberInput: ViewComponent = {
  type: "number",
  Component: NumberField,
  outputsOf: (props, local) => {
    const value = number(currentValue(props, local)) ?? null;
    return { value, valid: numberProblem(props, value) === null };
  },
  localFor: (member, value, local) => ({ ...local, [member]: value, typed: null }),
};
