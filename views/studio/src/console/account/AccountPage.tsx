import { Button, Group, PasswordInput, SimpleGrid, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, type ProfileChange } from "../api/client";
import { detailLines } from "../api/errors";
import { sessionQuery, useAction, usePlace } from "../api/queries";
import { LEAST_PASSWORD } from "../sign-in/Welcome";
import { Page, Section } from "../ui/Page";

export function Component() {
  return (
    <Page title="Your account" description="How you appear here, and how you sign in.">
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg" style={{ alignItems: "start" }}>
        <Profile />
        <Password />
      </SimpleGrid>
    </Page>
  );
}

function useChangeProfile(done: string, after: () => void) {
  return useAction({
    run: (change: ProfileChange) => api.changeProfile(change),
    done,
    failed: "Could not save",
    after: async (client) => {
      await client.invalidateQueries({ queryKey: sessionQuery.queryKey });
      after();
    },
  });
}

function Profile() {
  const { user } = usePlace().session;
  const [name, setName] = useState(user.name);
  const [email, setEmail] = useState(user.email);
  const [current, setCurrent] = useState("");
  const save = useChangeProfile("Saved", () => setCurrent(""));
  const isEmailNew = email.trim() !== user.email;
  const needsPassword = isEmailNew && user.has_password;
  const isSame = name.trim() === user.name && !isEmailNew;
  return (
    <Section title="Profile">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate({
            name: name.trim(),
            ...(isEmailNew && { email: email.trim() }),
            ...(needsPassword && { current_password: current }),
          });
        }}
      >
        <Stack>
          <TextInput
            label="Name"
            autoComplete="name"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
          <TextInput
            label="E-mail"
            type="email"
            autoComplete="username"
            required
            value={email}
            onChange={(event) => setEmail(event.currentTarget.value)}
            error={detailLines(save.error)[0]}
          />
          {needsPassword && (
            <PasswordInput
              label="Current password"
              description="Needed to change the e-mail."
              autoComplete="current-password"
              required
              value={current}
              onChange={(event) => setCurrent(event.currentTarget.value)}
            />
          )}
          <Group>
            <Button
              type="submit"
              loading={save.isPending}
              disabled={isSame || !email.trim() || (needsPassword && !current)}
            >
              Save
            </Button>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}

function Password() {
  const { user } = usePlace().session;
  const [current, setCurrent] = useState("");
  const [password, setPassword] = useState("");
  const save = useChangeProfile("Password changed; your other sessions are signed out", () => {
    setCurrent("");
    setPassword("");
  });
  const isShort = password !== "" && password.length < LEAST_PASSWORD;
  return (
    <Section title="Password">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate({ password, ...(user.has_password && { current_password: current }) });
        }}
      >
        <Stack>
          {user.has_password ? (
            <PasswordInput
              label="Current password"
              autoComplete="current-password"
              required
              value={current}
              onChange={(event) => setCurrent(event.currentTarget.value)}
            />
          ) : (
            <Text size="sm" c="dimmed">
              You have none yet: you sign in by link. With a password, {user.email} can sign in at any time.
            </Text>
          )}
          <PasswordInput
            label="New password"
            description={`At least ${LEAST_PASSWORD} characters.`}
            autoComplete="new-password"
            required
            value={password}
            onChange={(event) => setPassword(event.currentTarget.value)}
            error={isShort ? `${LEAST_PASSWORD - password.length} more to go.` : undefined}
          />
          <Group>
            <Button
              type="submit"
              loading={save.isPending}
              disabled={isShort || !password || (user.has_password && !current)}
            >
              Set the password
            </Button>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}
