import { Alert, Anchor, Badge, Box, Button, Code, Group, SimpleGrid, Tabs, Text } from "@mantine/core";
import { IconAlertTriangle, IconRefresh, IconTrash } from "@tabler/icons-react";
import { useEffect, useReducer } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { appendLog, emptyLog, type LogState } from "../api/logs";
import { isEnvironmentBusy, useAction, useEnvironment, usePlace, useRights } from "../api/queries";
import type { Environment, LogLine } from "../api/types";
import { Packages } from "../models/VersionPage";
import { CodeBlock } from "../ui/CodeBlock";
import { useConfirm } from "../ui/Confirm";
import { CopyIcon } from "../ui/Copy";
import { formatBytes, formatSeconds } from "../ui/format";
import { LogViewer } from "../ui/LogViewer";
import { Facts, Page, Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Loaded, PageLoading } from "../ui/States";
import { Ago } from "../ui/Time";
import { environmentName } from "./name";

const POLL_MS = 1_000;

export function Component() {
  const { environment: id = "" } = useParams();
  const environment = useEnvironment(id);
  return (
    <Loaded query={environment} what="the environment" loading={<PageLoading />}>
      {(loaded) => <EnvironmentScreen key={loaded.id} environment={loaded} />}
    </Loaded>
  );
}

function EnvironmentScreen({ environment }: { environment: Environment }) {
  const { api, workspace } = usePlace();
  const rights = useRights();
  const log = useBuildLog(environment.id, isEnvironmentBusy(environment.state));
  const navigate = useNavigate();
  const confirm = useConfirm();
  const root = `/w/${workspace.name}`;
  const isUsed = environment.models.length + environment.apps.length + environment.names.length > 0;
  const rebuild = useAction({
    run: () => api.rebuildEnvironment(environment.id),
    done: "Building it again",
    failed: "Could not build it again",
  });
  const remove = useAction({
    run: () => api.deleteEnvironment(environment.id),
    done: "Deleted the environment",
    failed: "Could not delete it",
    after: () => navigate(`${root}/environments`),
  });
  const askRebuild = async () => {
    const isSure =
      environment.state === "failed" ||
      (await confirm({
        title: "Build it again?",
        body: "Its folder is made anew from the same lock, in case it was damaged. What runs in it goes on meanwhile.",
        action: "Build again",
      }));
    if (isSure) rebuild.mutate();
  };
  return (
    <Page
      title={environmentName(environment)}
      crumbs={[{ label: "Environments", to: `${root}/environments` }]}
      badges={
        <>
          <StateBadge state={environment.state} />
          {environment.names.map((name) => (
            <Badge key={name} tt="none" variant="light">
              {name}
            </Badge>
          ))}
        </>
      }
      actions={
        rights.write && (
          <>
            {!isUsed && (
              <Button
                variant="default"
                leftSection={<IconTrash size={16} />}
                loading={remove.isPending}
                onClick={() => remove.mutate()}
              >
                Delete
              </Button>
            )}
            {(environment.state === "failed" || environment.state === "ready") && (
              <Button
                variant={environment.state === "failed" ? "filled" : "default"}
                leftSection={<IconRefresh size={16} />}
                loading={rebuild.isPending}
                onClick={() => void askRebuild()}
              >
                Build again
              </Button>
            )}
          </>
        )
      }
    >
      {environment.state === "failed" && (
        <Alert
          color="red"
          variant="light"
          role="alert"
          icon={<IconAlertTriangle size={20} />}
          title="It could not be built"
        >
          <Text size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
            {environment.reason}
          </Text>
          {environment.hint && (
            <Text size="sm" c="dimmed" mt={6}>
              {environment.hint}
            </Text>
          )}
        </Alert>
      )}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Section title="About">
          <Facts
            facts={[
              ["Python", environment.python_version ?? "the platform's own"],
              ["Made", <Ago key="made" at={environment.created_at} />],
              ["Built in", formatSeconds(environment.build_seconds)],
              ["Packages", environment.packages.length],
              ["On disk", formatBytes(environment.size_bytes)],
              ["Used by", <Users key="users" environment={environment} root={root} />],
              [
                "Lock",
                environment.lock_digest ? (
                  <Group key="lock" gap={4} wrap="nowrap">
                    <Code>{environment.lock_digest.slice(0, 16)}…</Code>
                    <CopyIcon text={environment.lock_digest} label="Copy the lock's digest" />
                  </Group>
                ) : (
                  "not resolved yet"
                ),
              ],
            ]}
          />
        </Section>
        <Section title="Asked for">
          {environment.requirements.length > 0 ? (
            <CodeBlock
              code={environment.requirements.join("\n")}
              label="Copy the requirements"
              maxHeight={200}
            />
          ) : (
            <Text size="sm" c="dimmed">
              Nothing beyond the standard library.
            </Text>
          )}
        </Section>
      </SimpleGrid>
      <Section flush>
        <Tabs defaultValue={environment.state === "ready" ? "packages" : "log"} keepMounted={false}>
          <Tabs.List px="md">
            <Tabs.Tab value="packages" py="sm">
              Packages
            </Tabs.Tab>
            <Tabs.Tab value="lock" py="sm">
              Lock
            </Tabs.Tab>
            <Tabs.Tab value="log" py="sm">
              Build log
            </Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="packages">
            <Packages packages={environment.packages} />
          </Tabs.Panel>
          <Tabs.Panel value="lock">
            <Box p="md">
              {environment.lock ? (
                <CodeBlock code={environment.lock} label="Copy the lock" maxHeight={520} />
              ) : (
                <Text size="sm" c="dimmed">
                  The lock is written once the requirements are resolved.
                </Text>
              )}
            </Box>
          </Tabs.Panel>
          <Tabs.Panel value="log">
            <LogViewer
              log={log}
              fileName={`environment-${environment.id}.log`}
              emptyText="The build writes here."
            />
          </Tabs.Panel>
        </Tabs>
      </Section>
    </Page>
  );
}

function Users({ environment: { models, apps }, root }: { environment: Environment; root: string }) {
  if (models.length + apps.length === 0) return "nothing";
  return (
    <Group gap="xs">
      {models.map(({ model, version }) => (
        <Anchor
          key={`${model}@${version}`}
          component={Link}
          size="sm"
          to={`${root}/models/${model}/versions/${version}`}
        >
          {model} v{version}
        </Anchor>
      ))}
      {apps.map(({ app, release }) => (
        <Anchor
          key={`${app}@${release}`}
          component={Link}
          size="sm"
          to={`${root}/apps/${app}/releases/${release}`}
        >
          {app} release {release}
        </Anchor>
      ))}
    </Group>
  );
}

/** All of the log, then what is added while it builds. */
function useBuildLog(id: string, isBusy: boolean): LogState {
  const { api } = usePlace();
  const [log, add] = useReducer((state: LogState, lines: LogLine[]) => appendLog(state, lines), emptyLog);
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    let after = 0;
    const read = async () => {
      try {
        const page = await api.environmentLogs(id, after, abort.signal);
        if (abort.signal.aborted) return;
        add(page.items);
        after = Math.max(after, page.next_after);
        if (page.items.length > 0) return void read();
      } catch {
        // The banner says that the server is away; the next round tries again.
      }
      if (isBusy && !abort.signal.aborted) timer = setTimeout(() => void read(), POLL_MS);
    };
    void read();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [api, id, isBusy]);
  return log;
}
