import {
  Alert,
  Anchor,
  Box,
  Code,
  Collapse,
  Group,
  Image,
  List,
  SegmentedControl,
  Stack,
  Table,
  Text,
  UnstyledButton,
} from "@mantine/core";
import { IconAlertTriangle, IconChevronRight } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";
import { JsonTree } from "../../kit/JsonTree";
import { ScoreBars } from "../../kit/ScoreBars";
import { ApiError, detailLines, messageOf } from "../api/errors";
import { usePlace } from "../api/queries";
import type { Json, OutputSchema } from "../api/types";
import { CodeBlock } from "../ui/CodeBlock";
import { formatMilliseconds, formatNumber } from "../ui/format";
import type { Outcome } from "./predict";
import classes from "./Result.module.css";
import { type Shown, shownOf } from "./result";

interface ResultProps {
  outcome: Outcome;
  output: OutputSchema | undefined;
  isStale?: boolean;
}

export function Result({ outcome, output, isStale = false }: ResultProps) {
  const { workspace } = usePlace();
  const [isRaw, setRaw] = useState(false);
  const shown = shownOf(output, outcome.value);
  const hasChoice = shown.kind !== "json";
  return (
    <Stack gap="md" style={{ opacity: isStale ? 0.5 : 1 }}>
      <Group justify="space-between" gap="xs">
        <Group gap="md" className={classes.facts}>
          <span>
            <b>{formatMilliseconds(outcome.totalMs)}</b> round trip
          </span>
          {outcome.workerMs !== null && (
            <span>
              <b>{formatMilliseconds(outcome.workerMs)}</b> in the model
            </span>
          )}
          {outcome.version && (
            <span>
              version <b>{outcome.version}</b>
            </span>
          )}
          {outcome.runId && (
            <Anchor component={Link} size="sm" to={`/w/${workspace.name}/runs/${outcome.runId}`}>
              run
            </Anchor>
          )}
        </Group>
        {hasChoice && (
          <SegmentedControl
            size="xs"
            aria-label="How to show the answer"
            value={isRaw ? "raw" : "shown"}
            onChange={(next) => setRaw(next === "raw")}
            data={[
              { value: "shown", label: "Result" },
              { value: "raw", label: "JSON" },
            ]}
          />
        )}
      </Group>
      {isRaw ? (
        <CodeBlock code={JSON.stringify(outcome.value, null, 2)} language="json" maxHeight={420} wrap />
      ) : (
        <ShownResult shown={shown} />
      )}
    </Stack>
  );
}

function ShownResult({ shown }: { shown: Shown }) {
  switch (shown.kind) {
    case "scores":
      return (
        <Stack gap="md">
          {shown.label !== null && <Text className={classes.big}>{shown.label}</Text>}
          {shown.scores.length > 0 && <ScoreBars scores={shown.scores} label="Class scores" />}
        </Stack>
      );
    case "number":
      return (
        <Box>
          <Text size="sm" c="dimmed">
            {shown.name}
          </Text>
          <Text className={classes.big}>{formatNumber(shown.value)}</Text>
        </Box>
      );
    case "text":
      return <Text className={classes.text}>{shown.text}</Text>;
    case "image":
      return <Image src={shown.source} alt="The model's answer" radius="md" mah={480} fit="contain" />;
    case "table":
      return <ResultTable columns={shown.columns} rows={shown.rows} />;
    case "json":
      return <JsonTree value={shown.value} label="Answer" depth={3} />;
  }
}

const MOST_ROWS = 100;

function ResultTable({ columns, rows }: { columns: string[]; rows: Json[][] }) {
  return (
    <Box style={{ overflow: "auto", maxHeight: 420 }}>
      <Table stickyHeader withTableBorder verticalSpacing={6}>
        <Table.Thead>
          <Table.Tr>
            {columns.map((column) => (
              <Table.Th key={column}>{column}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.slice(0, MOST_ROWS).map((row, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: rows of an answer have no other name
            <Table.Tr key={index}>
              {row.map((cell, at) => (
                <Table.Td key={columns[at]}>
                  {typeof cell === "number"
                    ? formatNumber(cell)
                    : typeof cell === "string"
                      ? cell
                      : JSON.stringify(cell)}
                </Table.Td>
              ))}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {rows.length > MOST_ROWS && (
        <Text size="xs" c="dimmed" p="xs">
          {rows.length - MOST_ROWS} more rows; JSON shows them all.
        </Text>
      )}
    </Box>
  );
}

/** Says whose fault it is first, and keeps the traceback for those who want it. */
export function CallError({ error }: { error: unknown }) {
  const details = error instanceof ApiError ? error.details : [];
  const traceback = details.map(({ traceback }) => traceback).find((text) => typeof text === "string");
  const lines = detailLines(error);
  return (
    <Stack gap="sm">
      <Alert
        role="alert"
        color="red"
        variant="light"
        icon={<IconAlertTriangle size={20} />}
        title={titleOf(error)}
      >
        <Stack gap={6}>
          <Text size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
            {messageOf(error)}
          </Text>
          {lines.length > 0 && (
            <List size="sm">
              {lines.map((line) => (
                <List.Item key={line}>{line}</List.Item>
              ))}
            </List>
          )}
          {error instanceof ApiError && error.hint && (
            <Text size="sm" c="dimmed">
              {error.hint}
            </Text>
          )}
          {error instanceof ApiError && error.retryAfterSeconds !== null && (
            <Text size="sm" c="dimmed">
              Try again in {error.retryAfterSeconds} s.
            </Text>
          )}
          {error instanceof ApiError && error.requestId && (
            <Text size="xs" c="dimmed">
              Request <Code>{error.requestId}</Code>
            </Text>
          )}
        </Stack>
      </Alert>
      {typeof traceback === "string" && <Traceback text={traceback} />}
    </Stack>
  );
}

export function Traceback({ text }: { text: string }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <Box>
      <UnstyledButton className={classes.fold} aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <IconChevronRight size={15} data-open={isOpen || undefined} aria-hidden />
        Traceback
      </UnstyledButton>
      <Collapse expanded={isOpen}>
        <CodeBlock code={text} label="Copy the traceback" maxHeight={320} />
      </Collapse>
    </Box>
  );
}

function titleOf(error: unknown): string {
  if (!(error instanceof ApiError)) return "Nothing answered";
  switch (error.code) {
    case "bad_input":
    case "invalid_input":
      return "The model does not accept this input";
    case "user_error":
      return "The model's code raised an error";
    case "timeout":
      return "The model took too long";
    default:
      if (error.status === 503) return "The model cannot answer right now";
      if (error.status === 504) return "The model took too long";
      if (error.status === 429) return "The model's queue is full";
      return "The call failed";
  }
}
