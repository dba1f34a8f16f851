import {
  Alert,
  Anchor,
  Box,
  Button,
  Center,
  Code,
  Loader,
  Paper,
  PasswordInput,
  Stack,
  Text,
  TextInput,
  Title,
} from "@mantine/core";
import { IconInfoCircle } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { Navigate, useLocation, useNavigate } from "react-router";
import { api } from "../api/client";
import { ApiError, messageOf, Unreachable } from "../api/errors";
import { sessionQuery, useSession } from "../api/queries";
import type { User } from "../api/types";
import { Mark } from "../shell/Mark";
import { Failed } from "../ui/States";
import { nextAddress } from "./next";
import classes from "./SignIn.module.css";
import { Welcome } from "./Welcome";

/** `/sign-in#<token>` spends a one-time link; without one, e-mail and password. */
export function SignIn() {
  const { hash, pathname, search } = useLocation();
  const navigate = useNavigate();
  const [token] = useState(() => hash.slice(1));
  const next = nextAddress(new URLSearchParams(search).get("next"));

  useEffect(() => {
    document.title = "Sign in · Tenfold";
  }, []);

  useEffect(() => {
    // Whoever looks at the address bar, or at the history, should see no token.
    if (hash) void navigate({ pathname, search }, { replace: true });
  }, [hash, pathname, search, navigate]);

  return <Stage>{token ? <Redeem token={token} next={next} /> : <PasswordForm next={next} />}</Stage>;
}

function Stage({ children }: { children: ReactNode }) {
  return (
    <Center className={classes.stage} component="main">
      <Box className={classes.column}>
        <Box className={classes.mark}>
          <Mark />
        </Box>
        <Paper className={classes.card}>{children}</Paper>
      </Box>
    </Center>
  );
}

/** One redemption per token, however often React draws: the link works once. */
const redemptions = new Map<string, Promise<{ user: User }>>();

function redeemOnce(token: string): Promise<{ user: User }> {
  const known = redemptions.get(token);
  if (known) return known;
  const redemption = api.redeem(token);
  redemptions.set(token, redemption);
  redemption.catch((error: unknown) => {
    if (error instanceof Unreachable) redemptions.delete(token);
  });
  return redemption;
}

function Redeem({ token, next }: { token: string; next: string }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [user, setUser] = useState<User | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [attempt, setAttempt] = useState(0);

  // biome-ignore lint/correctness/useExhaustiveDependencies: an attempt is a reason to redeem again
  useEffect(() => {
    let isGone = false;
    redeemOnce(token).then(
      async (answer) => {
        await client.invalidateQueries({ queryKey: sessionQuery.queryKey });
        if (isGone) return;
        if (answer.user.has_password) void navigate(next, { replace: true });
        else setUser(answer.user);
      },
      (failure: unknown) => !isGone && setError(failure),
    );
    return () => {
      isGone = true;
    };
  }, [token, next, client, navigate, attempt]);

  if (user) return <Welcome user={user} onDone={() => void navigate(next, { replace: true })} />;
  if (error instanceof ApiError && error.status < 500) return <ExpiredLink />;
  if (error) {
    return (
      <Failed
        error={error}
        what="the sign-in"
        onRetry={() => {
          setError(null);
          setAttempt(attempt + 1);
        }}
      />
    );
  }
  return (
    <Center py="xl">
      <Stack align="center" gap="sm">
        <Loader />
        <Text c="dimmed" role="status">
          Signing you in
        </Text>
      </Stack>
    </Center>
  );
}

function ExpiredLink() {
  return (
    <Stack>
      <Title order={1} size="h2">
        This link no longer works
      </Title>
      <Text c="dimmed">
        Sign-in links work once and for a short time. On the machine that runs Tenfold, print a new one:
      </Text>
      <Code block>tenfold sign-in-link</Code>
      <Text size="sm" c="dimmed">
        <Code>tenfold up</Code> prints one too when it starts. If you were invited, ask the person who invited
        you for a new link.
      </Text>
      <Anchor href="/sign-in" size="sm">
        Sign in with e-mail and password
      </Anchor>
    </Stack>
  );
}

function PasswordForm({ next }: { next: string }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const session = useSession();
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);

  if (session.data) return <Navigate to={next} replace />;

  const submit = async () => {
    setBusy(true);
    setError(null);
    try {
      await api.signIn(email, password);
      await client.invalidateQueries({ queryKey: sessionQuery.queryKey });
      void navigate(next, { replace: true });
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <Stack>
        <Title order={1} size="h2">
          Sign in
        </Title>
        {error !== null && (
          <Alert color="red" role="alert">
            {sayWhy(error)}
          </Alert>
        )}
        <TextInput
          label="E-mail"
          type="email"
          autoComplete="username"
          autoFocus
          required
          value={email}
          onChange={(event) => setEmail(event.currentTarget.value)}
        />
        <PasswordInput
          label="Password"
          autoComplete="current-password"
          required
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
        <Button type="submit" loading={isBusy} fullWidth mt={4}>
          Sign in
        </Button>
        <Alert variant="light" color="gray" icon={<IconInfoCircle size={18} />}>
          <Text size="sm">
            No password yet? On the machine that runs Tenfold, <Code>tenfold sign-in-link</Code> prints a link
            that signs you in.
          </Text>
        </Alert>
      </Stack>
    </form>
  );
}

function sayWhy(error: unknown): string {
  if (error instanceof ApiError && error.status === 429) {
    const wait = error.retryAfterSeconds;
    return `Too many attempts. Try again ${wait ? `in ${wait} seconds` : "in a few minutes"}.`;
  }
  if (error instanceof ApiError && error.status === 401) return "E-mail and password do not match.";
  return messageOf(error);
}
