import { Text } from "@mantine/core";
import {
  type Icon,
  IconBinaryTree2,
  IconBox,
  IconBrandPython,
  IconBrandTypescript,
  IconFlame,
  IconFunction,
  IconMoodSmile,
  IconTopologyStar3,
  IconTrees,
} from "@tabler/icons-react";
import classes from "./Framework.module.css";

interface Known {
  title: string;
  icon: Icon;
  colour: string;
}

const FRAMEWORKS: Record<string, Known> = {
  sklearn: { title: "scikit-learn", icon: IconTopologyStar3, colour: "light-dark(#c2620a, #f3a45b)" },
  xgboost: { title: "XGBoost", icon: IconTrees, colour: "light-dark(#0d7767, #3cc3a9)" },
  lightgbm: { title: "LightGBM", icon: IconBinaryTree2, colour: "light-dark(#4a7a10, #9fcf5a)" },
  torch: { title: "PyTorch", icon: IconFlame, colour: "light-dark(#c8391b, #ff8a6d)" },
  keras: { title: "Keras", icon: IconTopologyStar3, colour: "light-dark(#a8202b, #ff8583)" },
  tensorflow: { title: "TensorFlow", icon: IconTopologyStar3, colour: "light-dark(#b35a00, #ffb066)" },
  transformers: { title: "Transformers", icon: IconMoodSmile, colour: "light-dark(#9a6700, #ffd166)" },
  function: { title: "Function", icon: IconFunction, colour: "light-dark(#5b3cc4, #b8a5ff)" },
  python: { title: "Python", icon: IconBrandPython, colour: "light-dark(#31639c, #8fbdf0)" },
  class: { title: "Class", icon: IconBrandPython, colour: "light-dark(#31639c, #8fbdf0)" },
  truss: { title: "Truss", icon: IconBox, colour: "light-dark(#5b6575, #9aa3b4)" },
  onnx: { title: "ONNX", icon: IconTopologyStar3, colour: "light-dark(#4a60e0, #94a5f8)" },
  typescript: { title: "TypeScript", icon: IconBrandTypescript, colour: "light-dark(#31639c, #8fbdf0)" },
};
const ALIASES: Record<string, string> = {
  "scikit-learn": "sklearn",
  pytorch: "torch",
  huggingface: "transformers",
  callable: "function",
  custom: "python",
};

function frameworkOf(name: string | null): Known {
  const key = (name ?? "").toLowerCase();
  const known = FRAMEWORKS[ALIASES[key] ?? key];
  if (key === "custom" && known) return { ...known, title: "Custom" };
  return known ?? { title: name || "Unknown", icon: IconBox, colour: "var(--tf-text-muted)" };
}

export function FrameworkIcon({ name, size = 34 }: { name: string | null; size?: number }) {
  const { icon: FrameworkSign, colour } = frameworkOf(name);
  return (
    <span className={classes.tile} style={{ "--colour": colour, width: size, height: size }} aria-hidden>
      <FrameworkSign size={Math.round(size * 0.55)} stroke={1.75} />
    </span>
  );
}

export function FrameworkName({ name }: { name: string | null }) {
  return (
    <Text span inherit>
      {frameworkOf(name).title}
    </Text>
  );
}
