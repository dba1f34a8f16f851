import { ActionIcon, Button, type ButtonProps, Tooltip } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { toastError } from "./toast";

const SHOWN_MS = 1_800;

/** Copies text and says so for a moment. */
export function useCopy() {
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return;
    const timer = setTimeout(() => setCopied(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isCopied]);
  const copy = async (text: string) => {
    try {
      await writeClipboard(text);
      setCopied(true);
    } catch (error) {
      toastError("Could not copy", error);
    }
  };
  return { isCopied, copy };
}

export function CopyIcon({ text, label }: { text: string; label: string }) {
  const { isCopied, copy } = useCopy();
  return (
    <Tooltip label={isCopied ? "Copied" : label} openDelay={300}>
      <ActionIcon
        variant="subtle"
        color={isCopied ? "teal" : "gray"}
        aria-label={isCopied ? "Copied" : label}
        onClick={(event) => {
          event.stopPropagation();
          event.preventDefault();
          void copy(text);
        }}
      >
        {isCopied ? <IconCheck size={16} /> : <IconCopy size={16} />}
      </ActionIcon>
    </Tooltip>
  );
}

export function CopyButton({ text, children, ...props }: ButtonProps & { text: string; children: string }) {
  const { isCopied, copy } = useCopy();
  return (
    <Button
      variant="default"
      leftSection={isCopied ? <IconCheck size={16} /> : <IconCopy size={16} />}
      {...props}
      onClick={() => void copy(text)}
    >
      {isCopied ? "Copied" : children}
    </Button>
  );
}

/** The clipboard API is missing on plain http; the old way still works there. */
async function writeClipboard(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  area.style.position = "fixed";
  area.style.opacity = "0";
  document.body.append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  if (!isDone) throw new Error("The browser did not allow it. Select the text and copy it by hand.");
}
