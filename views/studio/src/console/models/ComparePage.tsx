import { Badge, Box, Button, Code, Group, Select, Stack, Table, Text } from "@mantine/core";
import { IconArrowsExchange } from "@tabler/icons-react";
import { useParams, useSearchParams } from "react-router";
import { useComparison, usePlace, useVersions } from "../api/queries";
import type { Change, Comparison, Json, PackageFileChange, Version } from "../api/types";
import { formatBytes, plural } from "../ui/format";
import { Page, Section } from "../ui/Page";
import { Loaded, Loading } from "../ui/States";
import classes from "./ComparePage.module.css";
import { versionOption } from "./version-option";

/** What is not the same in two versions of a model. Which two is in the address. */
export function Component() {
  const { model: name = "" } = useParams();
  const { workspace } = usePlace();
  const [parameters, setParameters] = useSearchParams();
  const versions = useVersions(name).data ?? [];
  const newest = versions[0]?.number ?? null;
  const to = numberOf(parameters.get("to")) ?? newest;
  const from =
    numberOf(parameters.get("from")) ?? versions.find(({ number }) => number !== to)?.number ?? null;
  const comparison = useComparison(name, from, to);
  const choose = (next: { from?: number | null; to?: number | null }) => {
    const chosen = { from, to, ...next };
    setParameters({ from: String(chosen.from ?? ""), to: String(chosen.to ?? "") }, { replace: true });
  };
  const root = `/w/${workspace.name}/models`;

  return (
    <Page
      title={`Compare versions of ${name}`}
      heading="Compare versions"
      crumbs={[
        { label: "Models", to: root },
        { label: name, to: `${root}/${name}` },
        { label: "Versions", to: `${root}/${name}/versions` },
      ]}
      actions={
        <Group gap="xs" wrap="nowrap">
          <Chooser
            label="From"
            versions={versions}
            value={from}
            onChange={(number) => choose({ from: number })}
          />
          <Button
            size="sm"
            variant="default"
            px={8}
            aria-label="Swap the two"
            onClick={() => choose({ from: to, to: from })}
          >
            <IconArrowsExchange size={16} />
          </Button>
          <Chooser label="To" versions={versions} value={to} onChange={(number) => choose({ to: number })} />
        </Group>
      }
    >
      <Loaded query={comparison} what="the comparison" loading={<Loading rows={5} height={64} />}>
        {(loaded) => <Differences comparison={loaded} />}
      </Loaded>
    </Page>
  );
}

function Chooser({
  label,
  versions,
  value,
  onChange,
}: {
  label: string;
  versions: Version[];
  value: number | null;
  onChange: (number: number) => void;
}) {
  return (
    <Select
      aria-label={label}
      size="sm"
      w={200}
      allowDeselect={false}
      value={value === null ? null : String(value)}
      onChange={(text) => text && onChange(Number(text))}
      data={versions.map(versionOption)}
    />
  );
}

function Differences({ comparison }: { comparison: Comparison }) {
  const { config, environment, schema, files } = comparison;
  const total = config.length + environment.length + schema.length + files.length;
  if (total === 0) {
    return (
      <Section>
        <Text size="sm" c="dimmed">
          Nothing differs between version {comparison.from} and version {comparison.to}.
        </Text>
      </Section>
    );
  }
  return (
    <Stack gap="lg">
      <Changes title="Schema" changes={schema} same="They take and give the same." />
      <Changes
        title="Environment"
        changes={environment}
        same="The same packages at the same versions."
        mono
      />
      <Changes title="Configuration" changes={config} same="The same settings." mono />
      <Files files={files} />
    </Stack>
  );
}

function Changes({
  title,
  changes,
  same,
  mono = false,
}: {
  title: string;
  changes: Change[];
  same: string;
  mono?: boolean;
}) {
  return (
    <Section title={title} aside={changes.length > 0 && <Count changes={changes} />} flush>
      {changes.length === 0 ? (
        <Text p="lg" size="sm" c="dimmed">
          {same}
        </Text>
      ) : (
        <Box style={{ overflowX: "auto" }}>
          <Table horizontalSpacing="lg" verticalSpacing={8} layout="fixed" miw={560}>
            <Table.Tbody>
              {changes.map((change) => (
                <Table.Tr key={change.path}>
                  <Table.Td w="32%">
                    <Text
                      size="sm"
                      fw={550}
                      {...(mono && { ff: "monospace", fz: 13 })}
                      className={classes.path}
                    >
                      {change.path}
                    </Text>
                  </Table.Td>
                  <Table.Td>
                    <Value value={change.before} kind={change.kind === "added" ? "absent" : "before"} />
                  </Table.Td>
                  <Table.Td>
                    <Value value={change.after} kind={change.kind === "removed" ? "absent" : "after"} />
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Box>
      )}
    </Section>
  );
}

function Files({ files }: { files: PackageFileChange[] }) {
  return (
    <Section title="Files" aside={files.length > 0 && <Count changes={files} />} flush>
      {files.length === 0 ? (
        <Text p="lg" size="sm" c="dimmed">
          The same files.
        </Text>
      ) : (
        <Table horizontalSpacing="lg" verticalSpacing={8}>
          <Table.Tbody>
            {files.map((file) => (
              <Table.Tr key={file.path}>
                <Table.Td>
                  <Text size="sm" ff="monospace" fz={13} className={classes.path}>
                    {file.path}
                  </Text>
                </Table.Td>
                <Table.Td w={110}>
                  <Kind kind={file.kind} />
                </Table.Td>
                <Table.Td ta="right" w={200}>
                  <Text size="sm" c="dimmed">
                    {[file.before_size, file.after_size]
                      .filter((size) => size !== null)
                      .map(formatBytes)
                      .join(" → ")}
                  </Text>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </Section>
  );
}

function Value({ value, kind }: { value: Json | undefined; kind: "before" | "after" | "absent" }) {
  if (kind === "absent") {
    return (
      <Text size="sm" c="dimmed">
        –
      </Text>
    );
  }
  return (
    <Code className={classes.value} data-kind={kind}>
      {typeof value === "string" ? value : JSON.stringify(value)}
    </Code>
  );
}

const TONES = { added: "teal", removed: "red", changed: "gray" } as const;

function Kind({ kind }: { kind: Change["kind"] }) {
  return (
    <Badge size="sm" variant="light" color={TONES[kind]} tt="none">
      {kind}
    </Badge>
  );
}

function Count({ changes }: { changes: { kind: Change["kind"] }[] }) {
  return (
    <Text size="xs" c="dimmed">
      {plural(changes.length, "difference")}
    </Text>
  );
}

function numberOf(text: string | null): number | null {
  return text && /^[1-9]\d*$/.test(text) ? Number(text) : null;
}
