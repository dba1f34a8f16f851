import { Button, Group, List, Modal, Stack, Text } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { useAction, usePlace } from "../api/queries";
import type { Collected } from "../api/types";
import { formatBytes, plural } from "../ui/format";
import { environmentName } from "./name";

/** Deletes what nothing uses, after saying what that is. */
export function Collect() {
  const { api } = usePlace();
  const [found, setFound] = useState<Collected | null>(null);
  const look = useAction({
    run: () => api.collectEnvironments(true),
    failed: "Could not look for unused environments",
    after: (_, collected) => setFound(collected),
  });
  const collect = useAction({
    run: () => api.collectEnvironments(false),
    done: ({ items, size_bytes }) =>
      `Deleted ${plural(items.length, "environment")}, ${formatBytes(size_bytes)}`,
    failed: "Could not delete them",
    after: () => setFound(null),
  });
  return (
    <>
      <Button
        variant="default"
        leftSection={<IconTrash size={16} />}
        loading={look.isPending}
        onClick={() => look.mutate()}
      >
        Delete unused
      </Button>
      <Modal
        opened={found !== null}
        onClose={() => setFound(null)}
        title="Delete unused environments"
        size="lg"
      >
        {found && (
          <Stack>
            {found.items.length === 0 ? (
              <Text size="sm">Everything is in use: nothing to delete.</Text>
            ) : (
              <>
                <Text size="sm">
                  No version, release or name uses these. A deploy that asks for one again builds it again.
                </Text>
                <List size="sm" spacing={4}>
                  {found.items.map((environment) => (
                    <List.Item key={environment.id}>
                      {environmentName(environment)}, {formatBytes(environment.size_bytes)}
                    </List.Item>
                  ))}
                </List>
              </>
            )}
            <Group justify="flex-end" gap="xs">
              <Button variant="default" onClick={() => setFound(null)}>
                {found.items.length === 0 ? "Close" : "Cancel"}
              </Button>
              {found.items.length > 0 && (
                <Button color="red" loading={collect.isPending} onClick={() => collect.mutate()}>
                  Delete {plural(found.items.length, "environment")}
                </Button>
              )}
            </Group>
          </Stack>
        )}
      </Modal>
    </>
  );
}
