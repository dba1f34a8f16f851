import type { DownloadFile } from "../engine/actions";

/** Save a value as a file of the person's own. */
export function saveFile(file: DownloadFile): void {
  const content = file.encoded ? decodeBase64(file.data) : file.data;
  // Never opened by the browser, so its type can do no harm.
  const url = URL.createObjectURL(new Blob([content], { type: file.type || "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = file.name.replace(/[/\\]/g, "_") || "download";
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

/** Browsers give the clipboard to secure pages only; the rest is told what to do. */
export async function copyText(text: string): Promise<void> {
  if (!navigator.clipboard)
    throw new Error("This browser does not let the page copy. Select the text and copy it.");
  await navigator.clipboard.writeText(text);
}
