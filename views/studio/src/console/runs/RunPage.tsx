import {
  Alert,
  Anchor,
  Badge,
  Box,
  Code,
  Group,
  Kbd,
  SimpleGrid,
  Stack,
  Tabs,
  Text,
  UnstyledButton,
} from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useMemo, useState } from "react";
import { Link, useParams } from "react-router";
import { JsonTree } from "../../kit/JsonTree";
import { usePlace, useRun } from "../api/queries";
import type { Json, Run, RunError, Step } from "../api/types";
import { GraphView } from "../graph/GraphView";
import { kindOf } from "../graph/kinds";
import { Traceback } from "../models/Result";
import { CodeBlock } from "../ui/CodeBlock";
import { CopyIcon } from "../ui/Copy";
import { formatExact, formatMilliseconds } from "../ui/format";
import { Facts, Page, Section } from "../ui/Page";
import { StateBadge } from "../ui/StateBadge";
import { Loaded, PageLoading } from "../ui/States";
import { Ago } from "../ui/Time";
import { callerName } from "./caller";
import classes from "./Runs.module.css";
import { marksOf, nodeOf, stepKey, waterfall } from "./waterfall";

export function Component() {
  const { run: id = "" } = useParams();
  const run = useRun(id);
  return (
    <Loaded query={run} what="this run" loading={<PageLoading />}>
      {(loaded) => <RunScreen key={loaded.id} run={loaded} />}
    </Loaded>
  );
}

function RunScreen({ run }: { run: Run }) {
  const { workspace } = usePlace();
  const root = `/w/${workspace.name}`;
  const failed = run.steps.findLast(({ state }) => state === "failed");
  const [selected, setSelected] = useState<string | null>(failed ? stepKey(failed) : null);
  const marks = useMemo(() => marksOf(run.steps), [run.steps]);
  const step = run.steps.find((each) => stepKey(each) === selected) ?? null;

  const selectNode = (node: string) => {
    const last = run.steps.findLast(({ path }) => nodeOf(path) === node);
    setSelected(last ? stepKey(last) : null);
  };

  return (
    <Page
      title={`${run.worklet} run`}
      heading={run.worklet}
      crumbs={[
        { label: "Runs", to: `${root}/runs` },
        { label: run.app, to: `${root}/runs?app=${run.app}` },
      ]}
      badges={<StateBadge state={run.state} />}
      description={
        <>
          <Ago at={run.started_at} />, {formatMilliseconds(run.duration_ms)}, by {callerName(run.caller)}
        </>
      }
    >
      {run.error && <Wrong error={run.error} title="The run failed" />}
      <Section title="Graph" flush>
        <GraphView
          graph={run.graph}
          label="How the run went"
          marks={marks}
          selected={step ? nodeOf(step.path) : null}
          onSelect={selectNode}
        />
      </Section>
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Section title="Steps" flush>
          <Waterfall run={run} selected={selected} onSelect={setSelected} />
        </Section>
        <Box miw={0}>
          {step ? (
            <StepSection key={selected} step={step} onClose={() => setSelected(null)} />
          ) : (
            <RunSection run={run} root={root} />
          )}
        </Box>
      </SimpleGrid>
      {step && <RunSection run={run} root={root} />}
    </Page>
  );
}

function Waterfall({
  run,
  selected,
  onSelect,
}: {
  run: Run;
  selected: string | null;
  onSelect: (key: string | null) => void;
}) {
  const bars = useMemo(() => waterfall(run.steps, run.duration_ms), [run]);
  if (bars.length === 0)
    return (
      <Text p="lg" size="sm" c="dimmed">
        It ended before its first step.
      </Text>
    );
  return (
    <Box className={classes.waterfall}>
      {bars.map(({ key, step, left, width }) => (
        <UnstyledButton
          key={key}
          className={classes.step}
          data-selected={key === selected || undefined}
          aria-pressed={key === selected}
          aria-label={`${step.path}, ${step.state}, ${formatMilliseconds(step.duration_ms)}`}
          onClick={() => onSelect(key === selected ? null : key)}
        >
          <span className={classes.stepName}>
            <KindSign kind={step.kind} />
            <span className={classes.path}>{step.path}</span>
            {step.attempt > 1 && (
              <Badge size="xs" variant="default" tt="none">
                try {step.attempt}
              </Badge>
            )}
          </span>
          <span className={classes.track} aria-hidden>
            {step.state !== "skipped" && (
              <span
                className={classes.bar}
                data-state={step.state}
                style={{ left: `${left}%`, width: `${width}%` }}
              />
            )}
          </span>
          <span className={classes.took}>
            {step.state === "skipped" ? "skipped" : formatMilliseconds(step.duration_ms)}
          </span>
        </UnstyledButton>
      ))}
      <Group justify="space-between" className={classes.scale} aria-hidden>
        <span>0</span>
        <span>{formatMilliseconds(run.duration_ms)}</span>
      </Group>
    </Box>
  );
}

