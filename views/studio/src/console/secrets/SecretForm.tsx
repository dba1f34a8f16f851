import { Button, Group, Stack, Switch, Text, Textarea, TextInput } from "@mantine/core";
import { useState } from "react";
import { useAction, usePlace } from "../api/queries";
import type { Secret } from "../api/types";
import classes from "./SecretForm.module.css";

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$/;

/** A new secret, or a new value for one that is there. */
export function SecretForm({ secret, onDone }: { secret: Secret | null; onDone: () => void }) {
  const { api } = usePlace();
  const [name, setName] = useState(secret?.name ?? "");
  const [value, setValue] = useState("");
  const [description, setDescription] = useState(secret?.description ?? "");
  const [isShown, setShown] = useState(false);
  const isNameBad = name !== "" && !NAME.test(name);
  const save = useAction({
    run: () => api.setSecret(name, value, description),
    done: `${name} is set`,
    failed: "Could not set the secret",
    after: onDone,
  });
  return (
    <form
      autoComplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        if (name && value && !isNameBad) save.mutate();
      }}
    >
      <Stack>
        {!secret && (
          <TextInput
            data-autofocus
            label="Name"
            placeholder="HF_TOKEN"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            error={isNameBad && "Letters, digits, underscores, hyphens and dots."}
            styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }}
          />
        )}
        <div>
          <Textarea
            {...(secret && { "data-autofocus": true })}
            label="Value"
            description="One line or many, as it is pasted. It is encrypted, and cannot be read back here."
            autosize
            maxRows={8}
            autoComplete="off"
            spellCheck={false}
            value={value}
            onChange={(event) => setValue(event.currentTarget.value)}
            classNames={{ input: isShown ? "" : classes.hidden }}
          />
          <Switch
            size="xs"
            mt={6}
            label="Show it"
            checked={isShown}
            onChange={(event) => setShown(event.currentTarget.checked)}
          />
        </div>
        <TextInput
          label="What it is for"
          value={description}
          onChange={(event) => setDescription(event.currentTarget.value)}
        />
        {secret && secret.used_by.length > 0 && (
          <Text size="sm" c="dimmed">
            Running models get the new value when they are started again; Restart on a version's page does
            that without a pause.
          </Text>
        )}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={save.isPending} disabled={!name || !value || isNameBad}>
            Set it
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
