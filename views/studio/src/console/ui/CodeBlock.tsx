import { Box } from "@mantine/core";
import { useMemo } from "react";
import classes from "./CodeBlock.module.css";
import { CopyIcon } from "./Copy";
import { type CodeLanguage, tokenize } from "./code-tokens";

interface CodeBlockProps {
  code: string;
  language?: CodeLanguage;
  label?: string;
  /** What is copied, where that differs from what is shown (a hidden key, say). */
  copied?: string;
  wrap?: boolean;
  maxHeight?: number;
}

export function CodeBlock({
  code,
  language = "text",
  label = "Copy",
  copied,
  wrap = false,
  maxHeight,
}: CodeBlockProps) {
  const tokens = useMemo(() => tokenize(code, language), [code, language]);
  return (
    <Box className={classes.block}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls must be reachable by keyboard */}
      <pre className={classes.code} data-wrap={wrap || undefined} style={{ maxHeight }} tabIndex={0}>
        <code>
          {tokens.map(({ kind, text }, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: tokens have no other name
            <span key={index} data-token={kind === "plain" ? undefined : kind}>
              {text}
            </span>
          ))}
        </code>
      </pre>
      <Box className={classes.copy}>
        <CopyIcon text={copied ?? code} label={label} />
      </Box>
    </Box>
  );
}

/** An address or a command in one line, with its copy button. */
export function CopyLine({ text, label }: { text: string; label: string }) {
  return (
    <Box className={classes.line}>
      <code className={classes.lineText}>{text}</code>
      <CopyIcon text={text} label={label} />
    </Box>
  );
}
