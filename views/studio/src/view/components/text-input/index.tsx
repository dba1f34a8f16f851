import { PasswordInput, TextInput } from "@mantine/core";
import type { KeyboardEvent } from "react";
import type { Json, JsonObject } from "../../engine/document";
import { number, oneOf, text, type ViewComponent, type ViewProps } from "../contract";
import { currentValue, requiredProblem, useInput } from "../input";

const TYPES = ["text", "email", "url", "tel", "search", "password"] as const;

export function textProblem(props: JsonObject, value: string): string | null {
  const most = number(props.max_length);
  if (most !== undefined && value.length > most) return `At most ${most} characters.`;
  if (value && props.type === "email" && !/^[^\s@]+@[^\s@]+$/.test(value))
    return "Write an address such as ada@example.com.";
  if (value && props.type === "url" && !URL.canParse(value))
    return "Write a whole address, beginning with https://.";
  return requiredProblem(props, value);
}

function TextField(view: ViewProps) {
  const { props, outputs, emit } = view;
  const value = text(outputs.value as Json);
  const { shared, change, placeholder } = useInput(view, textProblem(props, value));
  const type = oneOf(props.type, TYPES, "text");
  const Field = type === "password" ? PasswordInput : TextInput;
  return (
    <Field
      {...shared}
      {...(type === "password" ? {} : { type })}
      placeholder={placeholder}
      value={value}
      onChange={(event) => change(event.currentTarget.value)}
      onKeyDown={(event: KeyboardEvent<HTMLInputElement>) => {
        if (event.key === "Enter") emit("submit", { value: event.currentTarget.value });
      }}
    />
  );
}

export const textInput: ViewComponent = {
  type: "text-input",
  Component: TextField,
  outputsOf: (props, local) => {
    const value = text(currentValue(props, local));
    return { value, valid: textProblem(props, value) === null };
  },
};
