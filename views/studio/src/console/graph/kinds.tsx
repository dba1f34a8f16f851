import {
  type Icon,
  IconArrowBarRight,
  IconArrowBarToRight,
  IconArrowsSplit2,
  IconBoxModel2,
  IconCode,
  IconFilter,
  IconFunction,
  IconPuzzle,
  IconSparkles,
  IconStack2,
} from "@tabler/icons-react";

export interface NodeKind {
  title: string;
  icon: Icon;
  /** light, dark */
  colour: string;
}

const KINDS: Record<string, NodeKind> = {
  input: { title: "Input", icon: IconArrowBarToRight, colour: "light-dark(#5b6575, #9aa3b4)" },
  return: { title: "Output", icon: IconArrowBarRight, colour: "light-dark(#5b6575, #9aa3b4)" },
  output: { title: "Output", icon: IconArrowBarRight, colour: "light-dark(#5b6575, #9aa3b4)" },
  pre: { title: "Prepare", icon: IconFilter, colour: "light-dark(#0d7767, #3cc3a9)" },
  model: { title: "Model", icon: IconBoxModel2, colour: "light-dark(#4a60e0, #94a5f8)" },
  post: { title: "Finish", icon: IconSparkles, colour: "light-dark(#8a3f7d, #e6a6da)" },
  logic: { title: "Logic", icon: IconFunction, colour: "light-dark(#9a4a00, #f0b072)" },
  branch: { title: "Branch", icon: IconArrowsSplit2, colour: "light-dark(#9a6700, #e5b454)" },
  map: { title: "Map", icon: IconStack2, colour: "light-dark(#31639c, #8fbdf0)" },
  worklet: { title: "Worklet", icon: IconPuzzle, colour: "light-dark(#5b3cc4, #b8a5ff)" },
};

export function kindOf(kind: string): NodeKind {
  return KINDS[kind] ?? { title: kind, icon: IconCode, colour: "light-dark(#5b6575, #9aa3b4)" };
}
