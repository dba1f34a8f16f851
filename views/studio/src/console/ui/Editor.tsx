import { Box, Loader } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import classes from "./Editor.module.css";

interface EditorProps {
  text: string;
  fileName: string;
  label: string;
  height?: number | string;
  /** Without it the text is for reading only. */
  onChange?: (text: string) => void;
  onSubmit?: () => void;
}

interface EditorHandle {
  state: { doc: { toString(): string; length: number } };
  dispatch(change: { changes: { from: number; to: number; insert: string } }): void;
  destroy(): void;
}

/** A code editor, or a code reader. The library comes when it is first needed. */
export function Editor({ text, fileName, label, height = 360, onChange, onSubmit }: EditorProps) {
  const parent = useRef<HTMLDivElement>(null);
  const editor = useRef<EditorHandle | null>(null);
  const latest = useRef({ text, onChange, onSubmit });
  latest.current = { text, onChange, onSubmit };
  const [isReady, setReady] = useState(false);
  const isWritable = Boolean(onChange);

  useEffect(() => {
    let isGone = false;
    void import("./editor-setup").then(({ makeEditor }) => {
      if (isGone || !parent.current) return;
      editor.current = makeEditor({
        parent: parent.current,
        text: latest.current.text,
        fileName,
        label,
        ...(isWritable && {
          onChange: (next: string) => latest.current.onChange?.(next),
          onSubmit: () => latest.current.onSubmit?.(),
        }),
      });
      setReady(true);
    });
    return () => {
      isGone = true;
      editor.current?.destroy();
      editor.current = null;
      setReady(false);
    };
  }, [fileName, label, isWritable]);

  useEffect(() => {
    const view = editor.current;
    if (!view || view.state.doc.toString() === text) return;
    view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
  }, [text]);

  return (
    <Box className={classes.editor} style={{ height }} data-writable={isWritable || undefined}>
      {!isReady && <Loader size="sm" className={classes.loader} aria-label="Loading the editor" />}
      <div ref={parent} className={classes.parent} />
    </Box>
  );
}
