import { Badge, Tooltip } from "@mantine/core";
import type { Isolation } from "../api/types";

const NAMES: Record<string, string> = { strict: "Strict", reduced: "Reduced", none: "None" };
const MEANINGS: Record<string, string> = {
  strict: "A sandbox of its own: it sees its own files and processes only.",
  reduced: "The kernel keeps it from files, services and signals of others; it still sees that they exist.",
  none: "It runs as the same user as Tenfold: deploy only code that you trust.",
};

export const isolationName = ({ level }: Isolation) => NAMES[level] ?? level;

/** What the level means, as sentences: the last ones say what is missing for a better one. */
export function isolationMeaning({ level, network, missing }: Isolation): string[] {
  const reach =
    network === "open"
      ? "It reaches the machine's network, with the services on it."
      : "It reaches no network.";
  return [MEANINGS[level] ?? "", ...(level === "none" ? [] : [reach]), ...missing];
}

export function IsolationBadge({ isolation }: { isolation: Isolation }) {
  const meaning = isolationMeaning(isolation).join(" ");
  return (
    <Tooltip label={meaning} multiline w={320} events={{ hover: true, focus: true, touch: true }}>
      <Badge
        variant="default"
        tt="none"
        tabIndex={0}
        c={isolation.level === "strict" ? undefined : "var(--tf-warn)"}
        aria-label={`Isolation: ${isolationName(isolation)}. ${meaning}`}
      >
        {isolationName(isolation)}
      </Badge>
    </Tooltip>
  );
}
