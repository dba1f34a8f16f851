import { isFileValue } from "../../engine/actions";
import type { Json, JsonObject } from "../../engine/document";
import { list, number, optionalText, text, type ViewComponent, type ViewProps } from "../contract";
import { requiredProblem, useInput } from "../input";
import { FileDrop } from "./FileDrop";

function FilePicker(view: ViewProps) {
  const { props, outputs, setLocal, emit } = view;
  const { shared } = useInput(view, requiredProblem(props, outputs.file ?? null));
  return (
    <FileDrop
      label={text(props.label)}
      description={optionalText(props.description)}
      required={shared.required}
      disabled={shared.disabled}
      error={shared.error}
      limits={{
        accept: list(props.accept).map((type) => text(type)),
        maxBytes: (number(props.max_mb) ?? 20) * 1e6,
      }}
      file={isFileValue(outputs.file) ? outputs.file : null}
      onFile={(file) => {
        setLocal({ file: file as Json, touched: true });
        emit("change", { value: file as Json });
      }}
    />
  );
}

function outputsOf(props: JsonObject, local: JsonObject): JsonObject {
  const file = isFileValue(local.file) ? local.file : null;
  return { file, value: file, valid: requiredProblem(props, file) === null };
}

export const filePicker: ViewComponent = {
  type: "file-picker",
  Component: FilePicker,
  outputsOf,
  localFor: (_member, value, local) => ({ ...local, file: value }),
};
