import { Modal } from "@mantine/core";
import { flag, oneOf, text, type ViewProps } from "../contract";
import styles from "../stack/stack.module.css";

export default function Dialog({ props, outputs, setLocal, emit, slot }: ViewProps) {
  const close = () => {
    setLocal({ opened: false });
    emit("close");
  };
  return (
    <Modal
      opened={flag(outputs.opened)}
      onClose={close}
      title={text(props.title)}
      size={oneOf(props.size, ["sm", "md", "lg", "xl"], "md")}
      closeButtonProps={{ "aria-label": "Close" }}
      lockScroll={false}
      centered
    >
      <div className={styles.stack} style={{ gap: "1rem" }}>
        {slot("body")}
      </div>
    </Modal>
  );
}
