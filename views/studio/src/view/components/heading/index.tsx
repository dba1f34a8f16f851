import { Title } from "@mantine/core";
import { number, text, type ViewComponent, type ViewProps } from "../contract";

function Heading({ props }: ViewProps) {
  const level = Math.round(number(props.level) ?? 2);
  return <Title order={level === 3 ? 3 : level === 4 ? 4 : 2}>{text(props.text)}</Title>;
}

export const heading: ViewComponent = { type: "heading", Component: Heading, skeleton: 28 };
