import { Button, Group, Modal, Text } from "@mantine/core";

interface ConfirmDialogProps {
  question: string | null;
  answer: (yes: boolean) => void;
}

/** Escape and a click outside mean no. */
export default function ConfirmDialog({ question, answer }: ConfirmDialogProps) {
  return (
    <Modal
      opened={question !== null}
      onClose={() => answer(false)}
      title="Please confirm"
      size="sm"
      centered
      lockScroll={false}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Text>{question}</Text>
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={() => answer(false)}>
          Cancel
        </Button>
        <Button onClick={() => answer(true)} data-autofocus>
          Continue
        </Button>
      </Group>
    </Modal>
  );
}
