import {
  Alert,
  Anchor,
  Badge,
  Box,
  Button,
  Code,
  Group,
  List,
  SimpleGrid,
  Stack,
  Table,
  Tabs,
  Text,
  TextInput,
} from "@mantine/core";
import {
  IconAlertTriangle,
  IconArrowBackUp,
  IconArrowUp,
  IconDownload,
  IconGitCompare,
  IconPlayerPlay,
  IconPlayerStop,
  IconRefresh,
  IconSearch,
} from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { Link, useParams, useSearchParams } from "react-router";
import { useVersionEvents } from "../api/event-stream";
import { useModel, usePlace, useRights, useVersion, useVersionFile } from "../api/queries";
import type {
  Compiled,
  Deployment,
  EnvironmentSummary,
  InstalledPackage,
  Replica,
  Version,
  Warning,
} from "../api/types";
import { NotFound } from "../shell/ErrorPages";
import { CopyIcon } from "../ui/Copy";
import { Editor } from "../ui/Editor";
import { Files } from "../ui/Files";
import { isReadable } from "../ui/file-tree";
import { formatBytes, formatSeconds, plural } from "../ui/format";
import { IsolationBadge } from "../ui/Isolation";
import { LogViewer } from "../ui/LogViewer";
import { Facts, Page, Section } from "../ui/Page";
import { Stages } from "../ui/Stages";
import { StateBadge } from "../ui/StateBadge";
import { Failed, Loaded, Loading, PageLoading } from "../ui/States";
import { Ago } from "../ui/Time";
import { statusOf, useVersionActions } from "./version-actions";

export function Component() {
  const { model: name = "", number: text = "" } = useParams();
  const number = /^\d+$/.test(text) ? Number(text) : null;
  const version = useVersion(name, number);
  if (number === null) return <NotFound />;
  return (
    <Loaded query={version} what={`version ${number} of ${name}`} loading={<PageLoading />}>
      {(loaded) => <VersionScreen key={loaded.id} model={name} version={loaded} />}
    </Loaded>
  );
}

