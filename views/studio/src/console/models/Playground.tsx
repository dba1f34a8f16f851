import {
  Alert,
  Box,
  Button,
  Group,
  Kbd,
  SegmentedControl,
  Select,
  SimpleGrid,
  Stack,
  Text,
} from "@mantine/core";
import { IconPlayerPlay, IconPlayerStop } from "@tabler/icons-react";
import { useRef, useState } from "react";
import { usePlace, useVersion, useVersions } from "../api/queries";
import type { Json, Model, ModelSchema } from "../api/types";
import { Editor } from "../ui/Editor";
import { Section } from "../ui/Page";
import { Loading } from "../ui/States";
import { FieldControl } from "./FieldControl";
import { call, type Outcome } from "./predict";
import { CallError, Result } from "./Result";
import {
  bodyOf,
  exampleBody,
  type FormValues,
  fieldsOf,
  hasForm,
  initialValues,
  parseJson,
} from "./schema-body";

type Mode = "form" | "json";

/** Which version answers is chosen first: its schema and example make the form. */
export function Playground({ model }: { model: Model }) {
  const versions = useVersions(model.name);
  const ready = (versions.data ?? []).filter(({ state }) => state === "ready").map(({ number }) => number);
  const [chosen, setChosen] = useState<number | null>(null);
  const number = chosen ?? model.production_version ?? ready[0] ?? null;
  const version = useVersion(model.name, number);

  if (versions.data && number === null) {
    return (
      <Alert variant="light" color="gray" title="Nothing to try yet">
        The playground opens once a version is ready. Versions shows how far it is.
      </Alert>
    );
  }
  if (!version.data || !number) return <Loading rows={3} height={90} />;
  return (
    <Bench
      key={number}
      model={model}
      number={number}
      schema={version.data.schema ?? model.schema}
      example={version.data.example ?? model.example ?? undefined}
      numbers={ready}
      onChoose={setChosen}
    />
  );
}

interface BenchProps {
  model: Model;
  number: number;
  schema: ModelSchema | null;
  example: Json | undefined;
  numbers: number[];
  onChoose: (number: number) => void;
}

function Bench({ model, number, schema, example, numbers, onChoose }: BenchProps) {
  const { api, workspace } = usePlace();
  const canForm = hasForm(schema);
  const [mode, setMode] = useState<Mode>(canForm ? "form" : "json");
  const [values, setValues] = useState<FormValues>(() => initialValues(schema, example));
  const [text, setText] = useState(() => JSON.stringify(example ?? exampleBody(schema), null, 2));
  const [problems, setProblems] = useState<Record<string, string>>({});
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const running = useRef<AbortController | null>(null);

  const switchTo = (next: Mode) => {
    if (next === "json" && schema) setText(JSON.stringify(bodyOf(schema, values).body, null, 2));
    if (next === "form") {
      const parsed = parseJson(text);
      if ("value" in parsed) setValues(initialValues(schema, parsed.value));
    }
    setProblems({});
    setMode(next);
  };

  const send = async () => {
    const request = mode === "form" && schema ? bodyOf(schema, values) : bodyOfText(text);
    setProblems(request.problems);
    if (Object.keys(request.problems).length > 0) return;
    const abort = new AbortController();
    running.current = abort;
    setBusy(true);
    setError(null);
    try {
      const path = `/v1/${workspace.name}/models/${model.name}@${number}/predict`;
      setOutcome(await call(api, path, request.body, abort.signal));
    } catch (failure) {
      if (!abort.signal.aborted) {
        setOutcome(null);
        setError(failure);
      }
    } finally {
      setBusy(false);
    }
  };

  return (
    <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
      <Section
        title="Input"
        aside={
          <>
            {canForm && (
              <SegmentedControl
                size="xs"
                aria-label="How to write the input"
                value={mode}
                onChange={(next) => switchTo(next as Mode)}
                data={[
                  { value: "form", label: "Form" },
                  { value: "json", label: "JSON" },
                ]}
              />
            )}
            {numbers.length > 1 && (
              <Select
                size="xs"
                w={124}
                aria-label="Version"
                allowDeselect={false}
                value={String(number)}
                onChange={(next) => next && onChoose(Number(next))}
                data={numbers.map((each) => ({
                  value: String(each),
                  label: each === model.production_version ? `v${each} production` : `v${each}`,
                }))}
              />
            )}
          </>
        }
      >
        <form
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            void send();
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void send();
          }}
        >
          <Stack gap="md">
            {mode === "form" && schema ? (
              <SimpleGrid
                cols={{ base: 1, xs: fieldsOf(schema).length > 3 ? 2 : 1 }}
                spacing="md"
                verticalSpacing="sm"
              >
                {fieldsOf(schema).map((field) => (
                  <FieldControl
                    key={field.name}
                    field={field}
                    value={values[field.name] ?? null}
                    problem={problems[field.name]}
                    onChange={(value) => setValues((before) => ({ ...before, [field.name]: value }))}
                  />
                ))}
              </SimpleGrid>
            ) : (
              <Box>
                <Editor
                  text={text}
                  fileName="body.json"
                  label="Request body"
                  height={320}
                  onChange={setText}
                  onSubmit={() => void send()}
                />
                {problems.body && (
                  <Text size="sm" c="var(--tf-bad)" mt={6} role="alert">
                    {problems.body}
                  </Text>
                )}
              </Box>
            )}
            <Group gap="sm">
              {isBusy ? (
                <Button
                  variant="default"
                  leftSection={<IconPlayerStop size={16} />}
                  onClick={() => running.current?.abort()}
                >
                  Stop
                </Button>
              ) : (
                <Button type="submit" leftSection={<IconPlayerPlay size={16} />}>
                  Predict
                </Button>
              )}
              <Text size="xs" c="dimmed" visibleFrom="sm">
                <Kbd size="xs">Ctrl</Kbd> <Kbd size="xs">Enter</Kbd>
              </Text>
            </Group>
          </Stack>
        </form>
      </Section>
      <Section title="Answer">
        <Box aria-live="polite" aria-busy={isBusy}>
          {error !== null ? (
            <CallError error={error} />
          ) : outcome ? (
            <Result outcome={outcome} output={schema?.output} isStale={isBusy} />
          ) : (
            <Text c="dimmed" size="sm">
              {isBusy ? "Waiting for the model…" : "The answer appears here."}
            </Text>
          )}
        </Box>
      </Section>
    </SimpleGrid>
  );
}

function bodyOfText(text: string): { body: Json; problems: Record<string, string> } {
  const parsed = parseJson(text);
  return "value" in parsed
    ? { body: parsed.value, problems: {} }
    : { body: null, problems: { body: parsed.problem } };
}
