import { Switch as Toggle } from "@mantine/core";
import { flag, optionalText, text, type ViewComponent, type ViewProps } from "../contract";
import { currentValue, useInput } from "../input";

function Switch(view: ViewProps) {
  const { props, outputs } = view;
  const { shared, change } = useInput(view, null);
  return (
    <Toggle
      label={text(props.label)}
      description={optionalText(props.description)}
      disabled={shared.disabled}
      checked={flag(outputs.value)}
      onChange={(event) => change(event.currentTarget.checked)}
    />
  );
}

export const switchInput: ViewComponent = {
  type: "switch",
  Component: Switch,
  outputsOf: (props, local) => ({ value: flag(currentValue(props, local)) }),
};