function VersionScreen({ model: name, version }: { model: string; version: Version }) {
  const { api, workspace } = usePlace();
  const rights = useRights();
  const model = useModel(name);
  const production = model.data?.production_version ?? null;
  const actions = useVersionActions(name, version, production);
  const [parameters, setParameters] = useSearchParams();
  const { log, stream } = useVersionEvents(name, version.number);
  const root = `/w/${workspace.name}`;
  const canAct = rights.write && version.state === "ready";

  return (
    <Page
      title={`${name} version ${version.number}`}
      heading={`Version ${version.number}`}
      crumbs={[
        { label: "Models", to: `${root}/models` },
        { label: name, to: `${root}/models/${name}` },
        { label: "Versions", to: `${root}/models/${name}/versions` },
      ]}
      badges={
        <>
          <StateBadge state={statusOf(version)} />
          {version.aliases.map((alias) => (
            <Badge key={alias} tt="none" variant="light">
              {alias}
            </Badge>
          ))}
        </>
      }
      description={
        <>
          Deployed <Ago at={version.created_at} />
          {version.created_by && ` by ${version.created_by}`}
        </>
      }
      actions={
        canAct && (
          <>
            {actions.isOn && (
              <Button
                variant="default"
                leftSection={<IconRefresh size={16} />}
                onClick={actions.restart}
                loading={actions.isBusy}
              >
                Restart
              </Button>
            )}
            {actions.isOn ? (
              <Button
                variant="default"
                leftSection={<IconPlayerStop size={16} />}
                onClick={() => void actions.stop()}
                loading={actions.isBusy}
              >
                Stop
              </Button>
            ) : (
              <Button
                variant="default"
                leftSection={<IconPlayerPlay size={16} />}
                onClick={actions.start}
                loading={actions.isBusy}
              >
                Start
              </Button>
            )}
            {!actions.isProduction && (
              <Button
                leftSection={actions.isRollback ? <IconArrowBackUp size={16} /> : <IconArrowUp size={16} />}
                onClick={() => void actions.promote()}
                loading={actions.isBusy}
              >
                {actions.promoteTitle}
              </Button>
            )}
          </>
        )
      }
    >
      {version.state === "failed" && (
        <Failure title="This version failed" reason={version.reason} hint={version.hint} />
      )}
      {version.state !== "failed" && version.deployment?.status === "unhealthy" && (
        <Failure
          title="It keeps failing"
          reason={
            version.deployment.unhealthy_reason ||
            `It ended ${plural(version.deployment.failures, "time")} in a row.`
          }
          hint="The log below has its last words. A fixed version can be deployed at any time; the one in production keeps answering."
        />
      )}
      {version.warnings.length > 0 && <Warnings warnings={version.warnings} />}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Section title="Preparation">
          <Stages stages={version.stages} />
        </Section>
        <Stack gap="lg">
          <Section
            title="About"
            aside={
              <>
                {production !== null && production !== version.number && (
                  <Button
                    component={Link}
                    size="xs"
                    variant="subtle"
                    leftSection={<IconGitCompare size={15} />}
                    to={`${root}/models/${name}/compare?from=${production}&to=${version.number}`}
                  >
                    Compare with production
                  </Button>
                )}
                <Button
                  component="a"
                  size="xs"
                  variant="subtle"
                  leftSection={<IconDownload size={15} />}
                  href={api.versionPackageUrl(name, version.number)}
                  download
                >
                  Package
                </Button>
              </>
            }
          >
            <About
              version={version}
              root={root}
              serveOriginal={canAct ? () => void actions.serveOriginal() : undefined}
            />
          </Section>
          <Section title="Replicas" flush>
            <Replicas deployment={version.deployment} />
          </Section>
        </Stack>
      </SimpleGrid>
      <Section flush>
        <Tabs
          value={parameters.get("show") ?? "log"}
          onChange={(show) => setParameters(show && show !== "log" ? { show } : {}, { replace: true })}
          keepMounted={false}
        >
          <Tabs.List px="md">
            <Tabs.Tab value="log" py="sm">
              Log
            </Tabs.Tab>
            <Tabs.Tab value="files" py="sm">
              Files
            </Tabs.Tab>
            <Tabs.Tab value="packages" py="sm">
              Packages
            </Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="log">
            <LogViewer
              log={log}
              stream={stream}
              fileName={`${name}-v${version.number}.log`}
              withSource
              emptyText="The build and the model write here. Nothing yet."
            />
          </Tabs.Panel>
          <Tabs.Panel value="files">
            <PackageFiles model={name} version={version} />
          </Tabs.Panel>
          <Tabs.Panel value="packages">
            <Packages packages={version.environment?.packages ?? []} />
          </Tabs.Panel>
        </Tabs>
      </Section>
    </Page>
  );
}

function Failure({ title, reason, hint }: { title: string; reason: string; hint: string }) {
  return (
    <Alert color="red" variant="light" role="alert" icon={<IconAlertTriangle size={20} />} title={title}>
      <Text size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
        {reason}
      </Text>
      {hint && (
        <Text size="sm" c="dimmed" mt={6}>
          {hint}
        </Text>
      )}
    </Alert>
  );
}

function Warnings({ warnings }: { warnings: Warning[] }) {
  return (
    <Alert color="yellow" variant="light" title={plural(warnings.length, "warning")}>
      <List size="sm" spacing={4}>
        {warnings.map((warning) => {
          const said =
            typeof warning === "string"
              ? warning
              : [warning.path, warning.message].filter(Boolean).join(": ");
          return (
            <List.Item key={said}>
              {said}
              {typeof warning !== "string" && warning.hint ? (
                <Text size="xs" c="dimmed">
                  {warning.hint}
                </Text>
              ) : null}
            </List.Item>
          );
        })}
      </List>
    </Alert>
  );
}

