/** A version that gets a copy of an alias's calls: beginning, what it came to, what it answered otherwise. */

import {
  Accordion,
  Anchor,
  Box,
  Button,
  Group,
  NumberInput,
  SimpleGrid,
  Stack,
  Table,
  Text,
} from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";
import { isMissing } from "../api/errors";
import { useAction, usePlace, useRights, useShadowDifferences, useShadowReport } from "../api/queries";
import type { Model, Shadow, ShadowDifference, ShadowLine, ShadowReport } from "../api/types";
import { CodeBlock } from "../ui/CodeBlock";
import { useConfirm } from "../ui/Confirm";
import { formatNumber, formatSeconds } from "../ui/format";
import { Section } from "../ui/Page";
import { Loaded } from "../ui/States";
import { Ago } from "../ui/Time";
import {
  CandidateDialog,
  type CandidateDialogProps,
  CandidateSelect,
  type Candidates,
  ShareInput,
} from "./Candidates";

/** Chooses a version that is to get a share of an alias's calls as well. */
export function ShadowDialog(props: CandidateDialogProps) {
  return (
    <CandidateDialog {...props} title={`Compare another version on the calls to ${props.alias}`}>
      {(candidates) => <ShadowForm {...props} candidates={candidates} />}
    </CandidateDialog>
  );
}

