import { Button, Group, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { useAction, usePlace } from "../api/queries";
import type { Secret } from "../api/types";

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** A new secret, or a new value for one that is there. */
export function SecretForm({ secret, onDone }: { secret: Secret | null; onDone: () => void }) {
  const { api } = usePlace();
  const [name, setName] = useState(secret?.name ?? "");
  const [value, setValue] = useState("");
  const [description, setDescription] = useState(secret?.description ?? "");
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
        <PasswordInput
          {...(secret && { "data-autofocus": true })}
          label="Value"
          description="It is encrypted, and cannot be read back here."
          autoComplete="new-password"
          value={value}
          onChange={(event) => setValue(event.currentTarget.value)}
        />
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
