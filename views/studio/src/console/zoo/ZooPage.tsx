import { Anchor, Badge, Chip, Group, SimpleGrid, Stack, Text } from "@mantine/core";
import { IconPlanet } from "@tabler/icons-react";
import { useMemo } from "react";
import { Link, useSearchParams } from "react-router";
import { usePlace, useRights, useZoo } from "../api/queries";
import type { ZooEntry } from "../api/types";
import { FrameworkIcon, FrameworkName } from "../ui/Framework";
import { plural } from "../ui/format";
import { Page, Section } from "../ui/Page";
import { SearchField } from "../ui/SearchField";
import { Empty, Loaded, Loading } from "../ui/States";
import { DeployButton } from "./DeployButton";
import classes from "./ZooPage.module.css";

/** Models that come with Tenfold, each one click away from an API and an app. */
export function Component() {
  const zoo = useZoo();
  const [parameters, setParameters] = useSearchParams();
  const search = parameters.get("q") ?? "";
  const offlineOnly = parameters.has("offline");
  const change = (next: { q?: string; offline?: boolean }) => {
    const wanted = { q: search, offline: offlineOnly, ...next };
    setParameters(
      { ...(wanted.q && { q: wanted.q }), ...(wanted.offline && { offline: "1" }) },
      { replace: true },
    );
  };
  return (
    <Page
      title="Zoo"
      description="Models to start from. Each becomes an API and an app, and can be opened, changed and deployed again like your own."
      actions={<SearchField label="Search the zoo" value={search} onChange={(q) => change({ q })} />}
    >
      <Loaded query={zoo} what="the zoo" loading={<Loading rows={4} height={150} />}>
        {(entries) => (
          <Stack gap="md">
            {entries.some(({ needs_network }) => needs_network) && (
              <Chip size="sm" checked={offlineOnly} onChange={(offline) => change({ offline })}>
                Without a network
              </Chip>
            )}
            <Cards entries={entries} search={search} offlineOnly={offlineOnly} />
          </Stack>
        )}
      </Loaded>
    </Page>
  );
}

function Cards({
  entries,
  search,
  offlineOnly,
}: {
  entries: ZooEntry[];
  search: string;
  offlineOnly: boolean;
}) {
  const found = useMemo(
    () => entries.filter((entry) => matches(entry, search) && !(offlineOnly && entry.needs_network)),
    [entries, search, offlineOnly],
  );
  if (found.length === 0) {
    return (
      <Empty icon={<IconPlanet size={24} />} title="Nothing found">
        None of {plural(entries.length, "model")} matches{search && ` “${search}”`}.
      </Empty>
    );
  }
  return (
    <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }} spacing="lg">
      {found.map((entry) => (
        <Card key={entry.name} entry={entry} />
      ))}
    </SimpleGrid>
  );
}

function Card({ entry }: { entry: ZooEntry }) {
  const { workspace } = usePlace();
  const rights = useRights();
  const root = `/w/${workspace.name}`;
  return (
    <Section className={classes.card} aria-label={entry.title}>
      <Stack gap="sm" h="100%">
        <Group gap="sm" wrap="nowrap" align="flex-start">
          <FrameworkIcon name={entry.framework} />
          <div style={{ minWidth: 0 }}>
            <Anchor component={Link} to={`${root}/zoo/${entry.name}`} fw={600} c="inherit">
              {entry.title}
            </Anchor>
            <Text size="xs" c="dimmed">
              {entry.task} · <FrameworkName name={entry.framework} />
            </Text>
          </div>
        </Group>
        <Text size="sm" flex={1}>
          {entry.summary}
        </Text>
        <Group justify="space-between" gap="xs">
          <Group gap={4}>
            {entry.needs_network && (
              <Badge size="sm" variant="light" color="yellow" tt="none">
                needs a network
              </Badge>
            )}
            {entry.deployed_as.map((model) => (
              <Badge
                key={model}
                component={Link}
                to={`${root}/models/${model}`}
                size="sm"
                variant="light"
                tt="none"
                style={{ cursor: "pointer" }}
              >
                {model}
              </Badge>
            ))}
          </Group>
          {rights.write && <DeployButton entry={entry} size="xs" />}
        </Group>
      </Stack>
    </Section>
  );
}

function matches(entry: ZooEntry, search: string): boolean {
  const wanted = search.trim().toLowerCase();
  return [entry.name, entry.title, entry.summary, entry.task, entry.framework, ...entry.tags].some((text) =>
    text.toLowerCase().includes(wanted),
  );
}
