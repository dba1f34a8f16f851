import { Button, type ButtonProps, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { IconRocket } from "@tabler/icons-react";
import { useState } from "react";
import { useNavigate } from "react-router";
import { ApiError } from "../api/errors";
import { useAction, useModels, usePlace } from "../api/queries";
import type { ZooEntry } from "../api/types";
import { isName, NAME_RULE } from "../ui/names";

type Deployable = Pick<ZooEntry, "name" | "deployed_as">;

/** One click: a version is made, and its page shows how it comes to life. */
export function DeployButton({ entry, ...props }: { entry: Deployable } & ButtonProps) {
  const { api, workspace } = usePlace();
  const navigate = useNavigate();
  const [isTaken, setTaken] = useState(false);
  const deploy = useAction({
    run: (name: string | null) => api.deployZooEntry(entry.name, name),
    failed: `Could not deploy ${entry.name}`,
    refused: (error) => {
      const isRefused = error instanceof ApiError && error.code === "name_taken";
      setTaken(isRefused);
      return isRefused;
    },
    after: (_, version, name) =>
      navigate(`/w/${workspace.name}/models/${name ?? entry.name}/versions/${version.number}`),
  });
  return (
    <>
      <Button
        leftSection={<IconRocket size={16} />}
        loading={deploy.isPending}
        onClick={() => deploy.mutate(null)}
        aria-label={`Deploy ${entry.name}`}
        {...props}
      >
        {entry.deployed_as.includes(entry.name) ? "Deploy again" : "Deploy"}
      </Button>
      {isTaken && (
        <NameDialog
          taken={entry.name}
          isBusy={deploy.isPending}
          onName={(name) => deploy.mutate(name)}
          onClose={() => setTaken(false)}
        />
      )}
    </>
  );
}

/** The entry's own name is a model of somebody's: the new one gets another, or becomes a version knowingly. */
function NameDialog({
  taken,
  isBusy,
  onName,
  onClose,
}: {
  taken: string;
  isBusy: boolean;
  onName: (name: string) => void;
  onClose: () => void;
}) {
  const names = new Set(useModels().data?.map(({ name }) => name));
  const [name, setName] = useState(`${taken}-zoo`);
  const isBad = !isName(name);
  return (
    <Modal opened onClose={onClose} title="That name is in use">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!isBad) onName(name);
        }}
      >
        <Stack>
          <Text size="sm">There is a model {taken} that was not made from the zoo. It stays as it is.</Text>
          <TextInput
            data-autofocus
            label="Name of the new model"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            description={names.has(name) ? `This becomes a new version of ${name}.` : undefined}
            error={isBad && NAME_RULE}
          />
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={isBusy} disabled={isBad}>
              Deploy
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
