import { Button as Press } from "@mantine/core";
import { flag, oneOf, text, type ViewComponent, type ViewProps } from "../contract";
import { useSurroundingForm } from "../form";

const LOOKS = {
  primary: { variant: "filled" },
  secondary: { variant: "default" },
  subtle: { variant: "subtle" },
  danger: { variant: "filled", color: "red" },
} as const;

function Button({ props, busy, emit }: ViewProps) {
  const surrounding = useSurroundingForm();
  const look = LOOKS[oneOf(props.kind, ["primary", "secondary", "subtle", "danger"], "primary")];
  const loading = busy || flag(props.loading);
  return (
    <Press
      {...look}
      type={flag(props.submits) ? "submit" : "button"}
      loading={loading}
      aria-busy={loading}
      disabled={flag(props.disabled) || surrounding.disabled}
      fullWidth={flag(props.full_width)}
      style={flag(props.full_width) ? undefined : { alignSelf: "flex-start", flex: "0 0 auto" }}
      onClick={() => emit("click")}
    >
      {text(props.label)}
    </Press>
  );
}

export const button: ViewComponent = { type: "button", Component: Button };
