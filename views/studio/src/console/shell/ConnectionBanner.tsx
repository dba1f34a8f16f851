import { Button, Group, Text } from "@mantine/core";
import { IconPlugConnectedX } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState, useSyncExternalStore } from "react";
import { isAlive } from "../api/client";
import { connection } from "../api/connection";
import classes from "./Shell.module.css";

const PROBE_MS = 4_000;

/** Says when the server does not answer, keeps trying, and refreshes the page's data once it does. */
export function ConnectionBanner() {
  const state = useSyncExternalStore(connection.subscribe, connection.get);
  const client = useQueryClient();
  const [isProbing, setProbing] = useState(false);
  const isDown = state === "down";

  useEffect(() => {
    if (!isDown) return;
    const timer = setInterval(() => void isAlive(), PROBE_MS);
    return () => {
      clearInterval(timer);
      void client.invalidateQueries();
    };
  }, [isDown, client]);

  if (!isDown) return null;
  const retry = async () => {
    setProbing(true);
    await isAlive();
    setProbing(false);
  };
  return (
    <Group className={classes.banner} role="alert" gap="sm" justify="center">
      <IconPlugConnectedX size={18} aria-hidden />
      <Text size="sm">Tenfold does not answer. What you see may be old; it refreshes by itself.</Text>
      <Button size="compact-sm" variant="white" color="dark" loading={isProbing} onClick={() => void retry()}>
        Try now
      </Button>
    </Group>
  );
}
