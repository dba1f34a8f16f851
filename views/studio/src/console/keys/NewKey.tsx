import { Box, Button, Checkbox, Group, Select, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { useAction, usePlace, useRights } from "../api/queries";
import type { CreatedKey, Scope } from "../api/types";
import classes from "./Keys.module.css";
import { SCOPES } from "./scopes";

const LIFETIMES = [
  { value: "30", label: "30 days" },
  { value: "90", label: "90 days" },
  { value: "365", label: "A year" },
  { value: "never", label: "Never" },
];

export function NewKey({
  onCreated,
  onCancel,
}: {
  onCreated: (key: CreatedKey) => void;
  onCancel: () => void;
}) {
  const { api } = usePlace();
  const rights = useRights();
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<Scope[]>(["predict"]);
  const [lifetime, setLifetime] = useState("90");
  const create = useAction({
    run: () =>
      api.createKey({
        name: name.trim(),
        scopes,
        ...(lifetime !== "never" && { expires_in_days: Number(lifetime) }),
      }),
    failed: "Could not create the key",
    after: (_, created) => onCreated(created),
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        create.mutate();
      }}
    >
      <Stack>
        <TextInput
          data-autofocus
          label="Name"
          description="What will use it; only people see this."
          placeholder="checkout service"
          required
          maxLength={100}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Checkbox.Group
          label="Scopes"
          description="As little as it needs."
          value={scopes}
          onChange={(next) => setScopes(next as Scope[])}
        >
          <Stack gap={8} mt={8}>
            {SCOPES.filter(({ needs }) => rights[needs]).map(({ scope, title, explanation }) => (
              <Checkbox.Card key={scope} value={scope} className={classes.scope ?? ""} aria-label={title}>
                <Checkbox.Indicator mt={1} />
                <Box>
                  <Text size="sm" fw={600}>
                    {title}
                  </Text>
                  <Text size="xs" c="dimmed">
                    {explanation}
                  </Text>
                </Box>
              </Checkbox.Card>
            ))}
          </Stack>
        </Checkbox.Group>
        <Select
          label="Ends after"
          allowDeselect={false}
          value={lifetime}
          onChange={(value) => setLifetime(value ?? "90")}
          data={LIFETIMES}
          maw={220}
        />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onCancel}>
            Cancel
          </Button>
          <Button type="submit" loading={create.isPending} disabled={!name.trim() || scopes.length === 0}>
            Create
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
