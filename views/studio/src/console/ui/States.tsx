/** Loading, empty and failed: every list and page has all three. */

import {
  Alert,
  Box,
  Button,
  Code,
  Group,
  List,
  Skeleton,
  Stack,
  Text,
  ThemeIcon,
  Title,
} from "@mantine/core";
import { IconAlertTriangle, IconMapOff, IconRefresh } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { ApiError, detailLines, isMissing, messageOf, Unreachable } from "../api/errors";
import classes from "./States.module.css";

export function Empty({
  icon,
  title,
  children,
  action,
}: {
  icon: ReactNode;
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}) {
  return (
    <Box className={classes.empty}>
      <ThemeIcon size={48} radius="lg" variant="light" aria-hidden>
        {icon}
      </ThemeIcon>
      <Title order={2} size="h3" mt="md">
        {title}
      </Title>
      {children && (
        <Text c="dimmed" maw={480} component="div" mt={6}>
          {children}
        </Text>
      )}
      {action && <Box mt="lg">{action}</Box>}
    </Box>
  );
}

/** Why it did not load, what to do, and the request id to quote to whoever runs the server. */
export function Failed({
  error,
  onRetry,
  what = "this page",
}: {
  error: unknown;
  onRetry?: () => void;
  what?: string;
}) {
  const details = detailLines(error);
  if (isMissing(error)) return <Missing error={error} />;
  return (
    <Alert
      role="alert"
      color="red"
      variant="light"
      icon={<IconAlertTriangle size={20} />}
      title={error instanceof Unreachable ? "No connection" : `Could not load ${what}`}
    >
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{messageOf(error)}</Text>
        {error instanceof ApiError && error.hint && (
          <Text size="sm" c="dimmed">
            {error.hint}
          </Text>
        )}
        {details.length > 0 && (
          <List size="sm" spacing={2}>
            {details.map((line) => (
              <List.Item key={line}>{line}</List.Item>
            ))}
          </List>
        )}
        {error instanceof ApiError && error.requestId && (
          <Text size="xs" c="dimmed">
            Request <Code>{error.requestId}</Code>
          </Text>
        )}
        {onRetry && (
          <Button size="xs" variant="default" leftSection={<IconRefresh size={14} />} onClick={onRetry}>
            Try again
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

/** The address leads nowhere; trying again would not help. */
function Missing({ error }: { error: unknown }) {
  const hint = error instanceof ApiError ? error.hint : "";
  return (
    <Empty
      icon={<IconMapOff size={24} />}
      title="Not found"
      action={
        <Button component={Link} to="/">
          To the models
        </Button>
      }
    >
      {messageOf(error)} {hint || "It may have been deleted or renamed."}
    </Empty>
  );
}

export function Loading({ rows = 4, height = 44 }: { rows?: number; height?: number }) {
  return (
    <Stack gap="xs" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the rows are alike and never move
        <Skeleton key={row} height={height} radius="md" />
      ))}
    </Stack>
  );
}

export function PageLoading() {
  return (
    <Stack gap="lg" role="status" aria-label="Loading">
      <Stack gap="xs">
        <Skeleton height={14} width={120} />
        <Skeleton height={30} width={260} />
      </Stack>
      <Group gap="xs">
        <Skeleton height={30} width={96} />
        <Skeleton height={30} width={96} />
        <Skeleton height={30} width={96} />
      </Group>
      <Skeleton height={280} radius="lg" />
    </Stack>
  );
}

interface Question<Data> {
  data: Data | undefined;
  error: unknown;
  refetch: () => unknown;
}

/** Draws a query: its data if there is any, even old; else why not; else that it is coming. */
export function Loaded<Data>({
  query,
  what,
  loading,
  children,
}: {
  query: Question<Data>;
  what?: string;
  loading?: ReactNode;
  children: (data: Data) => ReactNode;
}) {
  if (query.data !== undefined) return children(query.data);
  if (query.error)
    return <Failed error={query.error} onRetry={() => void query.refetch()} {...(what && { what })} />;
  return loading ?? <Loading />;
}
