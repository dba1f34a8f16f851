import { Avatar, Button, Group, Menu, Modal, Stack, Text, TextInput, UnstyledButton } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconCheck, IconPlus, IconSelector } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useNavigate } from "react-router";
import { api } from "../api/client";
import { detailLines } from "../api/errors";
import { sessionQuery, useAction, usePlace, useRights } from "../api/queries";
import { isName, NAME_RULE, nameFrom } from "../ui/names";
import classes from "./Shell.module.css";

export function WorkspaceSwitcher() {
  const { session, workspace } = usePlace();
  const rights = useRights();
  const navigate = useNavigate();
  const [isCreating, creating] = useDisclosure();
  const title = workspace.title || workspace.name;
  return (
    <>
      <Menu width="target" position="bottom-start">
        <Menu.Target>
          <UnstyledButton className={classes.workspace} aria-label={`Workspace ${title}`}>
            <Avatar size={26} radius="sm" color="iris" name={title} aria-hidden />
            <span className={classes.workspaceName}>{title}</span>
            <IconSelector size={15} aria-hidden />
          </UnstyledButton>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Label>Workspaces</Menu.Label>
          {session.workspaces.map((each) => (
            <Menu.Item
              key={each.name}
              onClick={() => void navigate(`/w/${each.name}/models`)}
              rightSection={each.name === workspace.name && <IconCheck size={15} aria-label="open now" />}
            >
              <Group gap={6} wrap="nowrap">
                <Text size="sm" truncate>
                  {each.title || each.name}
                </Text>
                <Text size="xs" c="dimmed">
                  {each.role}
                </Text>
              </Group>
            </Menu.Item>
          ))}
          {rights.system && (
            <>
              <Menu.Divider />
              <Menu.Item leftSection={<IconPlus size={15} />} onClick={creating.open}>
                New workspace
              </Menu.Item>
            </>
          )}
        </Menu.Dropdown>
      </Menu>
      <Modal opened={isCreating} onClose={creating.close} title="New workspace">
        <NewWorkspace onDone={creating.close} />
      </Modal>
    </>
  );
}

function NewWorkspace({ onDone }: { onDone: () => void }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [title, setTitle] = useState("");
  const [name, setName] = useState<string | null>(null);
  const wanted = name ?? nameFrom(title);
  const create = useAction({
    run: () => api.createWorkspace(wanted, title.trim()),
    done: "Workspace created",
    failed: "Could not create the workspace",
    after: async (_, created) => {
      await client.invalidateQueries({ queryKey: sessionQuery.queryKey });
      onDone();
      void navigate(`/w/${created.name}/models`);
    },
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        create.mutate();
      }}
    >
      <Stack>
        <Text size="sm" c="dimmed">
          Models, apps, keys and members of one workspace are invisible to all others.
        </Text>
        <TextInput
          data-autofocus
          label="Title"
          placeholder="Fraud team"
          value={title}
          onChange={(event) => setTitle(event.currentTarget.value)}
          required
        />
        <TextInput
          label="Name in addresses"
          description={NAME_RULE}
          value={wanted}
          onChange={(event) => setName(event.currentTarget.value)}
          error={wanted !== "" && !isName(wanted) ? NAME_RULE : detailLines(create.error)[0]}
          required
        />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={create.isPending} disabled={!title.trim() || !isName(wanted)}>
            Create
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
