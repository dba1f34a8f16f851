import { Divider as Line } from "@mantine/core";
import { optionalText, type ViewComponent, type ViewProps } from "../contract";

function Divider({ props }: ViewProps) {
  return <Line label={optionalText(props.label)} labelPosition="left" />;
}

export const divider: ViewComponent = { type: "divider", Component: Divider };
