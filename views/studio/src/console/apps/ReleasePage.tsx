import {
  Alert,
  Anchor,
  Box,
  Collapse,
  Group,
  Select,
  SimpleGrid,
  Stack,
  Text,
  UnstyledButton,
} from "@mantine/core";
import { IconAlertTriangle, IconChevronRight } from "@tabler/icons-react";
import { useState } from "react";
import { Link, useParams } from "react-router";
import { useApp, usePlace, useRelease, useReleaseDiff, useReleases } from "../api/queries";
import type { FileChange, Release } from "../api/types";
import { NotFound } from "../shell/ErrorPages";
import { Facts, Page, Section } from "../ui/Page";
import { Stages } from "../ui/Stages";
import { StateBadge } from "../ui/StateBadge";
import { Loaded, Loading, PageLoading } from "../ui/States";
import { Ago } from "../ui/Time";
import classes from "./Apps.module.css";
import { diffLines } from "./diff";
import { LiveButton } from "./Releases";

export function Component() {
  const { app = "", number: text = "" } = useParams();
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  const release = useRelease(app, number);
  if (Number.isNaN(number)) return <NotFound />;
  return (
    <Loaded query={release} what={`release ${number} of ${app}`} loading={<PageLoading />}>
      {(loaded) => <ReleaseScreen app={app} release={loaded} />}
    </Loaded>
  );
}

function ReleaseScreen({ app: name, release }: { app: string; release: Release }) {
  const { workspace } = usePlace();
  const app = useApp(name);
  const root = `/w/${workspace.name}`;
  return (
    <Page
      title={`${name} release ${release.number}`}
      heading={`Release ${release.number}`}
      crumbs={[
        { label: "Apps", to: `${root}/apps` },
        { label: app.data?.title || name, to: `${root}/apps/${name}` },
        { label: "Releases", to: `${root}/apps/${name}/releases` },
      ]}
      badges={release.live ? <StateBadge state="live" /> : <StateBadge state={release.state} />}
      description={
        <>
          Made <Ago at={release.created_at} />
          {release.created_by && ` by ${release.created_by}`}
        </>
      }
      actions={<LiveButton app={name} release={release} live={app.data?.live_release ?? null} />}
    >
      {release.state === "failed" && (
        <Alert
          color="red"
          variant="light"
          role="alert"
          icon={<IconAlertTriangle size={20} />}
          title="This release failed"
        >
          <Text size="sm" style={{ whiteSpace: "pre-wrap" }}>
            {release.reason}
          </Text>
          {release.hint && (
            <Text size="sm" c="dimmed" mt={6}>
              {release.hint}
            </Text>
          )}
        </Alert>
      )}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Section title="Preparation">
          <Stages stages={release.stages} />
        </Section>
        <Section title="What it pins">
          <Facts
            facts={[
              ["Note", release.note || "–"],
              ["Worklets", release.worklets.join(", ") || "none"],
              ["Views", release.views.join(", ") || "none"],
              [
                "Models",
                release.models.length === 0 ? (
                  "none"
                ) : (
                  <Stack key="models" gap={2}>
                    {release.models.map(({ ref, model, version }) => (
                      <Anchor
                        key={ref}
                        component={Link}
                        size="sm"
                        to={`${root}/models/${model}/versions/${version}`}
                      >
                        {ref}: version {version}
                      </Anchor>
                    ))}
                  </Stack>
                ),
              ],
              ["Ready", <Ago key="ready" at={release.ready_at} fallback="not yet" />],
            ]}
          />
        </Section>
      </SimpleGrid>
      <Changes app={name} number={release.number} />
    </Page>
  );
}

function Changes({ app, number }: { app: string; number: number }) {
  const releases = useReleases(app);
  const others = (releases.data ?? []).filter((each) => each.number !== number);
  const [chosen, setChosen] = useState<number | null>(null);
  const diff = useReleaseDiff(app, number, chosen);
  const against = chosen ?? diff.data?.against ?? null;
  return (
    <Section
      title="Changes"
      flush
      aside={
        others.length > 0 && (
          <Select
            size="xs"
            w={190}
            aria-label="Compare with"
            allowDeselect={false}
            value={against === null ? null : String(against)}
            placeholder="Compare with"
            onChange={(value) => setChosen(value ? Number(value) : null)}
            data={others.map((each) => ({
              value: String(each.number),
              label: `since release ${each.number}${each.live ? " (live)" : ""}`,
            }))}
          />
        )
      }
    >
      <Loaded
        query={diff}
        what="the changes"
        loading={
          <Box p="md">
            <Loading rows={4} height={22} />
          </Box>
        }
      >
        {({ files, against }) =>
          files.length === 0 ? (
            <Text p="lg" size="sm" c="dimmed">
              The files are the same{against ? ` as in release ${against}` : ""}.
            </Text>
          ) : (
            files.map((file) => <ChangedFile key={file.path} file={file} isOpenAtFirst={files.length <= 6} />)
          )
        }
      </Loaded>
    </Section>
  );
}

function ChangedFile({ file, isOpenAtFirst }: { file: FileChange; isOpenAtFirst: boolean }) {
  const [isOpen, setOpen] = useState(isOpenAtFirst && file.change === "changed");
  const lines = diffLines(file.diff);
  const added = lines.filter(({ kind }) => kind === "add").length;
  const removed = lines.filter(({ kind }) => kind === "remove").length;
  return (
    <Box style={{ borderTop: "1px solid var(--tf-border)" }}>
      <UnstyledButton w="100%" px="lg" py={10} aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <Group gap="sm" wrap="nowrap">
          <IconChevronRight
            size={15}
            style={{ transform: isOpen ? "rotate(90deg)" : undefined, flex: "none" }}
            aria-hidden
          />
          <Text size="sm" ff="monospace" fz={13} truncate>
            {file.path}
          </Text>
          <Text size="xs" c="dimmed">
            {file.change}
          </Text>
          <Text size="xs" ml="auto" c="var(--tf-good)" ff="monospace">
            +{added}
          </Text>
          <Text size="xs" c="var(--tf-bad)" ff="monospace">
            −{removed}
          </Text>
        </Group>
      </UnstyledButton>
      <Collapse expanded={isOpen}>
        {file.diff === "" ? (
          <Text px="lg" pb="md" size="sm" c="dimmed">
            Not text: nothing to compare line by line.
          </Text>
        ) : (
          <pre className={classes.diff}>
            {lines.map(({ kind, text }, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: lines of a diff repeat and never move
              <span key={index} className={classes.diffLine} data-kind={kind}>
                {text || " "}
              </span>
            ))}
          </pre>
        )}
      </Collapse>
    </Box>
  );
}
