import { Anchor, Badge, Box, Group, SimpleGrid, Stack, Text } from "@mantine/core";
import { lazy, Suspense } from "react";
import { Link, useParams } from "react-router";
import { usePlace, useRights, useZooEntry } from "../api/queries";
import type { ZooEntryDetail } from "../api/types";
import { SchemaTable } from "../models/SchemaTable";
import { CodeBlock } from "../ui/CodeBlock";
import { Editor } from "../ui/Editor";
import { FrameworkIcon, FrameworkName } from "../ui/Framework";
import { formatBytes } from "../ui/format";
import { Facts, Page, Section } from "../ui/Page";
import { Loaded, PageLoading } from "../ui/States";
import { DeployButton } from "./DeployButton";

export function Component() {
  const { entry: name = "" } = useParams();
  const entry = useZooEntry(name);
  return (
    <Loaded query={entry} what={`${name} of the zoo`} loading={<PageLoading />}>
      {(loaded) => <EntryScreen entry={loaded} />}
    </Loaded>
  );
}

const Markdown = lazy(() => import("../../view/components/markdown/Rendered"));

function EntryScreen({ entry }: { entry: ZooEntryDetail }) {
  const { workspace } = usePlace();
  const rights = useRights();
  const root = `/w/${workspace.name}`;
  const size = entry.files.reduce((sum, file) => sum + file.size, 0);
  return (
    <Page
      title={entry.title}
      heading={
        <Group gap="sm" wrap="nowrap" component="span">
          <FrameworkIcon name={entry.framework} />
          {entry.title}
        </Group>
      }
      crumbs={[{ label: "Zoo", to: `${root}/zoo` }]}
      badges={
        entry.needs_network && (
          <Badge variant="light" color="yellow" tt="none">
            needs a network
          </Badge>
        )
      }
      description={entry.summary}
      actions={rights.write && <DeployButton entry={entry} />}
    >
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Section title="What it does">
          <Stack gap="sm">
            <Suspense fallback={<Text size="sm">{entry.description}</Text>}>
              <Markdown source={entry.description} />
            </Suspense>
            {entry.example_note && (
              <Text size="sm" c="dimmed">
                Try it with: {entry.example_note}
              </Text>
            )}
          </Stack>
        </Section>
        <Section title="About">
          <Facts
            facts={[
              ["Task", entry.task],
              ["Framework", <FrameworkName key="framework" name={entry.framework} />],
              ["Licence", entry.license],
              [
                "First deploy",
                entry.download_mb > 0
                  ? `downloads about ${entry.download_mb} MB of packages`
                  : "downloads almost nothing",
              ],
              ["Package", formatBytes(size)],
              ...(entry.deployed_as.length > 0
                ? [
                    [
                      "Deployed as",
                      <Group key="deployed" gap="xs">
                        {entry.deployed_as.map((model) => (
                          <Anchor key={model} component={Link} size="sm" to={`${root}/models/${model}`}>
                            {model}
                          </Anchor>
                        ))}
                      </Group>,
                    ] as [string, React.ReactNode],
                  ]
                : []),
            ]}
          />
        </Section>
      </SimpleGrid>
      <SchemaTable schema={entry.schema} />
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Section title="From a terminal">
          <CodeBlock code={`tenfold zoo deploy ${entry.name}`} label="Copy the command" />
        </Section>
        <Section title="Packages">
          <CodeBlock code={entry.requirements.join("\n")} label="Copy the requirements" maxHeight={200} />
        </Section>
      </SimpleGrid>
      <Section title="Its code" flush>
        <Box>
          <Editor text={entry.source} fileName="model.py" label="The model's code" height={420} />
        </Box>
      </Section>
    </Page>
  );
}
