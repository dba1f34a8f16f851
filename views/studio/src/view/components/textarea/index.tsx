import { Textarea as Area } from "@mantine/core";
import { number, text, type ViewComponent, type ViewProps } from "../contract";
import { currentValue, useInput } from "../input";
import { textProblem } from "../text-input";

function Textarea(view: ViewProps) {
  const { props, outputs } = view;
  const value = text(outputs.value);
  const { shared, change, placeholder } = useInput(view, textProblem(props, value));
  const rows = number(props.rows) ?? 4;
  return (
    <Area
      {...shared}
      placeholder={placeholder}
      autosize
      minRows={rows}
      maxRows={Math.max(rows, 20)}
      value={value}
      onChange={(event) => change(event.currentTarget.value)}
    />
  );
}

export const textarea: ViewComponent = {
  type: "textarea",
  Component: Textarea,
  outputsOf: (props, local) => {
    const value = text(currentValue(props, local));
    return { value, valid: textProblem(props, value) === null };
  },
};
