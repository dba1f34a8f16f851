/** "Are you sure?" as a promise: `if (await confirm({...})) …` */

import { Button, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { createContext, type ReactNode, useCallback, useContext, useRef, useState } from "react";

export interface Question {
  title: string;
  body: ReactNode;
  action: string;
  isDestructive?: boolean;
  /** For what cannot be undone: this must be typed first. */
  typed?: string;
}

type Ask = (question: Question) => Promise<boolean>;

const ConfirmContext = createContext<Ask>(() => Promise.resolve(false));

export function useConfirm(): Ask {
  return useContext(ConfirmContext);
}

export function ConfirmProvider({ children }: { children: ReactNode }) {
  const [question, setQuestion] = useState<Question | null>(null);
  const [isOpen, setOpen] = useState(false);
  const [typed, setTyped] = useState("");
  const answer = useRef<(value: boolean) => void>(() => {});

  const ask = useCallback<Ask>((next) => {
    setQuestion(next);
    setTyped("");
    setOpen(true);
    return new Promise((resolve) => {
      answer.current = resolve;
    });
  }, []);

  const close = (value: boolean) => {
    setOpen(false);
    answer.current(value);
  };
  const isBlocked = Boolean(question?.typed) && typed !== question?.typed;

  return (
    <ConfirmContext.Provider value={ask}>
      {children}
      <Modal opened={isOpen} onClose={() => close(false)} title={question?.title ?? ""}>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (!isBlocked) close(true);
          }}
        >
          <Stack>
            <Text component="div" size="sm">
              {question?.body}
            </Text>
            {question?.typed && (
              <TextInput
                data-autofocus
                label={`Type ${question.typed} to confirm`}
                value={typed}
                onChange={(event) => setTyped(event.currentTarget.value)}
                autoComplete="off"
              />
            )}
            <Group justify="flex-end" gap="xs">
              <Button variant="default" onClick={() => close(false)}>
                Cancel
              </Button>
              <Button
                type="submit"
                {...(question?.isDestructive && { color: "red" })}
                disabled={isBlocked}
                {...(!question?.typed && { "data-autofocus": true })}
              >
                {question?.action}
              </Button>
            </Group>
          </Stack>
        </form>
      </Modal>
    </ConfirmContext.Provider>
  );
}
