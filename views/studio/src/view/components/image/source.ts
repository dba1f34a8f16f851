import { isFileValue } from "../../engine/actions";
import type { Json } from "../../engine/document";
import { imageUrl } from "../file-picker/files";

const DATA_URL = /^data:(image\/[a-z0-9.+-]+);base64,([A-Za-z0-9+/=\s]+)$/i;
const BASE64 = /^[A-Za-z0-9+/\s]{16,}={0,2}\s*$/;

/** Where an image's picture is, or null when the value is none that can be shown safely. */
export function imageSource(value: Json | undefined): string | null {
  if (isFileValue(value)) return imageUrl(value);
  if (typeof value !== "string" || value === "") return null;
  const data = DATA_URL.exec(value);
  if (data) return imageUrl({ type: data[1] ?? "", data: (data[2] ?? "").replace(/\s/g, "") });
  // A path is tried before base64, of which "/" is a letter; only text as long as a picture is base64.
  if (value.startsWith("/") && !value.startsWith("//") && !(value.length > 500 && BASE64.test(value)))
    return value;
  return BASE64.test(value) ? imageUrl({ type: sniff(value), data: value.replace(/\s/g, "") }) : null;
}

/** The type of bare base64, by how pictures begin. */
function sniff(base64: string): string {
  if (base64.startsWith("/9j/")) return "image/jpeg";
  if (base64.startsWith("R0lGOD")) return "image/gif";
  if (base64.startsWith("UklGR")) return "image/webp";
  return base64.startsWith("Qk") ? "image/bmp" : "image/png";
}
