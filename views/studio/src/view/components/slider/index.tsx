import { Input, Slider as Track } from "@mantine/core";
import type { JsonObject } from "../../engine/document";
import { number, optionalText, text, type ViewComponent, type ViewProps } from "../contract";
import { currentValue, useInput } from "../input";
import styles from "./slider.module.css";

function Slider(view: ViewProps) {
  const { props, outputs, setLocal, emit } = view;
  const { shared } = useInput(view, null);
  const value = number(outputs.value) ?? 0;
  const unit = optionalText(props.unit);
  const shown = unit ? `${value} ${unit}` : String(value);
  return (
    <Input.Wrapper
      label={
        <span className={styles.label}>
          {text(props.label)} <output className={styles.value}>{shown}</output>
        </span>
      }
      labelElement="div"
      labelProps={{ style: { display: "block" } }}
      description={shared.description}
    >
      <Track
        thumbLabel={text(props.label)}
        min={number(props.minimum) ?? 0}
        max={number(props.maximum) ?? 100}
        step={number(props.step) ?? 1}
        label={null}
        disabled={shared.disabled}
        value={value}
        onChange={(next) => setLocal({ value: next })}
        onChangeEnd={(next) => emit("change", { value: next })}
        thumbProps={{ "aria-valuetext": shown }}
      />
    </Input.Wrapper>
  );
}

function outputsOf(props: JsonObject, local: JsonObject): JsonObject {
  const least = number(props.minimum) ?? 0;
  const most = number(props.maximum) ?? 100;
  return { value: Math.min(Math.max(number(currentValue(props, local)) ?? least, least), most) };
}

export const slider: ViewComponent = { type: "slider", Component: Slider, outputsOf };