function KindSign({ kind }: { kind: string }) {
  const { icon: Sign, colour } = kindOf(kind);
  return <Sign size={15} style={{ color: colour, flex: "none" }} aria-hidden />;
}

function StepSection({ step, onClose }: { step: Step; onClose: () => void }) {
  return (
    <Section
      title={step.path}
      aside={
        <>
          <StateBadge state={step.state} />
          <Anchor component="button" type="button" size="xs" onClick={onClose}>
            Close
          </Anchor>
        </>
      }
      flush
    >
      <Box px="lg" py="sm">
        <Text size="sm" c="dimmed">
          {kindOf(step.kind).title}
          {step.duration_ms !== null && `, ${formatMilliseconds(step.duration_ms)}`}
          {step.offset_ms !== null && `, began ${formatMilliseconds(step.offset_ms)} into the run`}
          {step.attempt > 1 && `, attempt ${step.attempt}`}
        </Text>
        {step.error && (
          <Box mt="sm">
            <Wrong error={step.error} title="The step failed" />
          </Box>
        )}
      </Box>
      <Tabs
        defaultValue={step.error && step.logs ? "log" : step.error ? "input" : "output"}
        keepMounted={false}
      >
        <Tabs.List px="sm">
          <Tabs.Tab value="input">Input</Tabs.Tab>
          <Tabs.Tab value="output">Output</Tabs.Tab>
          <Tabs.Tab value="log">Log</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="input">
          <Value value={step.input} label="Step input" />
        </Tabs.Panel>
        <Tabs.Panel value="output">
          <Value value={step.output} label="Step output" />
        </Tabs.Panel>
        <Tabs.Panel value="log" p="md">
          {step.logs ? (
            <CodeBlock code={step.logs} label="Copy the log" maxHeight={360} wrap />
          ) : (
            <Text size="sm" c="dimmed">
              It printed nothing.
            </Text>
          )}
        </Tabs.Panel>
      </Tabs>
    </Section>
  );
}

function RunSection({ run, root }: { run: Run; root: string }) {
  return (
    <Section title="Run" flush>
      <Box p="lg">
        <Facts
          facts={[
            [
              "App",
              <Anchor key="app" component={Link} size="sm" to={`${root}/apps/${run.app}`}>
                {run.app}
              </Anchor>,
            ],
            [
              "Release",
              <Anchor
                key="release"
                component={Link}
                size="sm"
                to={`${root}/apps/${run.app}/releases/${run.release}`}
              >
                release {run.release}
              </Anchor>,
            ],
            ["Started", formatExact(run.started_at)],
            ["Trigger", run.trigger],
            ["Run", <Id key="run" value={run.id} label="Copy the run's id" />],
            [
              "Request",
              run.request_id ? <Id key="request" value={run.request_id} label="Copy the request id" /> : "–",
            ],
          ]}
        />
      </Box>
      <Tabs defaultValue="output" keepMounted={false}>
        <Tabs.List px="sm">
          <Tabs.Tab value="input">Input</Tabs.Tab>
          <Tabs.Tab value="output">Output</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="input">
          <Value value={run.input} label="Run input" />
        </Tabs.Panel>
        <Tabs.Panel value="output">
          <Value value={run.output} label="Run output" />
        </Tabs.Panel>
      </Tabs>
    </Section>
  );
}

function Id({ value, label }: { value: string; label: string }) {
  return (
    <Group gap={4} wrap="nowrap">
      <Code style={{ overflowWrap: "anywhere" }}>{value}</Code>
      <CopyIcon text={value} label={label} />
    </Group>
  );
}

function Value({ value, label }: { value: Json; label: string }) {
  if (value === null || value === undefined)
    return (
      <Text p="lg" size="sm" c="dimmed">
        Nothing.
      </Text>
    );
  return (
    <Box className={classes.value}>
      <Box className={classes.valueCopy}>
        <CopyIcon text={JSON.stringify(value, null, 2)} label="Copy as JSON" />
      </Box>
      <JsonTree value={value} label={label} depth={3} />
    </Box>
  );
}

function Wrong({ error, title }: { error: RunError; title: string }) {
  return (
    <Stack gap="xs">
      <Alert color="red" variant="light" icon={<IconAlertTriangle size={20} />} title={title}>
        <Text size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
          {error.message}
        </Text>
        {error.hint && (
          <Text size="sm" c="dimmed" mt={4}>
            {error.hint}
          </Text>
        )}
        {error.code && (
          <Kbd size="xs" mt={6}>
            {error.code}
          </Kbd>
        )}
      </Alert>
      {error.traceback && <Traceback text={error.traceback} />}
    </Stack>
  );
}
