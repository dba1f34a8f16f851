import { Button, Menu } from "@mantine/core";
import { IconChevronDown, IconTrash } from "@tabler/icons-react";
import { useNavigate } from "react-router";
import { useAction } from "../api/queries";
import { useConfirm } from "./Confirm";

interface DeleteMenuProps {
  /** What it is, in a word: "model". */
  what: string;
  /** Typed to confirm. */
  name: string;
  title?: string;
  /** What goes with it, and what stays. */
  consequences: string;
  remove: () => Promise<void>;
  /** Where to go once it is gone. */
  then: string;
}

/** A page's last menu: what it shows can be deleted, after its name was typed. */
export function DeleteMenu({ what, name, title = name, consequences, remove, then }: DeleteMenuProps) {
  const confirm = useConfirm();
  const navigate = useNavigate();
  const removal = useAction({
    run: remove,
    done: `Deleted ${name}`,
    failed: `Could not delete the ${what}`,
    after: () => navigate(then),
  });
  const ask = async () => {
    const isSure = await confirm({
      title: `Delete ${title}?`,
      body: `${consequences} This cannot be undone.`,
      action: `Delete the ${what}`,
      isDestructive: true,
      typed: name,
    });
    if (isSure) removal.mutate();
  };
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button variant="default" rightSection={<IconChevronDown size={16} />} loading={removal.isPending}>
          More
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item color="red" leftSection={<IconTrash size={16} />} onClick={() => void ask()}>
          Delete the {what}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
