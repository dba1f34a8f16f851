import { Anchor, Badge, Box, Button, Code, Group, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { IconExternalLink, IconLayoutDashboard, IconLink, IconLock, IconWorld } from "@tabler/icons-react";
import { Link, useSearchParams } from "react-router";
import { useApps, usePlace } from "../api/queries";
import type { Access, AppSummary } from "../api/types";
import { plural } from "../ui/format";
import { Page } from "../ui/Page";
import { SearchField } from "../ui/SearchField";
import { Empty, Loaded, Loading } from "../ui/States";
import { Ago } from "../ui/Time";
import classes from "./Apps.module.css";
import { ACCESS } from "./share";

export function Component() {
  const apps = useApps();
  const { workspace } = usePlace();
  const [parameters, setParameters] = useSearchParams();
  const search = parameters.get("q") ?? "";
  const isEmpty = apps.data?.length === 0;
  return (
    <Page
      title="Apps"
      description="Screens and endpoints around your models."
      actions={
        !isEmpty && (
          <SearchField
            label="Search apps"
            value={search}
            onChange={(text) => setParameters(text ? { q: text } : {}, { replace: true })}
          />
        )
      }
    >
      <Loaded query={apps} what="the apps" loading={<Loading rows={3} height={150} />}>
        {(all) => {
          if (all.length === 0) return <NoApps root={`/w/${workspace.name}`} />;
          const wanted = search.trim().toLowerCase();
          const found = all.filter(({ name, title, description }) =>
            `${name} ${title} ${description}`.toLowerCase().includes(wanted),
          );
          return (
            <>
              <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }} spacing="lg">
                {found.map((app) => (
                  <AppCard key={app.name} app={app} root={`/w/${workspace.name}/apps`} />
                ))}
              </SimpleGrid>
              {found.length === 0 && (
                <Text c="dimmed" ta="center">
                  No app of {plural(all.length, "app")} matches “{search}”.
                </Text>
              )}
            </>
          );
        }}
      </Loaded>
    </Page>
  );
}

function AppCard({ app, root }: { app: AppSummary; root: string }) {
  return (
    <Box component="article" className={classes.card}>
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <Box miw={0}>
          <Title order={2} size="h4" className={classes.cardTitle}>
            <Anchor component={Link} to={`${root}/${app.name}`} c="inherit" inherit className={classes.cover}>
              {app.title || app.name}
            </Anchor>
          </Title>
          <Text size="xs" c="dimmed" ff="monospace">
            {app.name}
          </Text>
        </Box>
        <AccessSign access={app.access} />
      </Group>
      <Text size="sm" c="dimmed" lineClamp={2} className={classes.cardText}>
        {app.description ||
          (app.made_for_model ? `The ready-made app of the model ${app.made_for_model}.` : "No description.")}
      </Text>
      <Group gap={6} mt="sm">
        <Badge variant="default" tt="none">
          {plural(app.views.length, "view")}
        </Badge>
        <Badge variant="default" tt="none">
          {plural(app.worklets.length, "worklet")}
        </Badge>
      </Group>
      <Group justify="space-between" mt="md" className={classes.cardFoot}>
        <Text size="xs" c="dimmed">
          {app.live_release ? `release ${app.live_release}` : "not live"} · <Ago at={app.updated_at} />
        </Text>
        {app.live_release !== null && app.views.length > 0 && (
          <Button
            component="a"
            href={`${root}/${app.name}/open`}
            target="_blank"
            rel="noopener"
            size="xs"
            variant="light"
            className={classes.above}
            rightSection={<IconExternalLink size={14} />}
            aria-label={`Open ${app.title || app.name} in a new tab`}
          >
            Open
          </Button>
        )}
      </Group>
    </Box>
  );
}

const SIGNS = { workspace: IconLock, link: IconLink, public: IconWorld } as const;

export function AccessSign({ access }: { access: Access }) {
  const Sign = SIGNS[access];
  return (
    <Badge variant="default" tt="none" leftSection={<Sign size={12} />} className={classes.sign}>
      {ACCESS[access].title}
    </Badge>
  );
}

function NoApps({ root }: { root: string }) {
  return (
    <Empty
      icon={<IconLayoutDashboard size={24} />}
      title="No apps yet"
      action={
        <Button component={Link} to={`${root}/models`}>
          To the models
        </Button>
      }
    >
      <Stack gap={4}>
        <span>Deploy a model and a ready-made app comes with it: a form, a button and the answer.</span>
        <span>
          An app folder of your own goes up with <Code>tenfold push</Code>.
        </span>
      </Stack>
    </Empty>
  );
}