function ShadowForm({
  model,
  alias,
  onClose,
  candidates,
}: CandidateDialogProps & { candidates: Candidates }) {
  const { api } = usePlace();
  const current = model.shadows[alias];
  const [version, setVersion] = useState(current?.version ?? candidates[0].number);
  const [percent, setPercent] = useState(current?.percent ?? 10);
  const [tolerance, setTolerance] = useState<string | number>(current?.tolerance ?? 1e-6);
  const isNew = !current || current.version !== version || current.tolerance !== Number(tolerance);
  const save = useAction({
    run: () => api.setShadow(model.name, alias, { version, percent, tolerance: Number(tolerance) }),
    done: () => `${percent} % of ${alias} goes to version ${version} as well`,
    failed: "Could not start the shadow",
    after: onClose,
  });
  const isRight = percent >= 1 && percent <= 100 && isShare(tolerance);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (isRight) save.mutate();
      }}
    >
      <Stack>
        <Text size="sm">
          Callers still get the answers of version {model.aliases[alias]}. A share of the calls goes to the
          version you choose as well, and its answers are compared with those. The model sees the header
          X-Tenfold-Shadow then, so that it can leave side effects out.
        </Text>
        <CandidateSelect candidates={candidates} value={version} onChange={setVersion} />
        <Group gap="lg" align="flex-start">
          <ShareInput description="1 to 100" w={170} min={1} value={percent} onChange={setPercent} />
          <NumberInput
            label="Tolerance of numbers"
            description="As a share of the larger one"
            w={220}
            min={0}
            max={1}
            step={0.001}
            value={tolerance}
            onChange={setTolerance}
          />
        </Group>
        {current && isNew && (
          <Text size="sm" c="dimmed">
            This begins a new comparison: what was found about version {current.version} so far is deleted.
          </Text>
        )}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={save.isPending} disabled={!isRight}>
            {current ? "Change the shadow" : "Start the shadow"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function isShare(value: string | number): boolean {
  return value !== "" && Number(value) >= 0 && Number(value) <= 1;
}

/** One section for each alias that has a shadow. */
export function Shadows({ model }: { model: Model }) {
  return Object.entries(model.shadows).map(([alias, shadow]) => (
    <ShadowSection key={alias} model={model} alias={alias} shadow={shadow} />
  ));
}

function ShadowSection({ model, alias, shadow }: { model: Model; alias: string; shadow: Shadow }) {
  const rights = useRights();
  const report = useShadowReport(model.name, alias);
  if (isMissing(report.error)) return null; // ended a moment ago
  return (
    <Section title={`Shadow of ${alias}`} aside={rights.write && <Actions {...{ model, alias, shadow }} />}>
      <Stack>
        <Text size="sm" c="dimmed">
          {formatNumber(shadow.percent)} % of the calls go to version {shadow.version} as well, since{" "}
          <Ago at={shadow.since} />. Callers get none of its answers.
        </Text>
        <Loaded query={report} what="what the shadow came to">
          {(loaded) =>
            loaded.versions.length === 0 ? (
              <Text size="sm">
                Nobody has called {alias} since. Figures come a few seconds after the calls.
              </Text>
            ) : (
              <Figures model={model} report={loaded} />
            )
          }
        </Loaded>
        {rights.operate && <Differences model={model} alias={alias} shadow={shadow} />}
      </Stack>
    </Section>
  );
}

function Actions({ model, alias, shadow }: { model: Model; alias: string; shadow: Shadow }) {
  const { api } = usePlace();
  const confirm = useConfirm();
  const promote = useAction({
    run: () => api.setAlias(model.name, alias, shadow.version),
    done: `${alias} is now version ${shadow.version}`,
    failed: "Could not promote the shadow",
  });
  const end = useAction({
    run: () => api.deleteShadow(model.name, alias),
    done: `${alias} has no shadow any more`,
    failed: "Could not end the shadow",
  });
  const ask = async (action: "Promote" | "End") => {
    const isSure = await confirm({
      title: action === "Promote" ? `Promote version ${shadow.version}?` : `End the shadow of ${alias}?`,
      body:
        action === "Promote"
          ? `All calls to ${alias} get version ${shadow.version} instead of version ${model.aliases[alias]}. The shadow ends, and what was found is deleted.`
          : "What was found is deleted.",
      action,
      isDestructive: action === "End",
    });
    if (isSure) (action === "Promote" ? promote : end).mutate();
  };
  return (
    <>
      <Button size="xs" variant="default" loading={end.isPending} onClick={() => void ask("End")}>
        End
      </Button>
      <Button size="xs" loading={promote.isPending} onClick={() => void ask("Promote")}>
        Promote version {shadow.version}
      </Button>
    </>
  );
}

const COUNTS: [name: string, read: (line: ShadowLine) => number, note: string][] = [
  ["Compared", ({ compared }) => compared, "answered by both"],
  ["Equal", ({ equal }) => equal, "the same status and the same answer, numbers within the tolerance"],
  ["Different", ({ different }) => different, "another status, or another answer"],
  ["Failed", ({ primary_failed }) => primary_failed, "the callers' answer was an error: not sent on"],
  ["Shadow failed", ({ shadow_failed }) => shadow_failed, "an error, too late, or no answer"],
  ["Dropped", ({ dropped }) => dropped, "not sent: the shadow was busy or not up; too large; a stream"],
];

function Figures({ model, report }: { model: Model; report: ShadowReport }) {
  const root = `/w/${usePlace().workspace.name}/models/${model.name}/versions`;
  return (
    <Box style={{ overflowX: "auto" }}>
      <Table verticalSpacing={8} aria-label="What the comparisons came to">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Callers got</Table.Th>
            {COUNTS.map(([name, , note]) => (
              <Table.Th key={name} ta="right" title={note}>
                {name}
              </Table.Th>
            ))}
            <Table.Th ta="right">Median, shadow's</Table.Th>
            <Table.Th ta="right">95th, shadow's</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {report.versions.map((line) => (
            <Table.Tr key={line.version}>
              <Table.Td>
                <Anchor component={Link} size="sm" to={`${root}/${line.version}`}>
                  version {line.version}
                </Anchor>
              </Table.Td>
              {COUNTS.map(([name, read]) => (
                <Table.Td key={name} ta="right">
                  {read(line).toLocaleString("en-US")}
                </Table.Td>
              ))}
              <Table.Td ta="right">{both(line, "p50_seconds")}</Table.Td>
              <Table.Td ta="right">{both(line, "p95_seconds")}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Box>
  );
}

function both({ primary, shadow }: ShadowLine, share: "p50_seconds" | "p95_seconds"): string {
  return `${formatSeconds(primary[share])}, ${formatSeconds(shadow[share])}`;
}

function Differences({ model, alias, shadow }: { model: Model; alias: string; shadow: Shadow }) {
  const differences = useShadowDifferences(model.name, alias);
  if (isMissing(differences.error)) return null;
  return (
    <Loaded query={differences} what="the differences">
      {(items) =>
        items.length === 0 ? (
          <Text size="sm">No difference so far.</Text>
        ) : (
          <Stack gap="xs">
            <Text size="sm" fw={600} component="h3">
              Newest differences
            </Text>
            <Accordion variant="separated" order={4}>
              {items.map((item) => (
                <Difference key={item.id} item={item} shadow={shadow} />
              ))}
            </Accordion>
          </Stack>
        )
      }
    </Loaded>
  );
}

function Difference({ item, shadow }: { item: ShadowDifference; shadow: Shadow }) {
  return (
    <Accordion.Item value={item.id}>
      <Accordion.Control>
        <Group gap="sm" wrap="nowrap" justify="space-between" pr="sm">
          <Text size="sm" ff="monospace" truncate>
            {item.outcome === "shadow_failed" ? "the shadow failed" : item.path}
          </Text>
          <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
            <Ago at={item.at} />
          </Text>
        </Group>
      </Accordion.Control>
      <Accordion.Panel>
        <Stack gap="sm">
          <Text size="xs" c="dimmed">
            Request {item.request_id}
          </Text>
          <Said title="What was asked" text={item.request} />
          <SimpleGrid cols={{ base: 1, md: 2 }}>
            <Said
              title={`Version ${item.version} answered ${item.primary_status}`}
              text={item.primary_answer}
            />
            <Said
              title={`Version ${shadow.version} answered ${item.shadow_status}`}
              text={item.shadow_answer}
            />
          </SimpleGrid>
        </Stack>
      </Accordion.Panel>
    </Accordion.Item>
  );
}

function Said({ title, text }: { title: string; text: string }) {
  return (
    <Stack gap={4} miw={0}>
      <Text size="xs" fw={600}>
        {title}
      </Text>
      <CodeBlock code={readable(text)} language="json" label={`Copy: ${title}`} maxHeight={320} wrap />
    </Stack>
  );
}

/** JSON set out in lines; what was cut, or is none, as it came. */
function readable(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
