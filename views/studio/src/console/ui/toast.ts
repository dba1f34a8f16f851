import { notifications } from "@mantine/notifications";
import { ApiError, messageOf } from "../api/errors";

export function toastDone(message: string): void {
  notifications.show({ message, color: "teal", autoClose: 3_500 });
}

export function toastError(title: string, error: unknown): void {
  const hint = error instanceof ApiError ? error.hint : "";
  const request = error instanceof ApiError && error.requestId ? `Request ${error.requestId}` : "";
  const message = [messageOf(error), hint, request].filter(Boolean).join(" ");
  notifications.show({ title, message, color: "red", autoClose: 10_000 });
}
