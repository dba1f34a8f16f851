import { Anchor, Box, Button, Center, Code, Group, Stack, Text, Title } from "@mantine/core";
import { IconMapOff } from "@tabler/icons-react";
import { useEffect } from "react";
import { Link, useRouteError } from "react-router";
import { messageOf } from "../api/errors";
import { Empty } from "../ui/States";

/** An address without a page, inside the shell. */
export function NotFound() {
  useEffect(() => {
    document.title = "Not found · Tenfold";
  }, []);
  return (
    <Empty
      icon={<IconMapOff size={24} />}
      title="There is no page at this address"
      action={
        <Button component={Link} to="/">
          To the models
        </Button>
      }
    >
      It may have been renamed or deleted, or the address was cut off when it was copied.
    </Empty>
  );
}

export function NotFoundScreen() {
  return (
    <Center mih="100vh" p="md">
      <Box maw={560} w="100%">
        <NotFound />
      </Box>
    </Center>
  );
}

export function NoWorkspace() {
  return (
    <Center mih="100vh" p="md">
      <Box maw={560} w="100%">
        <Empty icon={<IconMapOff size={24} />} title="You are in no workspace">
          Ask an admin to invite you to one.
        </Empty>
      </Box>
    </Center>
  );
}

/** A fault in the console itself. A page that was open during an upgrade asks for files that are gone: reload helps. */
export function CrashPage() {
  const error = useRouteError();
  useEffect(() => {
    document.title = "Something broke · Tenfold";
  }, []);
  return (
    <Center mih="60vh" p="md">
      <Stack maw={520} gap="sm" role="alert">
        <Title order={1} size="h2">
          This page broke
        </Title>
        <Text c="dimmed">
          Nothing of yours is lost: this is the console's own fault, not your model's. Reloading helps when
          Tenfold has just been upgraded.
        </Text>
        <Code block>{messageOf(error)}</Code>
        <Group>
          <Button onClick={() => location.reload()}>Reload</Button>
          <Anchor component={Link} to="/" size="sm">
            To the models
          </Anchor>
        </Group>
      </Stack>
    </Center>
  );
}
