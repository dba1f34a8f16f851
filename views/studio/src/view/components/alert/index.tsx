import { Alert as Message } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck, IconCircleX, IconInfoCircle } from "@tabler/icons-react";
import { oneOf, optionalText, text, type ViewComponent, type ViewProps } from "../contract";
import styles from "./alert.module.css";

const LOOKS = {
  info: { color: "iris", Icon: IconInfoCircle },
  success: { color: "teal", Icon: IconCircleCheck },
  warning: { color: "yellow", Icon: IconAlertTriangle },
  error: { color: "red", Icon: IconCircleX },
} as const;

function Alert({ props }: ViewProps) {
  const kind = oneOf(props.kind, ["info", "success", "warning", "error"], "info");
  const { color, Icon } = LOOKS[kind];
  const urgent = kind === "warning" || kind === "error";
  return (
    <Message
      role={urgent ? "alert" : "status"}
      color={color}
      variant="light"
      title={optionalText(props.title)}
      icon={<Icon aria-hidden size={18} />}
    >
      <span className={styles.text}>{text(props.text)}</span>
    </Message>
  );
}

export const alert: ViewComponent = { type: "alert", Component: Alert };
