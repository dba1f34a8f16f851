import { lazy, Suspense, useCallback, useRef, useState } from "react";

const ConfirmDialog = lazy(() => import("./ConfirmDialog"));

/** Ask before something that a person should mean. */
export function useConfirm() {
  const [question, setQuestion] = useState<string | null>(null);
  const [asked, setAsked] = useState(false);
  const waiting = useRef<(yes: boolean) => void>(() => {});
  const confirm = useCallback(
    (text: string) =>
      new Promise<boolean>((resolve) => {
        waiting.current(false);
        waiting.current = resolve;
        setAsked(true);
        setQuestion(text);
      }),
    [],
  );
  const answer = (yes: boolean) => {
    setQuestion(null);
    waiting.current(yes);
  };
  const dialog = asked && (
    <Suspense>
      <ConfirmDialog question={question} answer={answer} />
    </Suspense>
  );
  return { confirm, dialog };
}
