import { Button, Group, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { useState } from "react";
import { api } from "../api/client";
import { detailLines } from "../api/errors";
import { sessionQuery, useAction } from "../api/queries";
import type { User } from "../api/types";

export const LEAST_PASSWORD = 10;

/** After a one-time link: a way to come back without one. All of it may be skipped. */
export function Welcome({ user, onDone }: { user: User; onDone: () => void }) {
  const [name, setName] = useState(user.name);
  const [email, setEmail] = useState(user.email);
  const [password, setPassword] = useState("");
  const isShort = password !== "" && password.length < LEAST_PASSWORD;
  const needsEmail = password !== "" && email.trim() === "";

  const save = useAction({
    run: () =>
      api.changeProfile({
        ...(name.trim() !== user.name && { name: name.trim() }),
        ...(email.trim() && email.trim() !== user.email && { email: email.trim() }),
        ...(password && { password }),
      }),
    failed: "Could not save",
    after: async (client) => {
      await client.invalidateQueries({ queryKey: sessionQuery.queryKey });
      onDone();
    },
  });

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!isShort && !needsEmail) save.mutate();
      }}
    >
      <Stack>
        <div>
          <Title order={1} size="h2">
            Welcome to Tenfold
          </Title>
          <Text c="dimmed" mt={4}>
            You are signed in. Set a password if you want to come back without a new link.
          </Text>
        </div>
        <TextInput
          label="Your name"
          autoComplete="name"
          autoFocus
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <TextInput
          label="E-mail"
          type="email"
          autoComplete="username"
          value={email}
          onChange={(event) => setEmail(event.currentTarget.value)}
          error={needsEmail ? "Needed to sign in with the password." : detailLines(save.error)[0]}
        />
        <PasswordInput
          label="Password"
          autoComplete="new-password"
          description={`At least ${LEAST_PASSWORD} characters.`}
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
          error={isShort ? `${LEAST_PASSWORD - password.length} more to go.` : undefined}
        />
        <Group justify="space-between" mt={4}>
          <Button variant="subtle" color="gray" onClick={onDone}>
            Skip for now
          </Button>
          <Button type="submit" loading={save.isPending} disabled={isShort || needsEmail}>
            Save and continue
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
