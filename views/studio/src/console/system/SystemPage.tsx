import { Alert, Box, Button, Code, Group, SimpleGrid, Table, Text } from "@mantine/core";
import { api } from "../api/client";
import { useAction, useSystemStatus, useWheelCache } from "../api/queries";
import type { ProcessStatus, SystemStatus } from "../api/types";
import { CopyIcon } from "../ui/Copy";
import { formatBytes } from "../ui/format";
import { isolationMeaning, isolationName } from "../ui/Isolation";
import { Facts, Page, Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Loaded, PageLoading } from "../ui/States";
import { Ago } from "../ui/Time";

export function Component() {
  const status = useSystemStatus();
  return (
    <Page title="System" description="The processes and stores of this installation.">
      <Loaded query={status} what="the system's state" loading={<PageLoading />}>
        {(loaded) => <Status status={loaded} />}
      </Loaded>
    </Page>
  );
}

const DOES: Record<string, string> = {
  api: "this console and the management API",
  gateway: "predictions, worklets and published views",
  engine: "environment builds and background jobs",
  controller: "keeps replicas as they should be",
};

function Status({ status }: { status: SystemStatus }) {
  const missing = Object.keys(DOES).filter(
    (kind) => !status.processes.some((process) => process.kind === kind && process.alive),
  );
  return (
    <>
      {missing.length > 0 && (
        <Alert color="red" variant="light" role="alert" title={`Not running: ${missing.join(", ")}`}>
          <Text size="sm">
            On one machine <Code>tenfold up</Code> restarts what ends; <Code>tenfold status</Code> shows the
            same from a terminal.
          </Text>
        </Alert>
      )}
      <SimpleGrid cols={{ base: 1, sm: 3 }} spacing="lg">
        <Store
          name="PostgreSQL"
          isOk={status.database.ok}
          detail={`${formatBytes(status.database.size_bytes)} of data`}
        />
        <Store name="Redis" isOk={status.redis.ok} detail="broker and caches; holds nothing that must last" />
        <Section>
          <Text size="sm" c="dimmed">
            Isolation of user code
          </Text>
          <Text fw={650} size="lg" mt={2}>
            {isolationName(status.isolation)}
          </Text>
          {isolationMeaning(status.isolation).map((sentence) => (
            <Text key={sentence} size="xs" c="dimmed" mt={4}>
              {sentence}
            </Text>
          ))}
        </Section>
      </SimpleGrid>
      <Section title="Processes" flush>
        <Processes processes={status.processes} />
      </Section>
      <Section title="Installation">
        <Facts
          facts={[
            ["Version", status.version],
            [
              "Data folder",
              <Box key="data" style={{ display: "flex", alignItems: "center", gap: 4 }}>
                <Code>{status.data_dir}</Code>
                <CopyIcon text={status.data_dir} label="Copy the data folder" />
              </Box>,
            ],
            ["Wheel cache", <Wheels key="wheels" />],
          ]}
        />
      </Section>
    </>
  );
}

/** What environment builds download once. */
function Wheels() {
  const cache = useWheelCache();
  const prune = useAction({
    run: () => api.pruneWheelCache(),
    done: ({ freed_bytes }) => `Freed ${formatBytes(freed_bytes)}`,
    failed: "Could not prune the wheel cache",
    after: (client) => client.invalidateQueries({ queryKey: ["wheel-cache"] }),
  });
  return (
    <Group gap="sm">
      <span>{cache.error ? "not known" : formatBytes(cache.data?.size_bytes)}</span>
      <Button
        size="compact-xs"
        variant="default"
        loading={prune.isPending}
        onClick={() => prune.mutate()}
        disabled={!cache.data?.size_bytes}
      >
        Remove what no build would use
      </Button>
    </Group>
  );
}

function Store({ name, isOk, detail }: { name: string; isOk: boolean; detail: string }) {
  return (
    <Section>
      <Text size="sm" c="dimmed">
        {name}
      </Text>
      <Box mt={6}>
        <StateBadge state={isOk ? "alive" : "gone"} label={isOk ? "Answers" : "Does not answer"} />
      </Box>
      <Text size="xs" c="dimmed" mt={6}>
        {detail}
      </Text>
    </Section>
  );
}

function Processes({ processes }: { processes: ProcessStatus[] }) {
  const sorted = [...processes].sort(
    (a, b) => Number(b.alive) - Number(a.alive) || a.kind.localeCompare(b.kind),
  );
  if (sorted.length === 0)
    return (
      <Text p="lg" size="sm" c="dimmed">
        No process has reported yet.
      </Text>
    );
  return (
    <Box style={{ overflowX: "auto" }}>
      <Table horizontalSpacing="lg" verticalSpacing={10} aria-label="Processes">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Process</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th visibleFrom="sm">Where</Table.Th>
            <Table.Th>Started</Table.Th>
            <Table.Th visibleFrom="sm">Last seen</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {sorted.map((process) => (
            <Table.Tr key={`${process.kind}-${process.host}-${process.pid}`}>
              <Table.Td>
                <Text size="sm" fw={600}>
                  {process.kind}
                </Text>
                <Text size="xs" c="dimmed">
                  {DOES[process.kind] ?? ""}
                </Text>
              </Table.Td>
              <Table.Td>
                <StateBadge state={process.alive ? "alive" : "gone"} />
              </Table.Td>
              <Table.Td visibleFrom="sm">
                <Text size="sm" ff="monospace" fz={12.5}>
                  {process.host}, {process.pid}
                </Text>
              </Table.Td>
              <Table.Td>
                <Ago at={process.started_at} />
              </Table.Td>
              <Table.Td visibleFrom="sm">
                <Ago at={process.seen_at} />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Box>
  );
}
