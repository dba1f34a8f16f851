import { ActionIcon, Input } from "@mantine/core";
import { IconFile, IconPhoto, IconUpload, IconX } from "@tabler/icons-react";
import { type ClipboardEvent, type DragEvent, useId, useRef, useState } from "react";
import type { FileValue } from "../../engine/actions";
import styles from "./file-drop.module.css";
import { bytes, type FileLimits, imageUrl, readFile, refusal } from "./files";

interface FileDropProps {
  label: string;
  description?: string;
  error?: string | null;
  required?: boolean;
  disabled?: boolean;
  limits: FileLimits;
  file: FileValue | null;
  onFile: (file: FileValue | null) => void;
}

/** Drop, choose or paste one file; what was chosen is shown, pictures as pictures. */
export function FileDrop({
  label,
  description,
  error,
  required,
  disabled,
  limits,
  file,
  onFile,
}: FileDropProps) {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);
  const [reading, setReading] = useState(false);
  const [refused, setRefused] = useState<string | null>(null);
  const onlyImages = limits.accept.length > 0 && limits.accept.every((type) => type.startsWith("image/"));

  const take = async (files: FileList | null | undefined) => {
    const [first] = Array.from(files ?? []);
    if (!first || disabled) return;
    const problem = refusal(first, limits);
    setRefused(problem);
    if (problem) return;
    setReading(true);
    try {
      onFile(await readFile(first));
    } catch (thrown) {
      setRefused(thrown instanceof Error ? thrown.message : "The file could not be read.");
    } finally {
      setReading(false);
    }
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    void take(event.dataTransfer.files);
  };
  const paste = (event: ClipboardEvent) => {
    if (event.clipboardData.files.length > 0) {
      event.preventDefault();
      void take(event.clipboardData.files);
    }
  };
  const clear = () => {
    setRefused(null);
    onFile(null);
    input.current?.focus();
  };

  const preview = file ? imageUrl(file) : null;
  const hint = [onlyImages ? "An image" : describe(limits.accept), `up to ${bytes(limits.maxBytes)}`]
    .filter(Boolean)
    .join(", ");
  return (
    <Input.Wrapper
      label={label}
      description={description}
      error={refused ?? error}
      required={required}
      id={id}
    >
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the input inside does the same by mouse and keyboard */}
      <div
        className={styles.drop}
        data-over={over || undefined}
        data-disabled={disabled || undefined}
        data-filled={file ? true : undefined}
        data-error={refused || error ? true : undefined}
        onDragOver={(event) => {
          event.preventDefault();
          if (!disabled) setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
        onPaste={paste}
      >
        <input
          ref={input}
          id={id}
          className={styles.input}
          type="file"
          accept={limits.accept.join(",") || undefined}
          disabled={disabled}
          required={required}
          aria-invalid={Boolean(refused || error)}
          onChange={(event) => {
            void take(event.currentTarget.files);
            // Choosing the same file again must be a change too.
            event.currentTarget.value = "";
          }}
        />
        {file ? (
          <>
            {preview && <img className={styles.preview} src={preview} alt={`Preview of ${file.name}`} />}
            <div className={styles.chosen}>
              {!preview && <IconFile aria-hidden size={20} />}
              <span className={styles.name}>{file.name}</span>
              <span className={styles.size}>{bytes(file.size)}</span>
            </div>
          </>
        ) : (
          <div className={styles.invitation}>
            <span className={styles.icon}>
              {onlyImages ? <IconPhoto aria-hidden size={22} /> : <IconUpload aria-hidden size={22} />}
            </span>
            <span>
              <span className={styles.browse}>{reading ? "Reading…" : "Choose a file"}</span>
              {!reading && " or drop it here"}
            </span>
            <span className={styles.hint}>{hint}</span>
          </div>
        )}
      </div>
      {file && !disabled && (
        <ActionIcon
          className={styles.clear}
          variant="default"
          size="sm"
          radius="xl"
          aria-label={`Remove ${file.name}`}
          onClick={clear}
        >
          <IconX aria-hidden size={14} />
        </ActionIcon>
      )}
    </Input.Wrapper>
  );
}

function describe(accept: readonly string[]): string {
  return accept
    .map((type) =>
      type
        .replace(/^\./, "")
        .replace(/^(application|text)\//, "")
        .toUpperCase(),
    )
    .join(", ");
}
