import type { Registry } from "../runtime";
import { alert } from "./alert";
import { button } from "./button";
import { card } from "./card";
import { chart } from "./chart";
import { classScores } from "./class-scores";
import type { ViewComponent } from "./contract";
import { divider } from "./divider";
import { filePicker } from "./file-picker";
import { form } from "./form";
import { heading } from "./heading";
import { image } from "./image";
import { json } from "./json";
import { markdown } from "./markdown";
import { modal } from "./modal";
import { numberInput } from "./number";
import { page } from "./page";
import { row } from "./row";
import { schemaForm } from "./schema-form";
import { select } from "./select";
import { slider } from "./slider";
import { stack } from "./stack";
import { statistic } from "./statistic";
import { switchInput } from "./switch";
import { table } from "./table";
import { textInput } from "./text-input";
import { textarea } from "./textarea";

const ALL: ViewComponent[] = [
  page, stack, row, card, form, modal, divider,
  schemaForm, textInput, textarea, numberInput, select, slider, switchInput, filePicker,
  button,
  markdown, heading, alert, image, json, table, chart, classScores, statistic,
]; // biome-ignore format: grouped as in the manifest

export const registry: Registry = Object.fromEntries(ALL.map((component) => [component.type, component]));
