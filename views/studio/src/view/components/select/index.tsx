import { Select as Choice } from "@mantine/core";
import type { JsonObject } from "../../engine/document";
import { flag, type ViewComponent, type ViewProps } from "../contract";
import { currentValue, requiredProblem, useInput } from "../input";
import { keyOf, optionsOf } from "./options";

function Select(view: ViewProps) {
  const { props, outputs } = view;
  const options = optionsOf(props.options);
  const value = outputs.value ?? null;
  const { shared, change, placeholder } = useInput(view, requiredProblem(props, value));
  return (
    <Choice
      {...shared}
      placeholder={placeholder ?? "Choose…"}
      data={options.map(({ key, label }) => ({ value: key, label }))}
      value={value === null ? null : keyOf(value)}
      onChange={(key) => change(options.find((option) => option.key === key)?.value ?? null)}
      searchable={
        props.searchable === undefined || props.searchable === null
          ? options.length > 10
          : flag(props.searchable)
      }
      clearable={flag(props.clearable)}
      allowDeselect={flag(props.clearable)}
      nothingFoundMessage="Nothing like it"
      comboboxProps={{ withinPortal: true }}
    />
  );
}

/** A value that is no longer among the options is not chosen any more. */
function outputsOf(props: JsonObject, local: JsonObject): JsonObject {
  const wanted = keyOf(currentValue(props, local));
  const value = optionsOf(props.options).find(({ key }) => key === wanted)?.value ?? null;
  return { value, valid: requiredProblem(props, value) === null };
}

export const select: ViewComponent = { type: "select", Component: Select, outputsOf };