function About({
  version,
  root,
  serveOriginal,
}: {
  version: Version;
  root: string;
  serveOriginal: (() => void) | undefined;
}) {
  const { environment } = version;
  return (
    <Facts
      facts={[
        ["Framework", version.framework || "–"],
        [
          "Package",
          <Group key="package" gap={4}>
            {formatBytes(version.size_bytes)}, {plural(version.files.length, "file")}
          </Group>,
        ],
        [
          "Digest",
          <Group key="digest" gap={4} wrap="nowrap">
            <Code>{version.package_digest.slice(0, 16)}…</Code>
            <CopyIcon text={version.package_digest} label="Copy the digest" />
          </Group>,
        ],
        [
          "Environment",
          environment ? (
            <Anchor
              key="environment"
              component={Link}
              size="sm"
              to={`${root}/environments/${environment.id}`}
            >
              {version.environment_name ? `${version.environment_name}: ` : ""}Python{" "}
              {environment.python_version ?? "?"}, {contentsOf(environment)}
            </Anchor>
          ) : (
            "–"
          ),
        ],
        ...(version.fetched.length > 0
          ? [
              [
                "External data",
                `${plural(version.fetched.length, "file")}, ${formatBytes(version.fetched.reduce((sum, { size }) => sum + size, 0))}`,
              ] as [string, string],
            ]
          : []),
        ...(version.compiled
          ? [
              [
                "Compiled",
                <CompiledForm key="compiled" compiled={version.compiled} serveOriginal={serveOriginal} />,
              ] as [string, ReactNode],
            ]
          : []),
        ["Ready", <Ago key="ready" at={version.ready_at} fallback="not yet" />],
      ]}
    />
  );
}

function CompiledForm({
  compiled: { state, says, report },
  serveOriginal,
}: {
  compiled: Compiled;
  serveOriginal: (() => void) | undefined;
}) {
  const { microseconds } = report;
  return (
    <Stack gap={4} align="flex-start">
      <Text size="sm" style={{ overflowWrap: "anywhere" }}>
        {says}
        {state === "serving" && microseconds && (
          <Text span c="dimmed" size="xs">
            {" "}
            {Math.round(microseconds.compiled[0] ?? 0)} µs for one row instead of{" "}
            {Math.round(microseconds.original[0] ?? 0)}.
          </Text>
        )}
      </Text>
      {state !== "refused" && serveOriginal && (
        <Button size="compact-xs" variant="subtle" onClick={serveOriginal}>
          Serve the original
        </Button>
      )}
    </Stack>
  );
}

function whyNone(deployment: Deployment | null): string {
  if (deployment?.desired_replicas) return "None yet; one is on its way.";
  if (deployment?.status === "asleep") return "None: it sleeps, and the next call wakes it.";
  return "None: this version is stopped.";
}

