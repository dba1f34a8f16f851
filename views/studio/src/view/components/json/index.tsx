import { ActionIcon } from "@mantine/core";
import { IconBraces, IconCheck, IconCopy } from "@tabler/icons-react";
import { useState } from "react";
import { JsonTree } from "../../../kit/JsonTree";
import { number, text, type ViewComponent, type ViewProps } from "../contract";
import { Empty } from "../Empty";
import styles from "./json.module.css";

function JsonView({ props }: ViewProps) {
  const [copied, setCopied] = useState(false);
  const value = props.value ?? null;
  const label = text(props.label, "Value");
  if (value === null) return <Empty Icon={IconBraces} text={text(props.empty)} />;
  const copy = async () => {
    await navigator.clipboard.writeText(JSON.stringify(value, null, 2));
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <div className={styles.json}>
      <ActionIcon
        className={styles.copy}
        variant="subtle"
        color="gray"
        aria-label={copied ? "Copied" : `Copy ${label}`}
        title={copied ? "Copied" : "Copy"}
        onClick={copy}
      >
        {copied ? <IconCheck aria-hidden size={16} /> : <IconCopy aria-hidden size={16} />}
      </ActionIcon>
      <div className={styles.tree}>
        <JsonTree value={value} label={label} depth={number(props.depth) ?? 2} />
      </div>
    </div>
  );
}

export const json: ViewComponent = { type: "json", Component: JsonView, skeleton: 160 };
