/** CodeMirror for reading files and for writing JSON. Loaded only where one of them is on screen. */

import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { json } from "@codemirror/lang-json";
import { python } from "@codemirror/lang-python";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, foldGutter, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { EditorState, type Extension } from "@codemirror/state";
import { drawSelection, EditorView, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

export interface EditorOptions {
  parent: HTMLElement;
  text: string;
  fileName: string;
  label: string;
  onChange?: (text: string) => void;
  onSubmit?: () => void;
}

export function makeEditor({ parent, text, fileName, label, onChange, onSubmit }: EditorOptions): EditorView {
  const isReadOnly = !onChange;
  const extensions: Extension[] = [
    lineNumbers(),
    foldGutter(),
    bracketMatching(),
    drawSelection(),
    search({ top: true }),
    highlightSelectionMatches(),
    syntaxHighlighting(colours),
    frame,
    languageOf(fileName),
    EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
    EditorView.lineWrapping,
    keymap.of([
      ...(onSubmit ? [{ key: "Mod-Enter", run: () => handled(onSubmit) }] : []),
      ...defaultKeymap,
      ...searchKeymap,
    ]),
    isReadOnly
      ? [EditorState.readOnly.of(true), EditorView.editable.of(false)]
      : [
          history(),
          keymap.of([...historyKeymap, indentWithTab]),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) onChange(update.state.doc.toString());
          }),
        ],
  ];
  return new EditorView({ parent, state: EditorState.create({ doc: text, extensions }) });
}

function handled(action: () => void): true {
  action();
  return true;
}

function languageOf(fileName: string): Extension {
  const ending = fileName.slice(fileName.lastIndexOf(".") + 1).toLowerCase();
  if (ending === "py" || ending === "pyi") return python();
  if (ending === "yaml" || ending === "yml") return yaml();
  if (ending === "json" || ending === "ipynb") return json();
  return [];
}

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.bool, tags.null, tags.controlKeyword], color: "var(--tf-code-word)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--tf-code-string)" },
  { tag: tags.number, color: "var(--tf-code-number)" },
  { tag: tags.comment, color: "var(--tf-text-muted)", fontStyle: "italic" },
  {
    tag: [tags.definition(tags.variableName), tags.function(tags.variableName)],
    color: "var(--tf-code-name)",
  },
  { tag: [tags.className, tags.typeName], color: "light-dark(#8a3f7d, #e6a6da)" },
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--tf-code-name)" },
]);

const frame = EditorView.theme({
  "&": { fontSize: "12.5px", backgroundColor: "transparent", color: "var(--tf-text)", height: "100%" },
  "&.cm-focused": { outline: "none" },
  ".cm-content": {
    fontFamily: "var(--mantine-font-family-monospace)",
    padding: "12px 0",
    caretColor: "var(--tf-text)",
  },
  ".cm-scroller": { lineHeight: "1.6", fontFamily: "var(--mantine-font-family-monospace)" },
  ".cm-gutters": { backgroundColor: "transparent", border: "none", color: "var(--tf-text-muted)" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 6px 0 14px", opacity: "0.6" },
  ".cm-cursor": { borderLeftColor: "var(--tf-text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--tf-accent-soft)",
  },
  ".cm-panels": {
    backgroundColor: "var(--tf-surface)",
    color: "var(--tf-text)",
    borderColor: "var(--tf-border)",
  },
  ".cm-searchMatch": { backgroundColor: "color-mix(in srgb, var(--tf-warn) 30%, transparent)" },
});