function Replicas({ deployment }: { deployment: Deployment | null }) {
  const replicas = deployment?.replicas ?? [];
  if (replicas.length === 0) {
    return (
      <Text p="lg" size="sm" c="dimmed">
        {whyNone(deployment)}
      </Text>
    );
  }
  return (
    <Box style={{ overflowX: "auto" }}>
      <Table horizontalSpacing="sm" verticalSpacing={9}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>State</Table.Th>
            <Table.Th>Started</Table.Th>
            <Table.Th>Isolation</Table.Th>
            <Table.Th ta="right">Cold start</Table.Th>
            <Table.Th ta="right">Memory</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {replicas.map((replica) => (
            <Table.Tr key={replica.id}>
              <Table.Td>
                <StateBadge state={replica.state} />
                {wordsOf(replica) && (
                  <Text size="xs" c={replica.state === "failed" ? "var(--tf-bad)" : "dimmed"} mt={3}>
                    {wordsOf(replica)}
                  </Text>
                )}
              </Table.Td>
              <Table.Td>
                <Ago at={replica.started_at} />
              </Table.Td>
              <Table.Td>
                {replica.isolation && <IsolationBadge isolation={replica.isolation} />}
                {packingOf(replica) && (
                  <Text size="xs" c="dimmed" mt={3}>
                    {packingOf(replica)}
                  </Text>
                )}
              </Table.Td>
              <Table.Td ta="right">
                <Unbroken>{formatSeconds(replica.cold_start_seconds)}</Unbroken>
                {replica.load_seconds !== null && (
                  <Text size="xs" c="dimmed">
                    <Unbroken>{formatSeconds(replica.load_seconds)}</Unbroken> in load
                  </Text>
                )}
              </Table.Td>
              <Table.Td ta="right">
                <Unbroken>{formatBytes(replica.memory_bytes)}</Unbroken>
                {replica.peak_memory_bytes !== null && (
                  <Text size="xs" c="dimmed">
                    at most <Unbroken>{formatBytes(replica.peak_memory_bytes)}</Unbroken>
                  </Text>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {deployment?.retry_at && (
        <Text size="xs" c="dimmed" p="md">
          Next try <Ago at={deployment.retry_at} />.
        </Text>
      )}
    </Box>
  );
}

/** A number that stays with its unit. */
function Unbroken({ children }: { children: string }) {
  return <span style={{ whiteSpace: "nowrap" }}>{children}</span>;
}

/** Why it ended, unless that says no more than its state. */
function wordsOf({ state, reason, exit }: Replica): string {
  const said = exit?.reason || reason;
  return said === state ? "" : said;
}

/** With how many a packed one shares its worker, or why with none; nothing for one that is not packed. */
function packingOf({ shares_worker_with: others, alone_because: reason }: Replica): string {
  if (others !== null)
    return others > 0
      ? `Shares its worker with ${plural(others, "other model")}`
      : "Packed: nobody else is in its worker yet";
  return reason ? `Packed, but in a worker of its own: ${reason}` : "";
}

function PackageFiles({ model, version }: { model: string; version: Version }) {
  const readable = version.files.filter(isReadable);
  const [chosen, setChosen] = useState<string | null>(null);
  const path =
    chosen ?? (readable.find((file) => file.path === "model/model.py") ?? readable[0])?.path ?? null;
  const file = version.files.find((each) => each.path === path);
  const canRead = Boolean(file && isReadable(file));
  const content = useVersionFile(model, version.number, canRead ? path : null);
  return (
    <Files files={version.files} selected={path} onSelect={setChosen}>
      {file && !canRead ? (
        <Text p="lg" size="sm" c="dimmed">
          {file.path} has {formatBytes(file.size)} of data that is not text.
        </Text>
      ) : content.data !== undefined && path ? (
        <Editor key={path} text={content.data} fileName={path} label={path} height={520} />
      ) : content.error ? (
        <Box p="md">
          <Failed error={content.error} onRetry={() => void content.refetch()} what="the file" />
        </Box>
      ) : (
        <Box p="md">
          <Loading rows={6} height={18} />
        </Box>
      )}
    </Files>
  );
}

/** What is in it, once that is known. */
function contentsOf({ state, packages }: EnvironmentSummary): string {
  if (state === "ready") return plural(packages.length, "package");
  return state === "failed" ? "could not be built" : "being built";
}

export function Packages({ packages }: { packages: InstalledPackage[] }) {
  const [search, setSearch] = useState("");
  const found = packages.filter(({ name }) => name.toLowerCase().includes(search.trim().toLowerCase()));
  if (packages.length === 0)
    return (
      <Text p="lg" size="sm" c="dimmed">
        No packages: the standard library is enough, or the environment is not built yet.
      </Text>
    );
  return (
    <Box p="md">
      <TextInput
        maw={280}
        mb="sm"
        size="sm"
        aria-label="Find a package"
        placeholder={`Find in ${plural(packages.length, "package")}`}
        leftSection={<IconSearch size={15} />}
        value={search}
        onChange={(event) => setSearch(event.currentTarget.value)}
      />
      <SimpleGrid cols={{ base: 1, xs: 2, md: 3 }} spacing="xs" verticalSpacing={6}>
        {found.map(({ name, version }) => (
          <Group key={name} justify="space-between" gap="xs" wrap="nowrap" px="xs">
            <Text size="sm" truncate>
              {name}
            </Text>
            <Code>{version}</Code>
          </Group>
        ))}
      </SimpleGrid>
    </Box>
  );
}
