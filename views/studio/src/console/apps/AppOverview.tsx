import { Anchor, Box, Button, Group, Radio, SimpleGrid, Stack, Text } from "@mantine/core";
import { IconExternalLink, IconRefresh } from "@tabler/icons-react";
import { Link } from "react-router";
import { useAction, usePlace, useRights } from "../api/queries";
import type { Access, App } from "../api/types";
import { CopyLine } from "../ui/CodeBlock";
import { useConfirm } from "../ui/Confirm";
import { Facts, Section } from "../ui/Page";
import { Ago } from "../ui/Time";
import classes from "./Apps.module.css";
import { ACCESS, shareUrl } from "./share";

export function AppOverview({ app }: { app: App }) {
  return (
    <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
      <Stack gap="lg">
        <Views app={app} />
        <About app={app} />
      </Stack>
      <AccessSection app={app} />
    </SimpleGrid>
  );
}

function Views({ app }: { app: App }) {
  const { workspace } = usePlace();
  return (
    <Section title="Views" flush>
      {app.views.length === 0 && (
        <Text p="lg" size="sm" c="dimmed">
          This app has no views: it is endpoints only.
        </Text>
      )}
      {app.views.map((view) => (
        <Box key={view.name} className={classes.view}>
          <Box miw={0}>
            <Text fw={550} size="sm" truncate>
              {view.title || view.name}
            </Text>
            <Text size="xs" c="dimmed" ff="monospace" truncate>
              {view.name}
            </Text>
          </Box>
          {app.live_release !== null && (
            <Button
              component="a"
              href={`/w/${workspace.name}/apps/${app.name}/open/${view.name}`}
              target="_blank"
              rel="noopener"
              size="xs"
              variant="light"
              rightSection={<IconExternalLink size={14} />}
              aria-label={`Open ${view.title || view.name} in a new tab`}
            >
              Open
            </Button>
          )}
        </Box>
      ))}
    </Section>
  );
}

function About({ app }: { app: App }) {
  const { workspace } = usePlace();
  const root = `/w/${workspace.name}`;
  return (
    <Section title="About">
      <Facts
        facts={[
          ["Name", app.name],
          ["Created", <Ago key="created" at={app.created_at} />],
          ["Updated", <Ago key="updated" at={app.updated_at} />],
          [
            "Models",
            app.models.length === 0 ? (
              "none"
            ) : (
              <Stack key="models" gap={2}>
                {app.models.map(({ ref, model, version }) => (
                  <span key={ref}>
                    <Anchor component={Link} size="sm" to={`${root}/models/${model}`}>
                      {model}
                    </Anchor>
                    <Text span size="sm" c="dimmed">
                      , pinned to{" "}
                      <Anchor component={Link} size="sm" to={`${root}/models/${model}/versions/${version}`}>
                        version {version}
                      </Anchor>
                    </Text>
                  </span>
                ))}
              </Stack>
            ),
          ],
          ...(app.made_for_model
            ? [
                [
                  "Made for",
                  <Text key="made" span size="sm">
                    the model {app.made_for_model}; it follows new versions until you edit it
                  </Text>,
                ] as [string, React.ReactNode],
              ]
            : []),
        ]}
      />
    </Section>
  );
}

function AccessSection({ app }: { app: App }) {
  const { api } = usePlace();
  const rights = useRights();
  const confirm = useConfirm();
  const change = useAction({
    run: (access: Access) => api.setAccess(app.name, access),
    done: (changed) => `Access: ${ACCESS[changed.access].title.toLowerCase()}`,
    failed: "Could not change the access",
  });
  const rotate = useAction({
    run: () => api.rotateLink(app.name),
    done: "New share link; the old one opens nothing now",
    failed: "Could not renew the link",
  });

  const choose = async (access: Access) => {
    if (access === app.access) return;
    if (access === "public") {
      const isSure = await confirm({
        title: "Make it public?",
        body: "Anybody who can reach this server can then use the app and the models behind it, without an account.",
        action: "Make it public",
      });
      if (!isSure) return;
    }
    change.mutate(access);
  };
  const renew = async () => {
    const isSure = await confirm({
      title: "Renew the share link?",
      body: "Everyone who has the link now is shut out until you send them the new one.",
      action: "Renew the link",
      isDestructive: true,
    });
    if (isSure) rotate.mutate();
  };

  return (
    <Section title="Who may open it">
      <Stack gap="md">
        <Radio.Group
          aria-label="Who may open it"
          value={change.isPending ? change.variables : app.access}
          onChange={(value) => void choose(value as Access)}
        >
          <Stack gap="xs">
            {(Object.keys(ACCESS) as Access[]).map((access) => (
              <Radio.Card
                key={access}
                value={access}
                className={classes.access ?? ""}
                disabled={!rights.write || change.isPending}
                aria-label={ACCESS[access].title}
              >
                <Radio.Indicator mt={2} />
                <Box>
                  <Text size="sm" fw={600}>
                    {ACCESS[access].title}
                  </Text>
                  <Text size="xs" c="dimmed">
                    {ACCESS[access].explanation}
                  </Text>
                </Box>
              </Radio.Card>
            ))}
          </Stack>
        </Radio.Group>
        {app.access !== "workspace" &&
          app.views.map((view) => (
            <Box key={view.name}>
              <Text size="xs" fw={550} mb={4}>
                {app.access === "link" ? "Share link" : "Address"}: {view.title || view.name}
              </Text>
              <CopyLine
                text={shareUrl(app, view.url)}
                label={app.access === "link" ? "Copy the share link" : "Copy the address"}
              />
            </Box>
          ))}
        {app.access === "link" && rights.write && (
          <Group>
            <Button
              size="xs"
              variant="default"
              leftSection={<IconRefresh size={14} />}
              loading={rotate.isPending}
              onClick={() => void renew()}
            >
              Renew the link
            </Button>
          </Group>
        )}
      </Stack>
    </Section>
  );
}
