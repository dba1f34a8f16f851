import { Alert, Box, Button, Group, Modal, Stack, Tabs, Text, Textarea } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconExternalLink, IconRocket } from "@tabler/icons-react";
import { useState } from "react";
import { useNavigate, useParams } from "react-router";
import { detailLines } from "../api/errors";
import { useAction, useApp, useDraft, usePlace, useRights } from "../api/queries";
import type { App } from "../api/types";
import { DeleteMenu } from "../ui/DeleteMenu";
import { Editor } from "../ui/Editor";
import { Files } from "../ui/Files";
import { Page, Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Loaded, Loading, PageLoading } from "../ui/States";
import { Ago } from "../ui/Time";
import { AccessSign } from "./AppList";
import { AppOverview } from "./AppOverview";
import { Releases } from "./Releases";
import { Worklets } from "./Worklets";

const TABS = ["overview", "worklets", "releases", "files"] as const;

export function Component() {
  const { app: name = "", tab = "overview" } = useParams();
  const app = useApp(name);
  return (
    <Loaded query={app} what={`the app ${name}`} loading={<PageLoading />}>
      {(loaded) => <AppScreen app={loaded} tab={tab} />}
    </Loaded>
  );
}

function AppScreen({ app, tab }: { app: App; tab: string }) {
  const { api, workspace } = usePlace();
  const rights = useRights();
  const navigate = useNavigate();
  const address = `/w/${workspace.name}/apps/${app.name}`;
  const current = TABS.find((each) => each === tab) ?? "overview";
  return (
    <Page
      title={app.title || app.name}
      crumbs={[{ label: "Apps", to: `/w/${workspace.name}/apps` }]}
      badges={
        <>
          {app.live_release ? (
            <StateBadge state="live" label={`Release ${app.live_release} is live`} />
          ) : (
            <StateBadge state="stopped" label="Not live" />
          )}
          <AccessSign access={app.access} />
        </>
      }
      description={
        app.description || (
          <>
            Updated <Ago at={app.updated_at} />
          </>
        )
      }
      actions={
        <>
          {app.live_release !== null && app.views.length > 0 && (
            <Button
              component="a"
              href={`${address}/open`}
              target="_blank"
              rel="noopener"
              rightSection={<IconExternalLink size={16} />}
            >
              Open
            </Button>
          )}
          {rights.write && (
            <DeleteMenu
              what="app"
              name={app.name}
              title={app.title || app.name}
              consequences="Its draft, releases, runs and share link go with it, and its endpoints answer 404. Models stay."
              remove={() => api.deleteApp(app.name)}
              then={`/w/${workspace.name}/apps`}
            />
          )}
        </>
      }
    >
      {app.draft_changed && rights.write && app.releases.length > 0 && <DraftNotice app={app} />}
      <Tabs
        value={current}
        onChange={(next) => void navigate(next === "overview" ? address : `${address}/${next}`)}
        keepMounted={false}
      >
        <Tabs.List mb="lg">
          <Tabs.Tab value="overview">Overview</Tabs.Tab>
          <Tabs.Tab value="worklets">Worklets</Tabs.Tab>
          <Tabs.Tab value="releases">Releases</Tabs.Tab>
          <Tabs.Tab value="files">Files</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="overview">
          <AppOverview app={app} />
        </Tabs.Panel>
        <Tabs.Panel value="worklets">
          <Worklets app={app} />
        </Tabs.Panel>
        <Tabs.Panel value="releases">
          <Releases app={app} />
        </Tabs.Panel>
        <Tabs.Panel value="files">
          <DraftFiles app={app.name} />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function DraftNotice({ app }: { app: App }) {
  const [isOpen, opened] = useDisclosure();
  return (
    <Alert variant="light" color="iris" title="The draft has changes that no release has">
      <Group justify="space-between" gap="sm">
        <Text size="sm">People keep seeing the live release until you release the draft.</Text>
        <Button size="xs" leftSection={<IconRocket size={14} />} onClick={opened.open}>
          Release the draft
        </Button>
      </Group>
      <Modal opened={isOpen} onClose={opened.close} title={`Release the draft of ${app.title || app.name}`}>
        <NewRelease app={app} onDone={opened.close} />
      </Modal>
    </Alert>
  );
}

function NewRelease({ app, onDone }: { app: App; onDone: () => void }) {
  const { api, workspace } = usePlace();
  const navigate = useNavigate();
  const [note, setNote] = useState("");
  const create = useAction({
    run: () => api.createRelease(app.name, note.trim()),
    done: (release) => `Release ${release.number} is being prepared`,
    failed: "Could not release the draft",
    after: (_, release) => {
      onDone();
      void navigate(`/w/${workspace.name}/apps/${app.name}/releases/${release.number}`);
    },
  });
  const problems = detailLines(create.error);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        create.mutate();
      }}
    >
      <Stack>
        <Text size="sm" c="dimmed">
          It goes live once it is prepared. The release before stays one click away.
        </Text>
        <Textarea
          data-autofocus
          label="What changed"
          placeholder="For whoever reads the list of releases"
          autosize
          minRows={2}
          value={note}
          onChange={(event) => setNote(event.currentTarget.value)}
        />
        {problems.length > 0 && (
          <Alert color="red" role="alert">
            {problems.map((line) => (
              <Text key={line} size="sm">
                {line}
              </Text>
            ))}
          </Alert>
        )}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={create.isPending}>
            Release
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function DraftFiles({ app }: { app: string }) {
  const draft = useDraft(app);
  const [chosen, setChosen] = useState<string | null>(null);
  return (
    <Section
      title="Draft"
      aside={
        <Text size="xs" c="dimmed">
          revision {draft.data?.revision ?? "…"}, for reading; change it with tenfold pull and push
        </Text>
      }
      flush
    >
      <Loaded
        query={draft}
        what="the draft"
        loading={
          <Box p="md">
            <Loading rows={6} height={22} />
          </Box>
        }
      >
        {({ files }) => {
          const file =
            files.find(({ path }) => path === chosen) ??
            files.find(({ path }) => path === "app.yaml") ??
            files[0];
          if (!file)
            return (
              <Text p="lg" size="sm" c="dimmed">
                The draft has no files.
              </Text>
            );
          const entries = files.map(({ path, content, encoding }) => ({
            path,
            size: encoding === "base64" ? Math.floor(content.length * 0.75) : new Blob([content]).size,
          }));
          return (
            <Files files={entries} selected={file.path} onSelect={setChosen}>
              {file.encoding === "utf-8" ? (
                <Editor
                  key={file.path}
                  text={file.content}
                  fileName={file.path}
                  label={file.path}
                  height={520}
                />
              ) : (
                <Text p="lg" size="sm" c="dimmed">
                  {file.path} is not text.
                </Text>
              )}
            </Files>
          );
        }}
      </Loaded>
    </Section>
  );
}
